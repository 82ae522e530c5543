"""Whether a file is whole, by the sizes and end marks that its own format has.

Decoders return what is there of a file that was cut off, mostly without an error. So the boxes,
elements, pages or blocks of its container are walked to the end, without decoding. Formats are told
by their first bytes, not by the file's name.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from struct import unpack
from typing import BinaryIO

from latte_cli.video_io.missing_data import CutOffError, End, require
from latte_cli.video_io.ogg import ogg_end

_MAX_32 = 0xFFFFFFFF


def end_of(path: Path) -> End:
    """Whether a file holds all that its format announces.

    Raises:
        CutOffError: if it does not.
        DamagedError: if checksums or numbers of its parts do not fit.
        OSError: if it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(1024)
        for is_format, end in _FORMATS:
            if is_format(start):
                return end(file, size)
    return "unchecked"


def _at(file: BinaryIO, position: int, length: int) -> bytes:
    file.seek(position)
    return file.read(length)


def _mp4(file: BinaryIO, size: int) -> End:
    """MP4 and QuickTime; where samples lie in a file without fragments, its index tells.

    A fragmented file ends after any fragment, unless it has an index of them: `sidx` or `mfra`.
    """
    position, promised = 0, 0
    kind, before, kinds = b"", b"", set[bytes]()
    while position + 8 <= size:
        length, kind = unpack(">I4s", _at(file, position, 8))
        if length == 1:
            length = int.from_bytes(_at(file, position + 8, 8), "big")
        elif length == 0:
            length = size - position
        if length < 8 or not re.fullmatch(rb"[ -~\xa9]{4}", kind):
            if before == b"moof":
                raise CutOffError("the data of a fragment are missing")
            break  # what some cameras append
        if kind == b"sidx" and b"moof" not in kinds:
            promised = max(promised, _sidx_end(_at(file, position, min(length, 1 << 20)), position))
        kinds.add(kind)
        before = kind
        position += length
    if b"moof" in kinds:
        require(max(position, promised), size, "fragments")
        return "known" if promised or kind == b"mfra" else "unknown"
    if b"moov" not in kinds or kind == b"moov":
        require(position, size, f"box {kind.decode('latin-1')}")
    return "known"


def _sidx_end(box: bytes, position: int) -> int:
    """Where the fragments end that an index lists; 0 if it is only that of one DASH segment."""
    wide = len(box) > 8 and box[8] > 0
    table = 40 if wide else 32
    if len(box) < table:
        return 0
    offset = int.from_bytes(box[28:36] if wide else box[24:28], "big")
    count = int.from_bytes(box[table - 2 : table], "big")
    sizes = [
        int.from_bytes(box[table + 12 * n : table + 12 * n + 4], "big") & 0x7FFFFFFF
        for n in range(count)
    ]
    return position + len(box) + offset + sum(sizes) if count > 1 else 0


_SEGMENT, _CLUSTER, _BLOCK_GROUP = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75", b"\xa0"


def _matroska(file: BinaryIO, size: int) -> End:
    """Matroska and WebM; a stream that was recorded as it came has no size, and ends anywhere."""
    position = 0
    while position < size:
        header = _at(file, position, 12)
        name = header[: _vint_length(header)]
        rest = header[len(name) :]
        digits = _vint_length(rest)
        if not name or not digits:
            return "unknown"  # damaged, or something else behind the end
        if len(rest) < digits:
            raise CutOffError("the last element has no end")
        length = int.from_bytes(rest[:digits], "big") & ((1 << 7 * digits) - 1)
        begin = position + len(name) + digits
        if length == (1 << 7 * digits) - 1:
            if name not in (_SEGMENT, _CLUSTER):
                return "unknown"
            position = begin
            continue
        position = begin + length
        require(position, size, "segment" if name == _SEGMENT else "elements")
        if name == _SEGMENT:
            return "known"
    return "unknown"


def _vint_length(content: bytes) -> int:
    """Bytes of a number whose first set bit tells its length; 0 if there is none."""
    return 9 - content[0].bit_length() if content and content[0] else 0


def _avi(file: BinaryIO, size: int) -> End:
    """AVI: RIFF lists that give their sizes; recorders that were killed leave sizes out."""
    position = 0
    while position + 12 <= size:
        tag, length, kind = unpack("<4sI4s", _at(file, position, 12))
        if tag != b"RIFF" or kind not in (b"AVI ", b"AVIX"):
            padding = _at(file, position, 1 << 16)
            return "unchecked" if padding.strip(b"\0") else "known"
        if length in (0, _MAX_32):
            return "unchecked"
        # Some writers count the eight bytes of tag and length, or leave out the last byte.
        require(position + 8 + length, size, "RIFF list", tolerance=9)
        if position + 8 + length > size:
            return "unknown"
        position += 8 + length + length % 2
    return "known"


def _gif(file: BinaryIO, size: int) -> End:
    """GIF: blocks up to a trailer."""
    flags = _at(file, 10, 1)
    file.seek(13)

    def skip_colors(flags: int) -> None:
        if flags & 0x80:
            file.seek(3 << (flags & 7) + 1, os.SEEK_CUR)

    def skip_blocks() -> None:
        while (length := file.read(1)) and length[0]:
            file.seek(length[0], os.SEEK_CUR)

    if flags:
        skip_colors(flags[0])
    while kind := file.read(1):
        if kind == b";":
            return "known"
        if kind == b",":
            description = file.read(9)
            if len(description) == 9:
                skip_colors(description[8])
            file.seek(1, os.SEEK_CUR)
        elif kind == b"!":
            file.seek(1, os.SEEK_CUR)
        elif kind != b"\0":
            return "unknown"  # damaged, which the decoder tells
        if kind != b"\0":
            skip_blocks()
    raise CutOffError("the end mark is missing")


