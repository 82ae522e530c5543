"""Archives of data sets: unpacked once, completely or not at all, and only into their own folder.

All members are checked before any of them is written. A symbolic link is accepted if its target
lies inside the archive. To decide this from names alone, its target may only go up first and then
down; and links are written last, so that nothing is written through one.
"""

import errno
import json
import lzma
import os
import posixpath
import re
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import rarfile

from latte_cli.runtime.errors import DataError
from latte_cli.runtime.files import PART, atomic_folder, write_text
from latte_cli.sources.archive_formats import (
    AGAIN,
    ENDINGS,
    UNPACK_IT,
    Entry,
    Member,
    entries_of,
)
from latte_cli.sources.folder_tree import unwrapped

UNPACKED = "unpacked"
MAX_RATIO = 1000
"""How many times its own size an archive may hold; common compression stays below this."""
ALWAYS_FINE_BYTES = 4 << 30
"""However small the archive, this much is not treated as a bomb."""

_BLOCK_BYTES = 4096
"""What any member takes on disk, even an empty one."""
_GIB = 1 << 30
_HINT = "unpack it yourself in a safe place, and pass the folder"
_DAMAGE_ERRORS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OverflowError,
    ValueError,
)
"""What the libraries raise, depending on where the damage lies."""


def unpack(source: Path, into: Path, on_member: Callable[[int, int], None] | None = None) -> Path:
    """Unpack an archive, unless that was done before; return any other source as it is.

    Args:
        source: a zip, tar or rar archive; or a folder, or a table of captions.
        into: the data set's folder; the archive is unpacked to `unpacked/<its name>` in it.
        on_member: called with the number of members done, and of all members.

    Returns:
        The folder with the contents; if it only holds one folder of folders, that one.

    Raises:
        DataError: if there is no such file, it is damaged, or anything in it is unsafe; it is then
            rejected before anything is written.
    """
    if not source.exists():
        raise DataError(f"{source}: no such file or folder", hint="--source names the videos")
    ending = next((end for end in ENDINGS if source.name.lower().endswith(end)), source.suffix)
    stem = source.name[: len(source.name) - len(ending)].lstrip(".") or "archive"
    folder = into / UNPACKED / stem
    note = folder.with_name(f".{stem}.json")
    facts = source.stat()
    stamp = json.dumps(
        {
            "archive": str(source.absolute()),
            "bytes": facts.st_size,
            "modified_ns": facts.st_mtime_ns,
        }
    )
    if not folder.is_dir() or not note.is_file() or note.read_text(encoding="utf-8") != stamp:
        with _damage_reported(source):
            entries = entries_of(source)
            if entries is None:
                return source
            for part in folder.parent.glob(f"{PART}*"):  # left by a run that was killed
                if part.name.removeprefix(PART).partition("-")[2] == stem:
                    shutil.rmtree(part, ignore_errors=True)
            _unpack_whole(source, entries, folder, on_member or (lambda done, total: None))
        write_text(note, stamp)
    return unwrapped(folder)


def _unpack_whole(
    source: Path,
    entries: Callable[[Path], Iterator[Entry]],
    folder: Path,
    on_member: Callable[[int, int], None],
) -> None:
    total = _check_members(source, (member for member, _ in entries(source)), folder)
    if not total:
        raise DataError(f"{source}: is empty", hint=AGAIN)
    on_member(0, total)
    links: list[Entry] = []
    with atomic_folder(folder) as part:
        for done, (member, write) in enumerate(entries(source), 1):
            if member.kind == "link":
                links.append((member, write))
            else:
                _write(source, member, write, part)
            on_member(min(done, total), total)
        for member, write in links:
            _write(source, member, write, part)
    on_member(total, total)


