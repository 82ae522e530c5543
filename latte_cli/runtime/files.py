"""Files that appear whole or not at all."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from latte_cli.runtime.errors import LatteError

if TYPE_CHECKING:
    from torch import Tensor

PART = ".part-"
"""Files and folders whose names start with this are unfinished and may be deleted at any time."""

_LOCK = ".lock"


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a name to write under; on success the file takes its real name, else it is removed.

    The unfinished file lies in the same folder and keeps the suffix, which ffmpeg goes by.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{PART}{os.getpid()}-{path.name}")
    try:
        yield part
        _flush(part)
        os.replace(part, path)
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a folder to write into; on success it takes its real name, else it is removed.

    A folder of that name is replaced.
    """
    part = path.with_name(f"{PART}{os.getpid()}-{path.name}")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        yield part
        if path.exists():
            shutil.rmtree(path)
        part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Be the only run that writes into a folder; create it, and remove it if it stays empty.

    Unfinished files of a run that was killed are removed. The lock ends with the process, however
    that ends. On disks without locks, other runs are not kept out.

    Raises:
        LatteError: if another run holds the lock.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise LatteError(
            f"{folder}: another run is writing here", hint="wait until it ends, or stop it"
        ) from error
    except (OSError, NotImplementedError):  # a network disk without locks
        pass
    try:
        remove_unfinished(folder)
        yield
    finally:
        with suppress(OSError):  # Windows does not delete a file that is open
            (folder / _LOCK).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):
            for path in made:
                path.rmdir()


def remove_unfinished(folder: Path) -> None:
    """Remove the files that runs which were killed have left unfinished in a folder."""
    for part in folder.glob(f"{PART}*"):
        if not part.is_dir():
            part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file."""
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8")


def write_if_changed(path: Path, content: bytes) -> None:
    """Write a whole file, unless that is what it holds: a disk may be read-only."""
    if not path.is_file() or path.read_bytes() != content:
        with atomic_file(path) as part:
            part.write_bytes(content)


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """One JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a whole file of one JSON object a line."""
    write_text(path, json_lines(rows))


def read_json_lines(path: Path, *, skip_damaged: bool = False) -> list[dict[str, Any]]:
    """Read one JSON object a line; a last line cut off by a crash is left out.

    Args:
        path: the file.
        skip_damaged: leave out every line that does not parse.

    Raises:
        ValueError: on another line that does not parse.
    """
    *lines, tail = path.read_text(encoding="utf-8", errors="replace").split("\n")
    rows = []
    for number, line in enumerate([*lines, tail]):
        try:
            if line.strip():
                rows.append(json.loads(line))
        except ValueError:
            if not skip_damaged and number < len(lines):
                raise
    return rows


def write_tensors(
    path: Path, tensors: Mapping[str, "Tensor"], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a whole safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with atomic_file(path) as part:
        try:
            save_file(dict(tensors), part, metadata=dict(metadata or {}))
        except SafetensorError as error:  # it wraps the system's errors in words of its own
            if "No space left" in str(error) or "code: 28" in str(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
            raise OSError(errno.EIO, str(error), str(path)) from error


def sha256_of(path: Path) -> str:
    """Checksum of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _flush(path: Path) -> None:
    """Make sure the bytes are on disk before the name says so."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
