"""Files that appear complete or not at all, and folders that one run writes at a time."""

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from latte_cli.runtime.errors import LatteError
from latte_cli.runtime.signals import unfinished

if TYPE_CHECKING:
    from torch import Tensor

PART = ".part-"
"""Files and folders whose names start with this are unfinished and may be deleted at any time."""

_LOCK = ".lock"


def cache_folder() -> Path:
    """The user's cache folder for files that can be recreated: `XDG_CACHE_HOME/latte`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "latte"


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; on success the file is renamed, else it is removed.

    It is in the same folder and keeps the suffix, which ffmpeg relies on. The file gets the mode
    that new files have, whatever library writes it: some allow only the owner to read theirs.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{PART}{os.getpid()}-{path.name}")
    unfinished.add(part)
    try:
        part.touch()
        mode = stat.S_IMODE(part.stat().st_mode)
        yield part
        if stat.S_IMODE(part.stat().st_mode) != mode:
            with suppress(OSError):  # a disk without modes
                part.chmod(mode)
        _flush(part)
        os.replace(part, path)
    except OSError as error:
        _name_in_error(error, part, path)
        raise
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
        unfinished.discard(part)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder to write into; on success it is renamed, else it is removed.

    It replaces an existing folder.
    """
    part = path.with_name(f"{PART}{os.getpid()}-{path.name}")
    shutil.rmtree(part, ignore_errors=True)
    unfinished.add(part)
    try:
        part.mkdir(parents=True)
        yield part
        if path.exists():
            shutil.rmtree(path)
        part.rename(path)
    except OSError as error:
        _name_in_error(error, part, path)
        raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
        unfinished.discard(part)


def _name_in_error(error: OSError, part: Path, path: Path) -> None:
    """Let an error name the file that was to be written, whose temporary name nobody knows."""
    if error.filename is not None and os.fspath(error.filename) == str(part):
        error.filename = str(path)


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
    """Remove unfinished files, left by runs that were killed, from a folder."""
    for part in folder.glob(f"{PART}*"):
        if not part.is_dir():
            part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def write_if_changed(path: Path, content: bytes) -> None:
    """Write a file atomically, unless it has this content: the disk may be read-only."""
    if not path.is_file() or path.read_bytes() != content:
        with atomic_file(path) as part:
            part.write_bytes(content)


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """JSON lines: one object per line."""
    return "".join(_json_line(row) for row in rows)


def _json_line(row: Mapping[str, Any]) -> str:
    line = json.dumps(row, ensure_ascii=False)
    # Half of a surrogate pair, as a damaged file may hold, has no place in UTF-8.
    return (line if line.isascii() or _is_text(line) else json.dumps(row)) + "\n"


def _is_text(line: str) -> bool:
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a file of JSON lines atomically."""
    write_text(path, json_lines(rows))


def read_json_lines(path: Path, *, skip_damaged: bool = False) -> list[dict[str, Any]]:
    """Read JSON lines, an object each; a last line cut off by a crash is skipped.

    Args:
        path: the file.
        skip_damaged: skip every line that does not parse as an object.

    Raises:
        ValueError: on another line that does not.
    """
    *lines, tail = path.read_text(encoding="utf-8", errors="replace").split("\n")
    rows = []
    for number, line in enumerate([*lines, tail]):
        try:
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"{line:.40} is not an object")
                rows.append(row)
        except ValueError:
            if not skip_damaged and number < len(lines):
                raise
    return rows


def write_tensors(
    path: Path, tensors: Mapping[str, "Tensor"], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a safetensors file atomically."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with atomic_file(path) as part:
        try:
            save_file(dict(tensors), part, metadata=dict(metadata or {}))
        except SafetensorError as error:  # it wraps errors of the operating system
            if "No space left" in str(error) or "code: 28" in str(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
            raise OSError(errno.EIO, str(error), str(path)) from error


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def _flush(path: Path) -> None:
    """Make sure that the bytes are on disk before the file is renamed."""
    with path.open("r+b") as file:  # Windows flushes only files that are open for writing
        os.fsync(file.fileno())
