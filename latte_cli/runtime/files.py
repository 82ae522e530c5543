"""Files that appear whole or not at all."""

import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latte_cli.runtime.errors import LatteError

if TYPE_CHECKING:
    from torch import Tensor

PART = ".part-"
"""Names that begin so are unfinished and may be deleted at any time."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
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
def whole_folder(path: Path) -> Iterator[Path]:
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
def alone_in(folder: Path) -> Iterator[None]:
    """Be the only run that writes into a folder, which is made; it goes again if it stays empty.

    What a run that was killed has left unfinished in it is removed. On Windows, and on disks that
    know no locks, nobody is kept out.

    Raises:
        LatteError: if another run is at it.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _locked(folder):
            remove_unfinished(folder)
            yield
    finally:
        with suppress(OSError):
            for path in made:
                path.rmdir()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the system's lock on a folder, which ends with the process, however that ends."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise LatteError(
            f"{folder}: another run is writing here", hint="wait for its end, or stop it"
        ) from error
    except OSError:  # a network disk without locks
        pass
    try:
        yield
    finally:
        os.close(descriptor)


def remove_unfinished(folder: Path) -> None:
    """Remove the files that runs which were killed have left unfinished in a folder."""
    for part in folder.glob(f"{PART}*"):
        if not part.is_dir():
            part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")


def write_changed(path: Path, content: bytes) -> None:
    """Write a whole file, unless that is what it holds: a disk may be read-only."""
    if not path.is_file() or path.read_bytes() != content:
        with whole_file(path) as part:
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

    with whole_file(path) as part:
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
