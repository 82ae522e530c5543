"""The lists of a folder of clips, and whether its files are those that are listed."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latte_cli.runtime.files import read_json_lines, sha256_of, write_json_lines
from latte_cli.sampling.clip_stack import read_metadata

SAMPLES = "samples.jsonl"
"""Lists the finished clips."""
PLAN = ".plan.jsonl"
"""Lists the clips to sample, until samples.jsonl is written."""
SETTINGS = "settings.json"
"""What all clips of the folder were sampled with."""
GRID = "grid.png"
"""Picture of the clips."""
STACK = "clips.npz"
"""All clips, if they are one file."""
PARTS = ".clips"
"""Folder of clips that are to be stacked."""
CLAIMS = ".claims"
"""Folder of claims, see `claims`."""

Stamp = tuple[int, int]
"""Modification time and inode of a file: both change when it is rewritten."""


@dataclass(frozen=True)
class CheckedFiles:
    """Files that were compared with a list.

    Attributes:
        checksums: of those that are as listed, by the clips' names.
        damaged: stamps of those that are empty or not as listed, by the clips' names.
    """

    checksums: Mapping[str, str]
    damaged: Mapping[str, Stamp]

    def exists(self, name: str, path: Path) -> bool:
        """Whether a clip has a file by now, other than one that was found damaged."""
        stamp = _stamp(path)
        return stamp is not None and stamp != self.damaged.get(name)


def read_samples(folder: Path) -> dict[str, dict[str, Any]]:
    """The rows of samples.jsonl, by the clips' names."""
    return _read_rows(folder / SAMPLES)


def remove_samples(folder: Path, names: Collection[str]) -> None:
    """Remove clips that are to be sampled again from samples.jsonl.

    Their new files may have other bytes, and are not damaged before a new list is written.
    """
    rows = read_samples(folder)
    kept = [row for name, row in rows.items() if name not in names]
    if len(kept) < len(rows):
        write_json_lines(folder / SAMPLES, kept)


def listed_metadata(folder: Path, stack: Path | None) -> dict[str, dict[str, Any]]:
    """The metadata of clips as far as it is recorded, by their names.

    Args:
        folder: of the lists.
        stack: an npz file with metadata of its clips; it need not exist.

    Raises:
        DataError: if the stack is damaged, or was not written here.
    """
    rows = read_samples(folder) | _read_rows(folder / PLAN)
    stacked = {} if stack is None else read_metadata(stack)
    return rows | {name: rows.get(name, {}) | metadata for name, metadata in stacked.items()}


def check_files(files: Mapping[str, Path], rows: Mapping[str, Mapping[str, Any]]) -> CheckedFiles:
    """Compare files with the list; one that is not listed is damaged only if it is empty.

    Args:
        files: the clips by their names: a file or a folder of pictures each.
        rows: see `read_samples`.
    """
    checksums: dict[str, str] = {}
    damaged: dict[str, Stamp] = {}
    for name, path in files.items():
        # Another process may be replacing a folder of pictures.
        with suppress(FileNotFoundError):
            stamp, listed = _stamp(path), rows.get(name, {}).get("sha256")
            if stamp is None:
                continue
            is_empty = not any(path.iterdir()) if path.is_dir() else path.stat().st_size == 0
            if is_empty or (listed is not None and checksum(path) != listed):
                damaged[name] = stamp
            elif listed is not None:
                checksums[name] = listed
    return CheckedFiles(checksums, damaged)


def checksum(path: Path) -> str:
    """SHA-256 of a file, or for a folder of the output of `sha256sum *` in it."""
    if path.is_file():
        return sha256_of(path)
    shown = sorted(each for each in path.iterdir() if not each.name.startswith("."))
    lines = [f"{sha256_of(each)}  {each.name}\n" for each in shown]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def first_names(names: Sequence[str], count: int = 3) -> str:
    """The first few names, for a message."""
    return ", ".join(names[:count]) + (", …" if len(names) > count else "")


def _stamp(path: Path) -> Stamp | None:
    try:
        stat = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return stat.st_mtime_ns, stat.st_ino


def _read_rows(path: Path) -> dict[str, dict[str, Any]]:
    rows = read_json_lines(path, skip_damaged=True) if path.is_file() else []
    return {str(row.get("name")): row for row in rows}
