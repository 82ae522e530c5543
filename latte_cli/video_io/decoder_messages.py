"""Damage that the decoder's libraries only report, and go on: ffmpeg prints it in red.

A checksum that does not match, a macroblock that does not decode, an element that is longer than
the one around it: they return frames, made up where needed, and none of them is marked as corrupt.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

import av.logging

from latte_cli.runtime.errors import VideoError

_PADDING = "Packet mismatch 0 11 "  # an empty tag of zeros: they follow the end of a Flash video
_lock = Lock()
_listeners = 0


@contextmanager
def no_errors_reported(path: Path) -> Iterator[None]:
    """Raise VideoError at the end if the libraries have reported an error in this thread.

    Decoders that use threads of their own must use one only.

    Args:
        path: the file that is read meanwhile.
    """
    _listen(1)
    try:
        with av.logging.Capture(local=True) as messages:
            yield
    finally:
        _listen(-1)
    for _, reporter, message in messages:
        if message.startswith(_PADDING):
            continue
        raise VideoError(
            f"{path}: is damaged ({reporter}: {message.strip()})", hint="copy or download it again"
        )


def _listen(change: int) -> None:
    """Let the libraries report as long as anybody listens; by default they are silent."""
    global _listeners
    with _lock:
        _listeners += change
        av.logging.set_level(av.logging.ERROR if _listeners else None)
        av.logging.set_skip_repeated(not _listeners)  # repeats of the file before count, too
