"""Animated WebP and PNG files as videos, by Pillow: the decoder of videos reads no animated WebP.

A picture in one of these formats that does not move is a frame, not a video.
"""

# Axes: h height, w width, 3 color channels (RGB).

import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latte_cli.runtime.errors import VideoError
from latte_cli.video_io.frame_folders import is_frame_name, on_white

ANIMATED_SUFFIXES = frozenset([".apng", ".png", ".webp"])
"""Of files that may be animated or not."""

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PICTURES = (_PNG_START, b"\xff\xd8", b"BM")
"""How the formats of pictures begin, WebP left out: other files, as GIF, may have their names."""
_WEBP_ANIMATED = 0x02
_WEBP_CHUNKS = (b"VP8X", b"ICCP", b"ANIM", b"ANMF", b"EXIF", b"XMP ")  # of an animation
_HINT = "copy or download it again, or leave it out"


def is_pictures(path: Path) -> bool:
    """Whether a video is a folder of frames, or a single picture: a video of one frame."""
    if path.is_dir() or not is_frame_name(path.name) or is_animated(path):
        return path.is_dir()
    try:
        with path.open("rb") as file:
            start = file.read(12)
    except OSError:  # reported when it is read
        return False
    return start.startswith(_PICTURES) or (start[:4] == b"RIFF" and start[8:] == b"WEBP")


def is_animated(path: str | Path) -> bool:
    """Whether a file is a WebP or PNG of several frames, by its first bytes.

    Files of other suffixes are not opened.
    """
    if os.path.splitext(path)[1].lower() not in ANIMATED_SUFFIXES:
        return False
    try:
        with open(path, "rb") as file:
            start = file.read(21)
            if start[:4] == b"RIFF" and start[8:16] == b"WEBPVP8X":
                return bool(start[-1] & _WEBP_ANIMATED)
            return start.startswith(_PNG_START) and _frames_of_png(file) > 1
    except OSError:  # reported when it is read
        return False


def is_moving(path: str | Path) -> bool:
    """Whether a file with the suffix of a picture is a video: an animation, or a GIF."""
    if is_animated(path):
        return True
    if os.path.splitext(path)[1].lower() not in ANIMATED_SUFFIXES:
        return False
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"GIF8"
    except OSError:  # reported when it is read
        return False


def iter_animated(path: Path, wanted: range | None = None) -> Iterator[NDArray[np.uint8]]:
    """Read the frames of an animated picture in order; see `iter_frame_folder`."""
    frames = (frame for frame, _ in _frames(path))
    if wanted is None:
        yield from frames
    elif wanted:
        yield from islice(frames, wanted.start, wanted[-1] + 1, wanted.step)


def inspect_animated(
    path: Path, on_progress: Callable[[], None] = lambda: None
) -> tuple[int, int, int, list[float]]:
    """Decode an animated picture to its end.

    Returns:
        Number of frames, height, width, and how long each frame is shown, seconds.

    Raises:
        VideoError: if it is cut off or damaged.
    """
    _check_checksums(path)
    height = width = 0
    seconds = []
    for frame, duration_s in _frames(path):
        height, width, _ = frame.shape
        seconds.append(duration_s)
        on_progress()
    if (announced := _frames_of_webp(path)) not in (None, len(seconds)):
        raise VideoError(
            f"{path}: is damaged ({len(seconds)} of its {announced} frames are pictures)",
            hint=_HINT,
        )
    return len(seconds), height, width, seconds


def _frames(path: Path) -> Iterator[tuple[NDArray[np.uint8], float]]:
    """Every frame as (h, w, 3) RGB on white, and how long it is shown, seconds."""
    try:
        _check_end(path)
        with Image.open(path) as picture:
            # A PNG may begin with a picture for programs that show no animation.
            first = int(bool(getattr(picture, "default_image", False)))
            for number in range(first, getattr(picture, "n_frames", 1)):
                picture.seek(number)
                frame = np.asarray(on_white(picture))
                yield frame, float(picture.info.get("duration") or 0) / 1000
    except (VideoError, MemoryError, GeneratorExit):
        raise
    except Exception as error:  # Pillow raises many kinds of errors on damaged files
        raise VideoError(f"{path}: is damaged, or no animation ({error})", hint=_HINT) from error


def _check_end(path: Path) -> None:
    """Raise VideoError if the file ends before its format says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(4) == b"RIFF":
            (length,) = struct.unpack("<I", file.read(4))
            is_whole = size >= 8 + length
            if odd := _chunk_between_frames(file, size):
                raise VideoError(f"{path}: is damaged (a chunk {odd!r} between frames)", hint=_HINT)
        else:
            file.seek(max(0, size - 4096))
            is_whole = re.search(rb"IEND.{4}", file.read(), re.DOTALL) is not None
    if not is_whole:
        raise VideoError(f"{path}: is cut off (its end is missing)", hint=_HINT)


def _check_checksums(path: Path) -> None:
    """Raise VideoError if a chunk of a PNG is not what it was: Pillow shows what it can of it."""
    with path.open("rb") as file:
        if file.read(len(_PNG_START)) != _PNG_START:
            return
        while len(header := file.read(8)) == 8:
            (length,) = struct.unpack(">I", header[:4])
            content, checksum = file.read(length), file.read(4)
            if len(checksum) == 4 and zlib.crc32(header[4:] + content) != int.from_bytes(
                checksum, "big"
            ):
                name = header[4:].decode("latin-1")
                raise VideoError(f"{path}: is damaged (the checksum of its {name})", hint=_HINT)
            if header[4:] == b"IEND":
                return


def _chunk_between_frames(file: BinaryIO, size: int) -> bytes:
    """The name of a chunk of WebP that is unknown and lies before a frame; empty if there is none.

    Readers skip such chunks. Nobody writes one there: it is a frame whose name is damaged.
    """
    unknown = b""
    for name in _chunks_of_webp(file, size):
        if name == b"ANMF" and unknown:
            return unknown
        if name not in _WEBP_CHUNKS:
            unknown = name
    return b""


def _frames_of_webp(path: Path) -> int | None:
    """The number of frames in a WebP, also of those that readers pass over; None for a PNG."""
    with path.open("rb") as file:
        if file.read(4) != b"RIFF":
            return None
        return sum(name == b"ANMF" for name in _chunks_of_webp(file, path.stat().st_size))


def _chunks_of_webp(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The names of the chunks of a WebP, in order."""
    position = 12
    while position + 8 <= size:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        yield name
        position += 8 + length + length % 2


def _frames_of_png(file: BinaryIO) -> int:
    """The number of frames that a PNG announces before its first picture; 1 without animation."""
    file.seek(len(_PNG_START))
    while len(header := file.read(8)) == 8:
        (length,) = struct.unpack(">I", header[:4])
        kind = header[4:]
        if kind == b"acTL":
            return int.from_bytes(file.read(4), "big")
        if kind in (b"IDAT", b"IEND"):
            return 1
        file.seek(length + 4, os.SEEK_CUR)
    return 1
