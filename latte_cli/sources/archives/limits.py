"""What an archive may hold: nothing outside of its folder, and no more than the disk can take.

A symbolic link is accepted if its target lies inside the archive. To decide this from names alone,
its target may only go up first and then down.
"""

import posixpath
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from latte_cli.runtime.errors import DataError
from latte_cli.sources.archives.formats import AGAIN, Entry, Member

MAX_RATIO = 1000
"""How many times its own size an archive may hold; common compression stays below this."""
ALWAYS_FINE_BYTES = 4 << 30
"""However small the archive, this much is not treated as a bomb."""

IN_A_SAFE_PLACE = "unpack it yourself in a safe place, and pass the folder"

_BLOCK_BYTES = 4096
"""What any member takes on disk, even an empty one."""
_GIB = 1 << 30

Reader = Callable[[Path], Iterator[Entry]]
"""What lists the members of an archive."""


class Limit:
    """How much an archive, with those within it, may unpack to."""

    def __init__(self, source: Path) -> None:
        self._most = max(ALWAYS_FINE_BYTES, MAX_RATIO * source.stat().st_size)
        self._total = 0

    def check(self, archive: Path, entries: Reader, into: Path) -> int:
        """Check all members of an archive and count them.

        Args:
            archive: its file.
            entries: lists its members, lazily, so that no more of a bomb is read than needed.
            into: the folder to unpack to; it may not exist yet.

        Raises:
            DataError: if there is none, and at the first member that would lie outside, is not a
                file, folder or safe link, or makes the total exceed the free disk space or what an
                archive of this size can reasonably hold.
        """
        existing = next(folder for folder in (into, *into.absolute().parents) if folder.is_dir())
        free = shutil.disk_usage(existing).free
        count = needed = 0
        for member, _ in entries(archive):
            _check_member(archive, member)
            count += 1
            needed += member.size + _BLOCK_BYTES
            if self._total + needed > self._most:
                raise DataError(
                    f"{archive}: unpacks to more than {self._most / _GIB:.0f} GiB, a decompression "
                    "bomb?",
                    hint=IN_A_SAFE_PLACE,
                )
            if needed > free:
                raise DataError(
                    f"{archive}: needs more than the {free / _GIB:.1f} GiB that are free at {into}",
                    hint="make room, or use an --out on another disk",
                )
        if not count:
            raise DataError(f"{archive}: is empty", hint=AGAIN)
        self._total += needed
        return count


def _check_member(archive: Path, member: Member) -> None:
    """Raise DataError at a member that would lie outside, or is not a file, folder or safe link."""
    name, target = member.name, member.target
    if not _is_relative(name) or ".." in re.split(r"[/\\]", name):
        raise DataError(
            f"{archive}: the member {name!r} lies outside of its folder", hint=IN_A_SAFE_PLACE
        )
    if member.kind == "other" or member.size < 0:
        raise DataError(
            f"{archive}: the member {name!r} is not a file, folder or link", hint=IN_A_SAFE_PLACE
        )
    if member.kind in ("link", "copy"):
        parts = [part for part in re.split(r"[/\\]", target) if part not in ("", ".")]
        ups = next((n for n, part in enumerate(parts) if part != ".."), len(parts))
        depth = posixpath.normpath(name).count("/") if member.kind == "link" else 0
        if not _is_relative(target) or ups > depth or ".." in parts[ups:]:
            raise DataError(
                f"{archive}: the link {name!r} points outside, to {target!r}", hint=IN_A_SAFE_PLACE
            )


def _is_relative(name: str) -> bool:
    """Whether a name is relative on every operating system, and neither empty nor with a NUL."""
    return bool(name) and "\0" not in name and not re.match(r"[/\\]|[A-Za-z]:[/\\]", name)
