"""zip and tar archives: what they hold, and how it is written out."""

import os
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from latte_cli.runtime.errors import DataError
from latte_cli.sources.archive_members import Member, check_member

_ENCRYPTED, _UTF_8 = 0x1, 0x800
_LONGEST_TARGET = 4096
_BYTES_AT_A_TIME = 1 << 20
_DESCRIBING = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_LONGEST_DESCRIPTION = 1 << 20
"""Bytes of a header that describes the next one; tarfile takes them into memory unasked."""
# Pythons from 3.10.12 and 3.11.4 on have it; before, check_member stands alone.
_FILTER: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


class Zip:
    """A zip archive.

    Args:
        archive: its file.
    """

    def __init__(self, archive: Path) -> None:
        self.archive = archive

    def members(self) -> Iterator[Member]:
        """List what the archive holds.

        Raises:
            DataError: at a member that is encrypted.
        """
        with zipfile.ZipFile(self.archive) as opened:
            for info in _infos(opened):
                if info.flag_bits & _ENCRYPTED:
                    raise DataError(
                        f"{self.archive}: needs a password",
                        hint="unpack it yourself, and give the folder",
                    )
                yield _zip_member(opened, info)

    def unpack(self, folder: Path) -> Iterator[None]:
        """Unpack into an empty folder, yielding after every member."""
        with zipfile.ZipFile(self.archive) as opened:
            for info in _infos(opened):
                member = _zip_member(opened, info)
                if member.kind == "link":
                    path = folder / member.name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.symlink_to(member.target)
                else:
                    opened.extract(info, folder)
                yield


class _Header(tarfile.TarInfo):
    """What stands before a member; where tarfile takes a damaged one for the end, an error."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        """Read a header.

        Raises:
            ReadError: if it is neither one nor the mark of the archive's end, or without measure.
        """
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if any(buf) or len(buf) < tarfile.BLOCKSIZE:
                raise tarfile.ReadError("cut off, or no header where one must be") from error
            raise
        if header.type in _DESCRIBING and header.size > _LONGEST_DESCRIPTION:
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        return header


class StrictTar(tarfile.TarFile):
    """A tar file or stream that is read to its proper end, or not at all."""

    tarinfo = _Header
    errorlevel = 2  # each is one


def is_tar(path: Path) -> bool:
    """Whether a file is a tar archive, in any of the compressions that tarfile knows."""
    try:
        StrictTar.open(path).close()
    except tarfile.TarError:
        return False
    return True


class Tar:
    """A tar archive, in any of the compressions that tarfile knows.

    Args:
        archive: its file.
    """

    def __init__(self, archive: Path) -> None:
        self.archive = archive

    def members(self) -> Iterator[Member]:
        """List what the archive holds."""
        with StrictTar.open(self.archive) as opened:
            yield from tar_members(opened)
            assert opened.fileobj is not None
            while opened.fileobj.read(_BYTES_AT_A_TIME):
                pass  # the checksum of compressed files comes last

    def unpack(self, folder: Path) -> Iterator[None]:
        """Unpack into an empty folder, yielding after every member."""
        with StrictTar.open(self.archive) as opened:
            yield from unpack_tar(opened, self.archive, folder)


def tar_members(opened: tarfile.TarFile) -> Iterator[Member]:
    """List what a tar file or stream holds."""
    for info in _each(opened):
        yield _tar_member(info)


def unpack_tar(opened: tarfile.TarFile, archive: Path, folder: Path) -> Iterator[None]:
    """Unpack a tar file or stream, made of an archive, yielding after every member."""
    for info in _each(opened):
        member = _tar_member(info)
        check_member(archive, member)
        if member.kind == "folder":
            (folder / member.name).mkdir(parents=True, exist_ok=True)
        else:
            opened.extract(info, folder, set_attrs=False, **_FILTER)
        yield


def _each(opened: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for info in opened:
        yield info
        # It would keep all it has seen: of a data set of single frames, a gigabyte.
        opened.members.clear()  # type: ignore[attr-defined]  # no part of its types


def _tar_member(info: tarfile.TarInfo) -> Member:
    if info.isdir():
        return Member(info.name, kind="folder")
    if info.issym():
        return Member(info.name, kind="link", target=info.linkname)
    if info.islnk():
        return Member(info.name, kind="copy", target=info.linkname)
    return Member(info.name, info.size, "file" if info.isfile() else "other")


def _infos(opened: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    """What a zip archive holds, by names in UTF-8 also where its maker did not say so."""
    for info in opened.infolist():
        if not info.flag_bits & _UTF_8:
            with suppress(UnicodeError):
                info.filename = info.filename.encode("cp437").decode()
        yield info


def _zip_member(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    if info.is_dir():
        return Member(info.filename, kind="folder")
    kind = stat.S_IFMT(info.external_attr >> 16)  # of the system that made it; 0 where it has none
    if kind == stat.S_IFLNK:
        short = info.file_size <= _LONGEST_TARGET
        target = os.fsdecode(opened.read(info)) if short else ""
        return Member(info.filename, kind="link", target=target)
    return Member(info.filename, info.file_size, "file" if kind in (0, stat.S_IFREG) else "other")
