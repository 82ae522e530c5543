"""Ogg files: pages with numbers, and a mark on the last one of each stream."""

from typing import BinaryIO

from latte_cli.video_io.missing_data import CutOffError, DamagedError, End, require

_MAX_32 = 0xFFFFFFFF
_VIDEO = (b"\x80theora", b"OVP80", b"\x01video", b"BBCD", b"\x80daala")
_FIRST_PAGE, _LAST_PAGE = 2, 4


def ogg_end(file: BinaryIO, size: int) -> End:
    """Whether all pages of all streams of video are there.

    A recording of a stream that began before has a gap behind the first headers.

    Raises:
        CutOffError: if the file ends before the last page of a stream.
        DamagedError: behind a gap. Pages whose checksum does not fit are reported by the decoder.
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
        flags, stream, number = header[5], header[14:18], int.from_bytes(header[18:22], "little")
        if flags & _FIRST_PAGE and file.read(8).startswith(_VIDEO):
            is_open.add(stream)
            only_headers.add(stream)
            next_number[stream] = number
        if stream in is_open:
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
