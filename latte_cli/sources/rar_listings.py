"""What unrar and 7z print of an archive's members, block by block of keys and values."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from latte_cli.runtime.errors import DataError
from latte_cli.sources.archive_members import AGAIN, CannotRead, Member

ANOTHER = "try another program (unrar reads them all), or unpack it yourself, and give the folder"

_SEVEN_ZIP_ERRORS = "ERRORS:"
_TARGETS = ("Target", "Symbolic Link", "Hard Link", "Copy Link")


@dataclass(frozen=True)
class Lister:
    """How to speak with a program that lists members as blocks of lines.

    Attributes:
        listing: words before the archive's name.
        unpacking: words before the archive's name and the folder's.
        folder: what stands before and after the folder's name.
        line: a line of a block, as key and value.
        first: the key that a block begins with.
        rule: the line above the first block; None where blocks begin at once.
        told: how a line begins that tells of a member unpacked.
    """

    listing: Sequence[str]
    unpacking: Sequence[str]
    folder: tuple[str, str]
    line: str
    first: str
    rule: str | None
    told: tuple[str, ...]


UNRAR = Lister(
    listing=("lt", "-v", "-cfg-", "-idc", "-p-", "--"),
    unpacking=("x", "-cfg-", "-idc", "-p-", "-y", "--"),
    folder=("", "/"),
    line=r" *([A-Za-z][A-Za-z0-9 -]*): (.*)",
    first="Name",
    rule=None,
    told=("Extracting ", "Creating "),
)
SEVEN_ZIP = Lister(
    listing=("l", "-slt", "-p-", "--"),
    unpacking=("x", "-p-", "-y", "-bd", "-bb1"),
    folder=("-o", ""),
    line=r"([A-Z][A-Za-z ]*) = ?(.*)",
    first="Path",
    rule="----------",
    told=("- ",),
)


def listed_members(archive: Path, lister: Lister, lines: Iterable[str]) -> Iterator[Member]:
    """The members of a listing.

    A name may hold line ends, and then what looks like further lines of a listing. So whatever is
    not as listings are is refused, and any step upwards that is not a link's.

    Args:
        archive: its file.
        lister: whose listing it is.
        lines: of the listing, without line ends.

    Raises:
        CannotRead: at a name that the listing cannot be trusted with.
        DataError: if the listing tells of damage.
    """
    for block in _blocks(archive, lister, lines):
        yield _member(archive, block)


def _blocks(archive: Path, lister: Lister, lines: Iterable[str]) -> Iterator[dict[str, str]]:
    """A program's listing, member by member."""
    block: dict[str, str] = {}
    begun = lister.rule is None
    before = ""
    for line in lines:
        if before == _SEVEN_ZIP_ERRORS and not begun:
            raise DataError(f"{archive}: is damaged ({line})", hint=AGAIN)
        before = line
        found = re.fullmatch(lister.line, line) if begun else None
        begun = begun or line == lister.rule
        key, value = found.groups() if found else ("", "")
        if key == lister.first:
            if block:
                yield block
            block = {}
        elif not block or not line.strip():
            continue
        climbs = ".." in value.split("/") and key not in _TARGETS
        if not found or key in block or (climbs and key != lister.first):
            raise CannotRead(f"{archive}: a member is listed oddly, {line!r}", hint=ANOTHER)
        block[key] = value
    if block:
        yield block


def _member(archive: Path, block: dict[str, str]) -> Member:
    """A member from its block, by what either program calls it."""
    name = block.get("Name") or block.get("Path", "")
    target = next((block[key] for key in _TARGETS if block.get(key)), "")
    is_copy = bool(block.get("Hard Link") or block.get("Copy Link"))
    # Its last word is as `ls -l` has it: drwxr-xr-x; of archives made on Windows it is other.
    mode = (block.get("Attributes") or " ").split(" ")[-1][:1]
    told = block.get("Type", "").lower()
    if block.get("Folder") == "+" or told == "directory":
        return Member(name, kind="folder")
    if is_copy or told in ("hard link", "file reference"):
        return Member(name, kind="copy", target=target)
    if target or "link" in told or "junction" in told or mode == "l":
        if not target:
            raise CannotRead(f"{archive}: nothing tells where {name!r} leads to", hint=ANOTHER)
        return Member(name, kind="link", target=target)
    size = block.get("Size", "")
    if not size.isdecimal() or mode in tuple("bcps") or told not in ("", "file"):
        return Member(name, kind="other")
    return Member(name, int(size))