def _flv(file: BinaryIO, size: int) -> End:
    """Flash video: tags, and mostly a file size in the first of them."""
    position = int.from_bytes(_at(file, 5, 4), "big") + 4
    announced = 0.0
    found = re.search(rb"\0\x08filesize\0(.{8})", _at(file, 0, 1 << 16), re.DOTALL)
    if found:
        announced = unpack(">d", found[1])[0]
    while position + 15 <= size:
        header = _at(file, position, 4)
        if header[0] & 0x1F not in (8, 9, 18):
            return "unknown"
        position += 15 + int.from_bytes(header[1:], "big")
    if size < announced < 1 << 50:
        raise CutOffError(f"the last {announced - size:.0f} bytes are missing")
    require(position, size, "tags", tolerance=4)  # the size of the tag before is often left out
    return "known" if announced == size else "unknown"


def _transport_stream(file: BinaryIO, size: int) -> End:
    """MPEG-TS: packets of one length without an end; their counters tell of losses between them."""
    start = _at(file, 0, 1024)
    length = next(n for n in (188, 192, 204) if _has_sync(start, n))
    if remainder := size % length:
        last = _at(file, size - remainder, 5)
        if last[4 if length == 192 else 0 :][:1] in (b"G", b""):
            raise CutOffError(f"{length - remainder} bytes of the last packet are missing")
    return "unknown"


def _has_sync(start: bytes, length: int) -> bool:
    marks = start[4 if length == 192 else 0 :: length]
    return len(marks) > 2 and marks.strip(b"G") == b""


def _program_stream(file: BinaryIO, size: int) -> End:
    """MPEG-PS: packets that give their sizes, and sometimes an end code."""
    position = 0
    while position + 4 <= size:
        header = _at(file, position, 14)
        code = header[3]
        if not header.startswith(b"\0\0\1"):
            return "unknown"
        if code == 0xB9:
            return "known"
        if code == 0xBA:
            mpeg2 = len(header) > 4 and header[4] >> 6 == 1
            position += 14 + (header[13] & 7 if len(header) == 14 else 0) if mpeg2 else 12
        else:
            position += 6 + int.from_bytes(header[4:6], "big")
    require(position, size, "packets")
    return "unknown"


_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")


def _asf(file: BinaryIO, size: int) -> End:
    """ASF and WMV: objects that give their sizes; a stream that was recorded has none."""
    position = 0
    while position + 24 <= size:
        name, length = unpack("<16sQ", _at(file, position, 24))
        if length < 24:
            return "unchecked"
        position += length
        require(position, size, "data" if name == _ASF_DATA else "header")
    return "known" if position == size else "unknown"


_MXF_KEY, _MXF_LAST = b"\x06\x0e\x2b\x34", bytes.fromhex("060e2b34020501010d01020101110100")


def _mxf(file: BinaryIO, size: int) -> End:
    """MXF: keys with sizes, and mostly a list of its partitions at the end."""
    position, key = 0, b""
    while position < size:
        header = _at(file, position, 25)
        if not header.startswith(_MXF_KEY[: len(header)]):
            return "unknown"
        key, digits = header[:16], header[16:]
        if digits[:1] >= b"\x80":
            digits = digits[: 1 + digits[0] - 0x80]
            length = int.from_bytes(digits[1:], "big")
        else:
            digits = digits[:1]
            length = int.from_bytes(digits, "big")
        if not digits:
            raise CutOffError("the last key has no size")
        position += 16 + len(digits) + length
        require(position, size, "parts")
    return "known" if key == _MXF_LAST else "unknown"


def _yuv4mpeg(file: BinaryIO, size: int) -> End:
    """YUV4MPEG2: frames of one size, without an end."""
    frames = re.finditer(rb"FRAME[ -~]*\n", _at(file, 0, 1 << 25))
    first, second = next(frames, None), next(frames, None)
    if first and second and (over := (size - first.start()) % (second.start() - first.start())):
        raise CutOffError(f"its last frame has {over} bytes only")
    return "unknown"


_FORMATS: tuple[tuple[Callable[[bytes], bool], Callable[[BinaryIO, int], End]], ...] = (
    (lambda s: s[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp"), _mp4),
    (lambda s: s.startswith(b"\x1a\x45\xdf\xa3"), _matroska),
    (lambda s: s.startswith(b"RIFF") and s[8:12] == b"AVI ", _avi),
    (lambda s: s.startswith(b"GIF8"), _gif),
    (lambda s: s.startswith(b"OggS"), ogg_end),
    (lambda s: s.startswith(b"FLV"), _flv),
    (lambda s: s.startswith(_MXF_KEY), _mxf),
    (lambda s: s.startswith(b"YUV4MPEG2 "), _yuv4mpeg),
    (lambda s: s.startswith(bytes.fromhex("3026b2758e66cf11")), _asf),
    (lambda s: s.startswith(b"\0\0\1\xba"), _program_stream),
    (lambda s: any(_has_sync(s, length) for length in (188, 192, 204)), _transport_stream),
)
