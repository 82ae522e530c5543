"""What a folder's lists tell of its clips, and whether the files are those that are listed."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latte_cli.runtime.files import read_json_lines, sha256_of, write_json_lines
from latte_cli.sampling.clip_stack import read_abouts

SAMPLES = "samples.jsonl"
PLAN = ".plan.jsonl"
"""What is to be drawn, until samples.jsonl tells what was."""

_SHOWN = 3
Stamp = tuple[int, int]
"""Time and number of a file, both others once it is written anew."""


@dataclass(frozen=True)
class Checked:
    """Files that were held against a list.

    Attributes:
        checksums: of those that are as listed, by the clips' names.
        damaged: stamps of those that are empty or not as listed, by the clips' names.
    """

    checksums: Mapping[str, str]
    damaged: Mapping[str, Stamp]

    def is_there(self, name: str, path: Path) -> bool:
        """Whether a clip has a file by now, other than one that was found damaged."""
        stamp = _stamp(path)
        return stamp is not None and stamp != self.damaged.get(name)


def listed(folder: Path) -> dict[str, dict[str, Any]]:
    """Rows of the clips that were whole when samples.jsonl was written, by their names."""
    return _rows(folder / SAMPLES)


def strike_out(folder: Path, names: Collection[str]) -> None:
    """Take clips that are to be drawn off samples.jsonl.

    Drawn anew they may have other bytes, and are not to be taken for damaged before a new list is.
    """
    rows = listed(folder)
    kept = [row for name, row in rows.items() if name not in names]
    if len(kept) < len(rows):
        write_json_lines(folder / SAMPLES, kept)


def origins(folder: Path, stack: Path | None) -> dict[str, dict[str, Any]]:
    """What clips were drawn from as far as it is told, by their names.

    Args:
        folder: of the lists.
        stack: an npz file that tells of its own clips; it need not be there.

    Raises:
        DataError: if the stack is damaged, or was not written here.
    """
    rows = listed(folder) | _rows(folder / PLAN)
    abouts = {} if stack is None else read_abouts(stack)
    return rows | {name: rows.get(name, {}) | about for name, about in abouts.items()}


def check_files(files: Mapping[str, Path], rows: Mapping[str, Mapping[str, Any]]) -> Checked:
    """Hold the clips that are there against the list; of what is not listed, only emptiness tells.

    Args:
        files: the clips by their names: a file or a folder of pictures each.
        rows: see `listed`.
    """
    checksums: dict[str, str] = {}
    damaged: dict[str, Stamp] = {}
    for name, path in files.items():
        # Another process may be replacing a folder of pictures.
        with suppress(FileNotFoundError):
            stamp, told = _stamp(path), rows.get(name, {}).get("sha256")
            if stamp is None:
                continue
            if _is_empty(path) or (told is not None and checksum(path) != told):
                damaged[name] = stamp
            elif told is not None:
                checksums[name] = told
    return Checked(checksums, damaged)


def checksum(path: Path) -> str:
    """Of a file; of a folder that of the lines that `sha256sum *` prints in it."""
    if path.is_file():
        return sha256_of(path)
    shown = sorted(each for each in path.iterdir() if not each.name.startswith("."))
    lines = [f"{sha256_of(each)}  {each.name}\n" for each in shown]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def some_of(names: Sequence[str]) -> str:
    """A few names, for a message."""
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")


def _stamp(path: Path) -> Stamp | None:
    try:
        stat = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return stat.st_mtime_ns, stat.st_ino


def _is_empty(path: Path) -> bool:
    return not any(path.iterdir()) if path.is_dir() else path.stat().st_size == 0


def _rows(path: Path) -> dict[str, dict[str, Any]]:
    rows = read_json_lines(path, skip_damaged=True) if path.is_file() else []
    return {str(row.get("name")): row for row in rows}
