"""Prompts from the command line, or from a text, CSV or JSONL file."""

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import zip_longest
from pathlib import Path
from typing import Any

from latte_cli.runtime.errors import ConfigError

_KINDS = "a text file has a prompt a line; CSV and JSONL have the keys {}"

_LARGEST_SEED = 2**63 - 1  # an npz of clips holds it as an int64


@dataclass(frozen=True)
class Prompt:
    """What a clip is to show; what is None is as the command line has it.

    Attributes:
        prompt: in words.
        seed: of its noise.
        negative: what guidance leads away from.
        guidance: scale.
    """

    prompt: str
    seed: int | None = None
    negative: str | None = None
    guidance: float | None = None


_KEYS = [field.name for field in fields(Prompt)]


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a file, each as `one_line` has it; empty lines are none.

    Args:
        path: `.csv` with a head line, `.jsonl` with an object a line, or any other text.

    Raises:
        ConfigError: if it is missing or holds no prompt, or a line cannot be read; it is named.
    """
    # Python reads every kind of line end as \n. What else `splitlines` takes for one, as U+2028,
    # may stand inside a line.
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = "is no text" if isinstance(error, ValueError) else "cannot be read"
        raise ConfigError(f"{path}: {why}", hint=_KINDS.format(", ".join(_KEYS))) from error
    readers = {".csv": _from_csv, ".jsonl": _from_json_lines}
    prompts = readers.get(path.suffix.lower(), _from_lines)(path, text)
    if not prompts:
        raise ConfigError(f"{path}: holds no prompt", hint=_KINDS.format(", ".join(_KEYS)))
    return prompts


def one_line(text: str) -> str:
    """A text without the white space around it, and with one space for any inside it.

    The text encoder is given captions so, whatever they were written as (`clean_caption`).

    Raises:
        ConfigError: if it holds what no file can tell again: a zero byte, half a character.
    """
    if any(sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in text):
        raise ConfigError(
            f"the prompt {text!a} holds what is no character", hint="write it as UTF-8 text"
        )
    return " ".join(text.split())


def _from_lines(path: Path, text: str) -> list[Prompt]:
    return [Prompt(one_line(line)) for line in text.split("\n") if line.strip()]


def _from_csv(path: Path, text: str) -> list[Prompt]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found, start = [], 1
    try:
        head = next(reader, [])
        if "prompt" not in head:
            raise ConfigError(
                f"{path}: its first line names no column `prompt`",
                hint=f"columns: {', '.join(_KEYS)}",
            )
        start = reader.line_num + 1
        for cells in reader:  # a cell in quotes may hold line ends
            if cells:
                found.append(_prompt(path, start, dict(zip_longest(head, cells))))
            start = reader.line_num + 1
    except csv.Error as error:  # where a quote was left open, no line after it is sure
        raise ConfigError(
            f"{path}: line {start} does not parse ({error})",
            hint='is a quote left open? inside quotes, one is written twice: "a ""big"" cat"',
        ) from error
    return found


def _from_json_lines(path: Path, text: str) -> list[Prompt]:
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _bad(path, number, "is not JSON") from error
        if not isinstance(row, dict):
            raise _bad(path, number, "is no object")
        found.append(_prompt(path, number, row))
    return found


def _prompt(path: Path, number: int, row: Mapping[str, Any]) -> Prompt:
    """A row of a table; empty cells are as if they were not there."""
    seed: float | None
    guidance: float | None
    given = {key: value for key, value in row.items() if value not in (None, "")}
    unknown = [str(key) for key in given if key not in _KEYS]
    if unknown:
        raise _bad(path, number, f"has the unknown key `{unknown[0]}`")
    if not str(given.get("prompt", "")).strip():
        raise _bad(path, number, "has no prompt")
    try:
        seed = _number(given["seed"]) if "seed" in given else None
        guidance = float(given["guidance"]) if "guidance" in given else None
    except (ValueError, TypeError, OverflowError) as error:
        raise _bad(path, number, f"has a value that is no number ({error})") from error
    if seed is not None and not (0 <= seed <= _LARGEST_SEED and seed == int(seed)):
        raise _bad(path, number, f"has the seed {seed}: they are whole numbers from 0 to 2^63 - 1")
    if guidance is not None and not 0 <= guidance < math.inf:
        raise _bad(path, number, f"has the guidance {guidance}: it is a number from 0 on")
    return Prompt(
        prompt=one_line(str(given["prompt"])),
        seed=None if seed is None else int(seed),
        negative=one_line(str(given["negative"])) if "negative" in given else None,
        guidance=guidance,
    )


def _number(value: Any) -> float:
    """A whole number of any size, from text, too; of JSON also one with a fraction."""
    return value if isinstance(value, float) else int(value)


def _bad(path: Path, number: int, why: str) -> ConfigError:
    return ConfigError(f"{path}: line {number} {why}", hint=f"its keys are {', '.join(_KEYS)}")
