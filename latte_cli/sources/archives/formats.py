"""Zip, tar and rar archives: their members, and how each is written."""

import os
import platform
import re
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal

import rarfile

from latte_cli.runtime.errors import DataError
from latte_cli.sources.archives.names import tar_name, zip_encoding, zip_name
from latte_cli.sources.editions import warn

ENDINGS = (
    *(".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tgz", ".tbz2", ".txz", ".tar"),
    *(".zip", ".rar"),
)
UNPACK_IT = "unpack it yourself and pass the folder"
AGAIN = f"download it again, or {UNPACK_IT}"

_OTHER_ENDING = re.compile(r"\.(?:7z|z\d\d|\d\d\d|iso|cab|lzh|arj|gz|bz2|xz|zst)$", re.IGNORECASE)
"""Also of the parts of split archives, and of single files that are compressed."""
_TABLE_ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson")
_RAR, _ZSTANDARD = b"Rar!\x1a\x07", b"\x28\xb5\x2f\xfd"
_ZIP, _TAR, _TAR_PLACE = (b"PK\3\4", b"PK\5\6"), b"ustar", 257
_TAR_LABEL, _TAR_LISTING = b"V", b"D"  # GNU: of a volume, and of a folder, for backups
_ZIP_ENCRYPTED = 0x1
_MAX_TARGET_BYTES = 4096
_MAX_HEADER_BYTES = 1 << 20

# Python has the filter since 3.10.12 and 3.11.4; on older ones the checks before stand alone.
_FILTER: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


@dataclass(frozen=True)
class Member:
    """One entry of an archive.

    Attributes:
        name: as the archive has it.
        size: bytes once unpacked.
        kind: a `link` is symbolic; a `copy` is a hard link or a reference to another member.
        target: what a link points to, relative to its folder, or a copy, relative to the top.
    """

    name: str
    size: int = 0
    kind: Literal["file", "folder", "link", "copy", "other"] = "file"
    target: str = ""


Entry = tuple[Member, Callable[[Path], object]]
"""A member, and what writes it, if it is a file or a copy, below a folder."""


def entries_of(archive: Path) -> Callable[[Path], Iterator[Entry]] | None:
    """The function that lists this kind of archive; None if it is not an archive.

    Such a function yields every member in the archive's order. What writes one is called, if at
    all, before the next one is asked for.

    Raises:
        DataError: if it is an archive by its name only, or cannot be read on this computer.
    """
    if archive.is_dir() or archive.suffix.lower() in _TABLE_ENDINGS:
        return None
    with archive.open("rb") as file:
        start = file.read(tarfile.BLOCKSIZE)
    if start.startswith(_RAR):
        return _rar_entries
    is_zip = zipfile.is_zipfile(archive)  # or a tar archive that ends with one
    if is_zip and start.startswith(_ZIP):
        return _zip_reader(archive)
    with suppress(tarfile.TarError):
        _StrictTar.open(archive).close()
        return _tar_entries
    if is_zip and not start.startswith(_TAR, _TAR_PLACE):  # a program that unpacks itself
        return _zip_reader(archive)
    if start.startswith(_ZSTANDARD):
        raise DataError(
            f"{archive}: Python {platform.python_version()} cannot read Zstandard, 3.14 can",
            hint="unpack it with `zstd -d`, and pass the .tar file or the folder",
        )
    if archive.name.lower().endswith(ENDINGS):
        raise DataError(f"{archive}: is not an archive, or is incomplete", hint=AGAIN)
    if _OTHER_ENDING.search(archive.name):
        raise DataError(f"{archive}: is an archive of a kind that is not read", hint=UNPACK_IT)
    return None


def _zip_reader(archive: Path) -> Callable[[Path], Iterator[Entry]]:
    """What lists a zip archive, with names in the encoding that they seem to have."""
    with zipfile.ZipFile(archive) as opened:
        infos = opened.infolist()
    encoding = zip_encoding(infos)
    if encoding not in ("utf-8", "cp437"):
        warn(f"{archive}: does not say how its names are encoded; they are read as {encoding}")
    has_slashes = any("/" in info.filename for info in infos)
    return partial(_zip_entries, encoding=encoding, has_slashes=has_slashes)


def _zip_entries(archive: Path, encoding: str, *, has_slashes: bool) -> Iterator[Entry]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            if info.flag_bits & _ZIP_ENCRYPTED:
                raise _password_error(archive)
            info.filename = zip_name(info, encoding, has_slashes=has_slashes)
            file_type = stat.S_IFMT(info.external_attr >> 16)  # 0 where the system has none
            if info.filename.endswith("/"):
                member = Member(info.filename, kind="folder")
            elif file_type == stat.S_IFLNK:
                short = info.file_size <= _MAX_TARGET_BYTES
                target = os.fsdecode(opened.read(info)) if short else ""
                member = Member(info.filename, kind="link", target=target)
            else:
                is_file = file_type in (0, stat.S_IFREG)
                member = Member(info.filename, info.file_size, "file" if is_file else "other")
            yield member, partial(opened.extract, info)


