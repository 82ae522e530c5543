"""Prompts from the command line, or from a text, CSV or JSONL file."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import zip_longest
from pathlib import Path
from typing import Any

from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import ConfigError
from latte_cli.text.caption_cleaning import clean_caption, has_words, removed_words

_FORMATS = "a text file has a prompt per line; CSV and JSONL have the keys {}"

_NOTES_SHOWN = 5  # of what cleaning took
_LARGEST_SEED = 2**63 - 1  # an npz file of clips stores it as int64


@dataclass(frozen=True)
class Prompt:
    """A prompt; what is None is taken from the command line.

    Attributes:
        prompt: what the clip shows.
        seed: of the noise.
        negative: what guidance leads away from.
        guidance: scale.
    """

    prompt: str
    seed: int | None = None
    negative: str | None = None
    guidance: float | None = None


_KEYS = [field.name for field in fields(Prompt)]


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a file, each on one line; empty lines are skipped.

    Args:
        path: `.csv` with a header, `.jsonl` with an object per line, or any other text file.

    Raises:
        ConfigError: if it cannot be read or has no prompt; names the line that is wrong.
    """
    # Python reads every line ending as \n. Not `splitlines`: it also splits at U+2028 and others,
    # which may be inside a line.
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problem = "is not text" if isinstance(error, ValueError) else "cannot be read"
        raise ConfigError(f"{path}: {problem}", hint=_FORMATS.format(", ".join(_KEYS))) from error
    readers = {".csv": _from_csv, ".jsonl": _from_json_lines}
    prompts = readers.get(path.suffix.lower(), _from_lines)(path, text)
    if not prompts:
        raise ConfigError(f"{path}: has no prompt", hint=_FORMATS.format(", ".join(_KEYS)))
    return prompts


def one_line(text: str) -> str:
    """A text with its white space collapsed, as `clean_caption` does for the text encoder.

    Raises:
        ConfigError: if it contains a zero byte or half a surrogate pair, which files cannot store.
    """
    if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in text):
        raise ConfigError(
            f"the prompt {text!a} contains an invalid character", hint="write it as UTF-8 text"
        )
    return " ".join(text.split())


NO_CLEAN = "--no-clean passes it on as it is; or "
"""The beginning of a hint where a prompt need not be cleaned."""


def check_cleaning(texts: Iterable[str], console: Console, hint: str = "") -> None:
    """Report what caption cleaning takes from prompts.

    Args:
        texts: prompts and negative prompts.
        console: for the notes.
        hint: how to keep a prompt as it is; empty if the command has no way.

    Raises:
        ConfigError: if it leaves no word of one.
    """
    notes = []
    for text in dict.fromkeys(texts):
        if not (removed := removed_words(text)):
            continue
        if not has_words(clean_caption(text)):
            raise ConfigError(
                f"cleaning leaves nothing of the prompt `{text}`: the text encoder was trained on "
                "captions without such text",
                hint=f"{hint}write it in English words" if hint else "write it in English words",
            )
        notes.append(f"cleaning took {_quoted(removed)} out of the prompt `{text}`")
    for note in notes[:_NOTES_SHOWN]:
        console.info(f"note: {note}")
    if len(notes) > _NOTES_SHOWN:
        console.info(f"note: cleaning took words out of {len(notes) - _NOTES_SHOWN} more prompts")
    if notes and hint:
        console.info("note: --no-clean passes prompts on as they are")


def _quoted(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _from_lines(path: Path, text: str) -> list[Prompt]:
    return [Prompt(one_line(line)) for line in text.split("\n") if line.strip()]


def _from_csv(path: Path, text: str) -> list[Prompt]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found, start = [], 1
    try:
        head = next(reader, [])
        if "prompt" not in head:
            raise ConfigError(
                f"{path}: its header has no column `prompt`",
                hint=f"columns: {', '.join(_KEYS)}",
            )
        start = reader.line_num + 1
        for cells in reader:  # a quoted cell may contain line endings
            if cells:
                found.append(_prompt(path, start, dict(zip_longest(head, cells))))
            start = reader.line_num + 1
    except csv.Error as error:  # after an open quote no line can be trusted
        raise ConfigError(
            f"{path}: line {start} does not parse ({error})",
            hint='close its quotes, and double those inside quotes: "a ""big"" cat"',
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
            raise _bad_line(path, number, "is not JSON") from error
        if not isinstance(row, dict):
            raise _bad_line(path, number, "is not an object")
        found.append(_prompt(path, number, row))
    return found


def _prompt(path: Path, number: int, row: Mapping[str, Any]) -> Prompt:
    """A row of a table; empty cells count as missing."""
    seed: float | None
    guidance: float | None
    given = {key: value for key, value in row.items() if value not in (None, "")}
    unknown = [str(key) for key in given if key not in _KEYS]
    if unknown:
        raise _bad_line(path, number, f"has the unknown key `{unknown[0]}`")
    if not str(given.get("prompt", "")).strip():
        raise _bad_line(path, number, "has no prompt")
    try:
        seed = _number(given["seed"]) if "seed" in given else None
        guidance = float(given["guidance"]) if "guidance" in given else None
    except (ValueError, TypeError, OverflowError) as error:
        raise _bad_line(path, number, f"has a value that is not a number ({error})") from error
    if seed is not None and not (0 <= seed <= _LARGEST_SEED and seed == int(seed)):
        raise _bad_line(path, number, f"has the seed {seed}: seeds are integers from 0 to 2^63 - 1")
    if guidance is not None and not 0 <= guidance < math.inf:
        raise _bad_line(path, number, f"has the guidance {guidance}: it is a number from 0 on")
    return Prompt(
        prompt=one_line(str(given["prompt"])),
        seed=None if seed is None else int(seed),
        negative=one_line(str(given["negative"])) if "negative" in given else None,
        guidance=guidance,
    )


def _number(value: Any) -> float:
    """An integer of any size, also from text; a float of JSON, or text such as 3.0, stays one."""
    if isinstance(value, float):
        return value
    try:
        return int(value)
    except ValueError:  # pandas writes the integers of a column with an empty cell as 3.0
        return float(value)


def _bad_line(path: Path, number: int, problem: str) -> ConfigError:
    return ConfigError(f"{path}: line {number} {problem}", hint=f"its keys are {', '.join(_KEYS)}")
