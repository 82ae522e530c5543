"""Archives of data sets: unpacked once, completely or not at all, and only into their own folder.

All members are checked before any of them is written, and links are written last, so that nothing
is written through one. Archives within an archive are unpacked, too, under the same rules.
"""

import errno
import json
import lzma
import os
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import rarfile

from latte_cli.runtime.errors import DataError
from latte_cli.runtime.files import PART, atomic_folder, write_text
from latte_cli.sources.archives.formats import (
    AGAIN,
    ENDINGS,
    UNPACK_IT,
    Entry,
    Member,
    entries_of,
)
from latte_cli.sources.archives.limits import IN_A_SAFE_PLACE, Limit, Reader
from latte_cli.sources.folder_tree import MAC_METADATA, unwrapped

UNPACKED = "unpacked"
_MAX_DEPTH = 5  # of archives within archives
_VERSION = 2
"""Of the way in which archives are unpacked; those unpacked otherwise are unpacked again."""

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
    stem = source.name[: len(source.name) - len(_ending(source.name))].lstrip(".") or "archive"
    folder = into / UNPACKED / stem
    note = folder.with_name(f".{stem}.json")
    facts = source.stat()
    stamp = json.dumps(
        {
            "version": _VERSION,
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
    entries: Reader,
    folder: Path,
    on_member: Callable[[int, int], None],
) -> None:
    limit = Limit(source)
    total = limit.check(source, entries, folder)
    with atomic_folder(folder) as part:
        _write_all(source, entries, part, total, on_member)
        inner = _archives_below(part)
        for _ in range(_MAX_DEPTH):
            inner = [
                each
                for archive in inner
                for each in _archives_below(_unpack_inner(archive, source, part, limit, on_member))
            ]
        if inner:
            raise DataError(
                f"{source}: archives within archives, more than {_MAX_DEPTH} deep",
                hint=IN_A_SAFE_PLACE,
            )


def _write_all(
    source: Path,
    entries: Reader,
    folder: Path,
    total: int,
    on_member: Callable[[int, int], None],
) -> None:
    on_member(0, total)
    links: list[Entry] = []
    for done, (member, write) in enumerate(entries(source), 1):
        if member.kind == "link":
            links.append((member, write))
        else:
            _write(source, member, write, folder)
        on_member(min(done, total), total)
    for member, write in links:
        _write(source, member, write, folder)
    on_member(total, total)


def _archives_below(folder: Path) -> list[Path]:
    """The archives in a folder, by their names; without links, hidden files and those of Macs."""
    return [
        Path(top, name)
        for top, _, names in os.walk(folder)
        if MAC_METADATA not in Path(top).parts
        for name in sorted(names)
        if name.lower().endswith(ENDINGS)
        and not name.startswith(".")
        and not os.path.islink(os.path.join(top, name))
    ]


def _unpack_inner(
    archive: Path,
    source: Path,
    top: Path,
    limit: Limit,
    on_member: Callable[[int, int], None],
) -> Path:
    """Replace an archive by a folder of its contents.

    The folder has the archive's name without its ending, or, if there is such a folder, with it.

    Args:
        archive: the file, below `top`.
        source: the outermost archive, which errors name.
        top: the folder to which that is unpacked.
        limit: what may still be unpacked.
        on_member: see `unpack`.

    Raises:
        DataError: if it is damaged or unsafe.
    """
    part = archive.with_name(f"{PART}{os.getpid()}-{archive.name}")
    try:
        with _damage_reported(archive):
            entries = entries_of(archive)
            assert entries is not None, "by its name it is one"
            total = limit.check(archive, entries, part)
            part.mkdir()
            _write_all(archive, entries, part, total, on_member)
    except DataError as error:
        inner = source / archive.relative_to(top)
        raise DataError(str(error).replace(str(archive), str(inner)), hint=error.hint) from error
    archive.unlink()
    folder = archive.with_name(archive.name[: -len(_ending(archive.name))])
    return part.rename(archive if os.path.lexists(folder) else folder)


def _ending(name: str) -> str:
    """The ending of an archive's name, or a file's suffix."""
    return next((end for end in ENDINGS if name.lower().endswith(end)), Path(name).suffix)


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
        raise DataError(
            f"{source}: holds {member.name!r} twice, or below a file", hint=IN_A_SAFE_PLACE
        )
    if member.kind == "copy" and not (folder / member.target).is_file():
        raise DataError(
            f"{source}: holds a hard link to {member.target!r}, which is not a file in it",
            hint=IN_A_SAFE_PLACE,
        )
    if member.kind == "link":
        path.symlink_to(member.target)
    else:
        write(folder)


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
            hint="make sure that it is complete, and install unrar, which reads every rar archive; "
            f"or {UNPACK_IT}",
        ) from error
    except NotImplementedError as error:
        raise DataError(f"{source}: cannot be unpacked ({error})", hint=AGAIN) from error
    except _DAMAGE_ERRORS as error:
        raise DataError(f"{source}: is damaged ({error})", hint=AGAIN) from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # EINVAL: a seek to a place that is not there
            raise
        raise DataError(f"{source}: is damaged ({error})", hint=AGAIN) from error
