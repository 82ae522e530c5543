"""VBench's own list of prompts, as its repository keeps it."""

import json
from collections.abc import Mapping
from pathlib import Path

from latte_cli.runtime.errors import DataError
from latte_cli.text.vbench import SUITE_OF

LIST = "vbench_full_info.json"
"""What the list is called beside the videos that were drawn after it."""

_HINT = "it lies in VBench's repository, vbench/VBench_full_info.json"


def read_suites(path: Path) -> Mapping[str, tuple[str, ...]]:
    """The prompts of each suite, in the order of the list.

    Args:
        path: of a JSON list of objects with `prompt_en` and `dimension`, a list of names.

    Raises:
        DataError: if it cannot be read, or names a dimension that is not known.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        pairs = [(str(row["prompt_en"]), list(row["dimension"])) for row in rows]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: not VBench's list of prompts", hint=_HINT) from error
    found: dict[str, dict[str, None]] = {}
    for prompt, dimensions in pairs:
        if unknown := [name for name in dimensions if name not in SUITE_OF]:
            raise DataError(
                f"{path}: `{unknown[0]}` is no dimension of VBench",
                hint=f"known: {', '.join(SUITE_OF)}",
            )
        if not prompt or "/" in prompt or "\0" in prompt:
            raise DataError(f"{path}: `{prompt}` cannot be the name of a file", hint=_HINT)
        for suite in dict.fromkeys(SUITE_OF[name] for name in dimensions):
            found.setdefault(suite, {})[prompt] = None
    if not found:
        raise DataError(f"{path}: holds no prompt", hint=_HINT)
    return {suite: tuple(prompts) for suite, prompts in found.items()}
