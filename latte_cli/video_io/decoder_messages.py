"""Damage that the decoder's libraries only report, and go on: ffmpeg prints it in red.

A checksum that does not match, a macroblock that does not decode, an element that is longer than
the one around it: they return frames, made up where needed, and none of them is marked as corrupt.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import av.logging

from latte_cli.runtime.errors import VideoError

_PADDING = "Packet mismatch 0 11 "  # an empty tag of zeros: they follow the end of a Flash video
_LOST = "Packet corrupt (stream = {},"  # only a warning; some of these packets never arrive
_REFERENCES = re.compile(
    "mmco: unref short failure|co located POCs unavailable|Missing reference picture|"
    "reference picture missing|number of reference frames"
)
_NAL_START, _IDR = re.compile(rb"\x00\x00\x01(.)", re.DOTALL), 5

_lock = Lock()
_listeners = 0


class Reports:
    """What the libraries report of a file.

    Attributes:
        messages: level, library and text of each.
    """

    def __init__(self) -> None:
        self.messages: list[tuple[int, str, str]] = []
        self._lacks_references = False
        self._lost = _LOST.format("")

    def begin(self, packet: Any) -> None:
        """Look at the first packet of a video.

        An H.264 video that was cut without encoding may begin at any picture that is complete in
        itself. Unlike an IDR picture it does not make later ones forget those before it: that these
        references are missing is reported, and no damage.
        """
        self._lost = _LOST.format(packet.stream.index)  # the sound may be damaged
        if packet.stream.codec_context.name == "h264":
            self._lacks_references = _IDR not in _nal_types(packet)

    def error(self) -> str:
        """The first message that shows damage; empty if there is none."""
        for level, reporter, message in self.messages:
            if level > av.logging.ERROR and not message.startswith(self._lost):
                continue
            excused = self._lacks_references and _REFERENCES.match(message)
            if not excused and not message.startswith(_PADDING):
                return f"{reporter}: {message.strip()}"
        return ""


def _nal_types(packet: Any) -> set[int]:
    """The types of the NAL units in an H.264 packet, of either format."""
    content, extradata = bytes(packet), packet.stream.codec_context.extradata or b""
    if not extradata.startswith(b"\1") or len(extradata) < 5:
        return {start[0] & 31 for start in _NAL_START.findall(content)}
    width, position, types = (extradata[4] & 3) + 1, 0, set()
    while position + width < len(content):
        length = int.from_bytes(content[position : position + width], "big")
        types.add(content[position + width] & 31)
        position += width + length
    return types


@contextmanager
def no_errors_reported(path: Path) -> Iterator[Reports]:
    """Raise VideoError at the end if the libraries have reported an error in this thread.

    Decoders that use threads of their own must use one only.

    Args:
        path: the file that is read meanwhile.
    """
    reports = Reports()
    _listen(1)
    try:
        with av.logging.Capture(local=True) as reports.messages:
            yield reports
    finally:
        _listen(-1)
    if error := reports.error():
        raise VideoError(f"{path}: is damaged ({error})", hint="copy or download it again")


def _listen(change: int) -> None:
    """Let the libraries report as long as anybody listens; by default they are silent."""
    global _listeners
    with _lock:
        _listeners += change
        av.logging.set_level(av.logging.WARNING if _listeners else None)
        av.logging.set_skip_repeated(not _listeners)  # repeats of the file before count, too