def _write(source: Path, member: Member, write: Callable[[Path], object], folder: Path) -> None:
    """Write a member below a folder.

    Raises:
        DataError: if its name is taken, as another member's or on a disk that ignores case, or it
            is a hard link to something that is not a file of the archive.
    """
    path = folder / member.name
    try:
        if member.kind == "folder":
            path.mkdir(parents=True, exist_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        is_taken = True
    else:
        is_taken = os.path.lexists(path)
    if is_taken:
        raise DataError(f"{source}: holds {member.name!r} twice, or below a file", hint=_HINT)
    if member.kind == "copy" and not (folder / member.target).is_file():
        raise DataError(
            f"{source}: holds a hard link to {member.target!r}, which is not a file in it",
            hint=_HINT,
        )
    if member.kind == "link":
        path.symlink_to(member.target)
    else:
        write(folder)


def _check_members(archive: Path, members: Iterable[Member], into: Path) -> int:
    """Check all members of an archive and count them.

    Args:
        archive: its file.
        members: read lazily, so that no more of a bomb is read than needed.
        into: the folder to unpack to; it may not exist yet.

    Raises:
        DataError: at the first member that would lie outside, is not a file, folder or safe link,
            or makes the total exceed the free disk space or what an archive of this size can
            reasonably hold.
    """
    existing = next(folder for folder in (into, *into.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free
    most = max(ALWAYS_FINE_BYTES, MAX_RATIO * archive.stat().st_size)
    count = total = 0
    for member in members:
        _check_member(archive, member)
        count += 1
        total += member.size + _BLOCK_BYTES
        if total > most:
            raise DataError(
                f"{archive}: unpacks to more than {most / _GIB:.0f} GiB, a decompression bomb?",
                hint=_HINT,
            )
        if total > free:
            raise DataError(
                f"{archive}: needs more than the {free / _GIB:.1f} GiB that are free at {into}",
                hint="make room, or use an --out on another disk",
            )
    return count


def _check_member(archive: Path, member: Member) -> None:
    """Raise DataError at a member that would lie outside, or is not a file, folder or safe link."""
    name, target = member.name, member.target
    if not _is_relative(name) or ".." in re.split(r"[/\\]", name):
        raise DataError(f"{archive}: the member {name!r} lies outside of its folder", hint=_HINT)
    if member.kind == "other" or member.size < 0:
        raise DataError(f"{archive}: the member {name!r} is not a file, folder or link", hint=_HINT)
    if member.kind in ("link", "copy"):
        parts = [part for part in re.split(r"[/\\]", target) if part not in ("", ".")]
        ups = next((n for n, part in enumerate(parts) if part != ".."), len(parts))
        depth = posixpath.normpath(name).count("/") if member.kind == "link" else 0
        if not _is_relative(target) or ups > depth or ".." in parts[ups:]:
            raise DataError(
                f"{archive}: the link {name!r} points outside, to {target!r}", hint=_HINT
            )


def _is_relative(name: str) -> bool:
    """Whether a name is relative on every operating system, and neither empty nor with a NUL."""
    return bool(name) and "\0" not in name and not re.match(r"[/\\]|[A-Za-z]:[/\\]", name)


@contextmanager
def _damage_reported(source: Path) -> Iterator[None]:
    """Turn the libraries' errors of damaged archives into a DataError."""
    try:
        yield
    except rarfile.RarCannotExec as error:
        raise DataError(
            f"{source}: a rar archive needs unrar, unar, 7z or bsdtar, and none is installed",
            hint=f"install one (Debian: apt install libarchive-tools), or {UNPACK_IT}",
        ) from error
    except rarfile.Error as error:
        raise DataError(
            f"{source}: cannot be read ({error})",
            hint=f"is it complete? unrar reads every rar archive, other tools some; or {UNPACK_IT}",
        ) from error
    except NotImplementedError as error:
        raise DataError(f"{source}: cannot be unpacked ({error})", hint=AGAIN) from error
    except _DAMAGE_ERRORS as error:
        raise DataError(f"{source}: is damaged ({error})", hint=AGAIN) from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # EINVAL: a seek to a place that is not there
            raise
        raise DataError(f"{source}: is damaged ({error})", hint=AGAIN) from error
