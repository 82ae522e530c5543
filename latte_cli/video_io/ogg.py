"""Ogg files: pages with numbers and checksums, and a mark on the last one of each stream."""

import zlib
from struct import unpack
from typing import BinaryIO

from latte_cli.video_io.missing_data import CutOffError, DamagedError, End, require

_MAX_32 = 0xFFFFFFFF
_VIDEO = (b"\x80theora", b"OVP80", b"\x01video", b"BBCD", b"\x80daala")
_FIRST_PAGE, _LAST_PAGE = 2, 4
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def ogg_end(file: BinaryIO, size: int) -> End:
    """Whether all pages of all streams of video are there.

    A recording of a stream that began before has a gap behind the first headers.

    Raises:
        CutOffError: if the file ends before the last page of a stream.
        DamagedError: at a page whose checksum does not fit, and behind a gap.
    """
    position, next_number, is_open = 0, dict[bytes, int](), set[bytes]()
    only_headers = set[bytes]()
    result: End = "known"
    while position < size:
        file.seek(position)
        header = file.read(27)
        if not header.startswith(b"OggS"[: len(header)]):
            if is_open:
                raise DamagedError(f"no page begins at byte {position}")
            return "unknown"  # something else behind the end
        sizes = file.read(header[26]) if len(header) == 27 else b""
        if len(header) < 27 or len(sizes) < header[26]:
            raise CutOffError("the last page has no end")
        end = position + 27 + len(sizes) + sum(sizes)
        require(end, size, "pages")
        flags, stream, (number, checksum) = header[5], header[14:18], unpack("<II", header[18:26])
        body = file.read(sum(sizes))
        if flags & _FIRST_PAGE and body.startswith(_VIDEO):
            is_open.add(stream)
            only_headers.add(stream)
            next_number[stream] = number
        if stream in is_open:
            if _checksum(header[:22] + bytes(4) + header[26:] + sizes + body) != checksum:
                raise DamagedError(f"the checksum of the page at byte {position} does not fit")
            if number != next_number[stream] and stream not in only_headers:
                raise DamagedError(f"pages before byte {position} are missing")
            if number != next_number[stream]:
                result = "unknown"
            next_number[stream] = number + 1 & _MAX_32
            if any(header[6:14]):  # the time of what ends in this page
                only_headers.discard(stream)
        if flags & _LAST_PAGE:
            is_open.discard(stream)
        position = end
    if is_open:
        raise CutOffError("the last page is missing")
    return result


def _checksum(page: bytes) -> int:
    """The CRC of a page: zlib's polynomial, with bits in the other order and no inversions."""
    reversed_crc = zlib.crc32(page.translate(_REVERSED), _MAX_32) ^ _MAX_32
    return int.from_bytes(reversed_crc.to_bytes(4, "little").translate(_REVERSED), "big")
