"""What an archive says that it holds, refused before anything of it is written.

A link may stand in an archive if it leads to a place inside it. So that this can be told from names
alone, whatever other links there are, its target goes up first and down then, nothing lies behind a
link, and a second name (a hard link) is that of a file. No two members have one name, not even on a
disk that takes large and small letters for the same.
"""

import os
import posixpath
import re
import shutil
import stat
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from latte_cli.runtime.errors import DataError

MAX_RATIO = 1000
"""How many times its own size an archive may hold; no usual compression goes further."""
ALWAYS_FINE_BYTES = 4 << 30
"""However small the archive, so much is no bomb."""

_BLOCK_BYTES = 4096
"""What any member takes on a disk, be it empty."""
_GIB = 1 << 30
AGAIN = "download it again, or unpack it yourself and give the folder"
_HINT = "unpack it yourself where it can do no harm, and give the folder"


class CannotRead(DataError):
    """An archive that a program, or this one, cannot read; another may."""


@dataclass(frozen=True)
class Member:
    """One thing in an archive.

    Attributes:
        name: as the archive has it.
        size: bytes once unpacked.
        kind: `copy` is a hard link, whose target is named from the archive's top.
        target: what a link or a copy leads to.
    """

    name: str
    size: int = 0
    kind: Literal["file", "folder", "link", "copy", "other"] = "file"
    target: str = ""


def check_members(archive: Path, members: Iterable[Member], into: Path) -> int:
    """Go through an archive's members and count them.

    Args:
        archive: its file.
        members: all it holds; drawn one by one, so that of a bomb no more is read than is needed.
        into: the folder, not made yet perhaps, on whose disk they shall lie.

    Raises:
        DataError: at the first that would lie outside, that is no file, folder or link, that has
            the name of another, or that makes them larger than the disk's free space or than an
            archive of this size can hold.
    """
    free = shutil.disk_usage(_existing(into)).free
    most = max(ALWAYS_FINE_BYTES, MAX_RATIO * archive.stat().st_size)
    names = _Names(archive)
    count = total = 0
    for member in members:
        check_member(archive, member)
        names.add(member)
        count += 1
        total += member.size + _BLOCK_BYTES
        if total > most:
            raise DataError(
                f"{archive}: unpacks to over {most / _GIB:.0f} GiB, a bomb?", hint=_HINT
            )
        if total > free:
            raise DataError(
                f"{archive}: needs over {free / _GIB:.1f} GiB, more than is free at {into}",
                hint="make room, or give an --out on another disk",
            )
    names.check()
    return count


class _Names:
    """The names that an archive's members take; of millions of files, only a number each."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._files: set[int] = set()
        self._links: set[int] = set()
        self._folders: dict[str, str] = {}
        self._copies: list[str] = []

    def add(self, member: Member) -> None:
        """Take one more.

        Raises:
            DataError: if another has its name, or one that some disks take for the same.
        """
        name = posixpath.normpath(member.name)
        self._add_folders(name if member.kind == "folder" else posixpath.dirname(name))
        if member.kind == "folder":
            return
        key = hash(_folded(name))
        if key in self._files:
            raise self._twice(name)
        self._files.add(key)
        if member.kind == "link":
            self._links.add(key)
        if member.kind == "copy":
            self._copies.append(posixpath.normpath(member.target))

    def check(self) -> None:
        """Look at all of them together.

        Raises:
            DataError: if a file or a link has the name of a folder, or a copy is not one of a file.
        """
        for folded, name in self._folders.items():
            if hash(folded) in self._files:
                raise DataError(
                    f"{self._archive}: holds {name!r} as a folder and as a file or link",
                    hint=_HINT,
                )
        for name in self._copies:
            if (key := hash(_folded(name))) not in self._files or key in self._links:
                raise DataError(
                    f"{self._archive}: holds a second name of {name!r}, which is no file of it",
                    hint=_HINT,
                )

    def _add_folders(self, name: str) -> None:
        """A folder and those that it lies in, up to the first that is known."""
        while name and self._folders.get(key := _folded(name)) != name:
            if key in self._folders:
                raise self._twice(name)
            self._folders[key] = name
            name = posixpath.dirname(name)

    def _twice(self, name: str) -> DataError:
        return DataError(
            f"{self._archive}: holds {name!r} twice, or two names that differ in case only",
            hint=_HINT,
        )


def check_member(archive: Path, member: Member) -> None:
    """Refuse a member that does not lie inside, or is no file, folder or link to the inside.

    Raises:
        DataError: if so.
    """
    name, target = member.name, member.target
    if not name or not _is_inside(name) or ".." in re.split(r"[/\\]", name):
        raise DataError(
            f"{archive}: the member {name!r} would lie outside of its folder", hint=_HINT
        )
    if member.kind == "other" or member.size < 0:
        raise DataError(f"{archive}: the member {name!r} is no file, folder or link", hint=_HINT)
    if member.kind == "link":
        ups, downs = _ups_and_downs(target)
        depth = posixpath.normpath(name).count("/")
        if not _is_inside(target) or ups > depth or ".." in downs:
            raise DataError(
                f"{archive}: the link {name!r} leads outside, to {target!r}", hint=_HINT
            )
    if member.kind == "copy" and (not _is_inside(target) or ".." in target.split("/")):
        raise DataError(f"{archive}: the link {name!r} leads outside, to {target!r}", hint=_HINT)


def check_inside(archive: Path, folder: Path) -> None:
    """Make sure of what a program has written.

    Raises:
        DataError: if it is no file, folder, or link to the inside.
    """
    top = os.path.realpath(folder)
    for place, folders, files in os.walk(top):
        for path in (os.path.join(place, name) for name in folders + files):
            mode = os.lstat(path).st_mode
            inside = os.path.commonpath([top, os.path.realpath(path)]) == top
            if not inside or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
                raise DataError(f"{archive}: holds {path!r}, which leads outside", hint=_HINT)


def _is_inside(name: str) -> bool:
    """Whether a name is relative, on whatever system; none is empty or holds a NUL."""
    return bool(name) and "\0" not in name and not re.match(r"[/\\]|[A-Za-z]:[/\\]", name)


def _ups_and_downs(target: str) -> tuple[int, list[str]]:
    """How often a link's target goes up at its beginning, and what comes then."""
    parts = [part for part in target.split("/") if part not in ("", ".")]
    ups = next((n for n, part in enumerate(parts) if part != ".."), len(parts))
    return ups, parts[ups:]


def _folded(name: str) -> str:
    """What is the same for names that some disk takes for the same."""
    return unicodedata.normalize("NFC", name).casefold()


def _existing(path: Path) -> Path:
    """A folder, or the first around it that exists."""
    return next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())
