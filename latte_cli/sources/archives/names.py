"""Names of members of archives, in the encoding and with the separators of the system they are of.

A zip archive says of a name only that it is UTF-8, or that it is not: programs then write the
encoding of their own system, such as GBK in China.
"""

import struct
import zipfile
import zlib
from collections.abc import Iterable

_UTF_8_FLAG = 0x800
_UNICODE_NAME = 0x7075  # of a field in a member's header
_WINDOWS = (0, 10, 14)  # systems whose names never hold a backslash: DOS, NTFS, VFAT
_CHINESE_SHARE = 0.8


def encoding_of(names: Iterable[bytes]) -> str:
    """The encoding of the names in an archive that does not say it.

    UTF-8 has a form of its own. Japanese names have kana. Chinese ones mostly have characters of
    GB 2312, of which other languages have few by chance; Korean ones are taken for Chinese. All
    others are in code page 437, as the format says.
    """
    text = b"\n".join(names)
    if _decodes(text, "utf-8"):
        return "utf-8"
    if (japanese := _decodes(text, "shift_jis")) and _is_japanese(japanese):
        return "shift_jis"
    if chinese := _decodes(text, "gbk"):
        wide = [letter for letter in chinese if not letter.isascii()]
        common = [letter for letter in wide if letter.encode("gb2312", "ignore")]
        if len(common) >= _CHINESE_SHARE * len(wide):
            return "gbk"
    return "cp437"


def _decodes(text: bytes, encoding: str) -> str:
    try:
        return text.decode(encoding)
    except UnicodeError:
        return ""


def _is_japanese(text: str) -> bool:
    """Whether a text has kana, but none of half width: other encodings look like those."""
    return any("\u3040" <= letter <= "\u30ff" for letter in text) and not any(
        "\uff61" <= letter <= "\uff9f" for letter in text
    )


def zip_encoding(infos: Iterable[zipfile.ZipInfo]) -> str:
    """The encoding of those names in a zip archive that are not marked as UTF-8."""
    raw = (_raw(info) for info in infos if not _unicode_name(info))
    return encoding_of(name for name in raw if not name.isascii())


def zip_name(info: zipfile.ZipInfo, encoding: str, *, has_slashes: bool) -> str:
    """The name of a member of a zip archive, with folders separated by slashes.

    Args:
        info: the member.
        encoding: of names that are not marked as UTF-8.
        has_slashes: whether any name of the archive has a slash; if none has, backslashes separate
            folders, whatever system the archive says it is of.
    """
    name = _unicode_name(info) or _raw(info).decode(encoding)
    if info.create_system in _WINDOWS or not has_slashes:
        return name.replace("\\", "/")
    return name


def tar_name(name: str) -> str:
    """The name of a member of a tar archive; one that is not UTF-8 is GBK, or kept as it is.

    Backslashes separate folders in a name without slashes.
    """
    raw = name.encode("utf-8", "surrogateescape")
    if encoding_of([raw]) == "gbk":
        name = raw.decode("gbk")
    return name if "/" in name else name.replace("\\", "/")


def _raw(info: zipfile.ZipInfo) -> bytes:
    """The bytes of a name that zipfile decoded as code page 437."""
    return info.filename.encode("cp437")


def _unicode_name(info: zipfile.ZipInfo) -> str:
    """The name that is marked as UTF-8, or in a field of the header; empty if there is none."""
    if info.flag_bits & _UTF_8_FLAG:
        return info.filename
    extra = info.extra
    while len(extra) >= 4:
        kind, length = struct.unpack("<HH", extra[:4])
        if kind == _UNICODE_NAME and 5 < length <= len(extra) - 4 and extra[4] == 1:
            (checksum,) = struct.unpack("<I", extra[5:9])
            if checksum == zlib.crc32(_raw(info)):  # else the name was changed later
                return _decodes(extra[9 : 4 + length], "utf-8")
        extra = extra[4 + length :]
    return ""