class _StrictHeader(tarfile.TarInfo):
    """A header of a tar file; an error where tarfile would take a damaged one for the end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_StrictHeader":
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if any(buf) or len(buf) < tarfile.BLOCKSIZE:
                raise tarfile.ReadError("incomplete, or a broken header") from error
            raise
        # Headers that describe the next one are read into memory at once.
        if header.type in b"xgXLK" and header.size > _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        return header


class _StrictTar(tarfile.TarFile):
    """A tar file that must be readable up to its proper end."""

    tarinfo = _StrictHeader
    errorlevel = 2  # raises every error


def _tar_entries(archive: Path) -> Iterator[Entry]:
    with _StrictTar.open(archive) as opened:
        for info in opened:
            if info.type == _TAR_LABEL:
                continue
            info.name = tar_name(info.name)
            if info.isdir() or info.type == _TAR_LISTING:
                member = Member(info.name, kind="folder")
            elif info.issym():
                member = Member(info.name, kind="link", target=info.linkname)
            elif info.islnk():
                info.linkname = tar_name(info.linkname)
                member = Member(info.name, kind="copy", target=info.linkname)
            else:
                member = Member(info.name, info.size, "file" if info.isfile() else "other")
            yield member, partial(opened.extract, info, set_attrs=False, **_FILTER)
            # tarfile would keep all it has seen, a gigabyte for a data set of single frames.
            opened.members.clear()  # type: ignore[attr-defined]  # missing in its types
        assert opened.fileobj is not None
        while rest := opened.fileobj.read(1 << 20):  # the checksum of a compressed file comes last
            if b"\0" * 100 + _TAR in rest:  # a header of no link
                raise DataError(
                    f"{archive}: is several tar archives, one behind the other",
                    hint="`tar --ignore-zeros -xf` unpacks all of them; pass the folder",
                )


class _RarPart(rarfile.RarExtFile):  # type: ignore[misc]  # the library has no types
    """One member in a tool's output for a whole archive; its base class checks size and CRC."""

    def __init__(self, info: Any, output: IO[bytes]) -> None:
        super().__init__()
        self._output = output
        self._open_extfile(None, info)

    def _read(self, count: int) -> bytes:
        return self._output.read(count)


def _rar_entries(archive: Path) -> Iterator[Entry]:
    process: Any = None

    def write(info: Any, folder: Path) -> None:
        nonlocal process
        path = folder / info.filename
        if _is_rar_copy(info):
            os.link(folder / info.file_redir[2], path)
            return
        if at_once and process is None:
            words = rarfile.tool_setup().open_cmdline(None, str(archive.absolute()))
            process = rarfile.custom_popen(words)
        part = _RarPart(info, process.stdout) if at_once else opened.open(info)
        with part as content, path.open("wb") as file:
            shutil.copyfileobj(content, file)

    # Absolute, since a tool could take a name that starts with a dash for an option.
    with rarfile.RarFile(archive.absolute(), errors="strict") as opened:
        if opened.needs_password():
            raise _password_error(archive)
        files = [info for info in opened.infolist() if not info.is_dir()]
        packed = any(info.compress_type != rarfile.RAR_M0 for info in files)
        if packed:
            _find_rar_tool()
        # One run of the tool for all: one for each member would take long for many, and in a solid
        # archive each would start from the first. Links appear in the output of some tools only.
        at_once = packed and all(info.is_file() and not info.file_redir for info in files)
        try:
            for info in opened.infolist():
                yield _rar_member(opened, info), partial(write, info)
        finally:
            if process is not None:
                process.kill()
                process.stdout.close()
                process.wait()


def _is_rar_copy(info: Any) -> bool:
    kinds = (rarfile.RAR5_XREDIR_HARD_LINK, rarfile.RAR5_XREDIR_FILE_COPY)
    return bool(info.file_redir) and info.file_redir[0] in kinds


def _rar_member(opened: Any, info: Any) -> Member:
    if info.is_dir():
        return Member(info.filename, kind="folder")
    if _is_rar_copy(info):
        return Member(info.filename, kind="copy", target=info.file_redir[2])
    is_unix = info.host_os == rarfile.RAR_OS_UNIX
    if info.is_symlink() and is_unix:
        short = info.file_size <= _MAX_TARGET_BYTES
        target = os.fsdecode(opened.read(info)) if short else ""
        return Member(info.filename, kind="link", target=target)
    file_type = stat.S_IFMT(info.mode) if is_unix else 0
    is_file = info.is_file() and file_type in (0, stat.S_IFREG)
    return Member(info.filename, info.file_size, "file" if is_file else "other")


class _Bsdtar(rarfile.ToolSetup):  # type: ignore[misc]  # the library has no types
    """What rarfile 4.5 calls with `-f --`, so that the name of the archive is lost."""

    def open_cmdline(self, password: None, archive: str, member: str | None = None) -> list[str]:
        words = [rarfile.BSDTAR_TOOL, "-x", "--to-stdout", "-f", archive]
        return words if member is None else [*words, "--", re.sub(r"([*?\[\]\\])", r"\\\1", member)]


def _find_rar_tool() -> None:
    """Let rarfile find its tool anew; 7z comes last, since Debian builds it without rar.

    Raises:
        rarfile.RarCannotExec: if none is installed.
    """
    with suppress(rarfile.RarCannotExec):
        rarfile.tool_setup(sevenzip=False, sevenzip2=False, bsdtar=False, force=True)
        return
    bsdtar = _Bsdtar(rarfile.BSDTAR_CONFIG)
    if bsdtar.check():
        rarfile.CURRENT_SETUP = bsdtar
    else:
        rarfile.tool_setup(bsdtar=False, force=True)


def _password_error(archive: Path) -> DataError:
    return DataError(f"{archive}: needs a password", hint=UNPACK_IT)
