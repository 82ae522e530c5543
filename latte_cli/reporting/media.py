"""Clips and pictures for a page: embedded as data URIs up to a limit, else links to their files."""

import base64
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from latte_cli.runtime.errors import LatteError
from latte_cli.video_io import Frame, iter_frames
from latte_cli.video_io.reading import av_frames

_POSTER_QUALITY = 60
_FRAME_MS = 150  # of a moving picture
_MEDIA_TYPES = {
    **{".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".mov": "video/mp4"},
    **{".gif": "image/gif", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"},
    **{".webp": "image/webp"},
}
"""What browsers show; other files need a poster."""


@dataclass(frozen=True)
class Budget:
    """How many bytes of clips are embedded."""

    most_bytes: int

    def chosen(self, paths: Sequence[Path]) -> frozenset[Path]:
        """The files to embed: the last one, the first, and others spread evenly between them.

        Args:
            paths: in order; files that do not exist are left out.
        """
        sizes = {path: size for path in paths if (size := _size_of(path)) is not None}
        left, found = self.most_bytes, set()
        for path in _spread(list(sizes)):
            if sizes[path] <= left:
                found.add(path)
                left -= sizes[path]
        return frozenset(found)


def _spread(paths: Sequence[Path]) -> list[Path]:
    """The last, the first, then the middle of every gap, the widest gaps first."""
    order = list(dict.fromkeys([len(paths) - 1, 0])) if paths else []
    gaps = [(0, len(paths) - 1)]
    for low, high in gaps:  # grows: a gap is followed by its halves
        if high - low > 1:
            middle = (low + high) // 2
            order.append(middle)
            gaps += [(low, middle), (middle, high)]
    return [paths[number] for number in order]


def is_playable(path: Path) -> bool:
    """Whether browsers show a file of this name."""
    return path.suffix.lower() in _MEDIA_TYPES


def data_uri(content: bytes, media_type: str) -> str:
    """Content as a URI of its own."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def embedded(path: Path) -> str | None:
    """A file as a data URI; None if it cannot be read."""
    with suppress(OSError):
        return data_uri(path.read_bytes(), _MEDIA_TYPES[path.suffix.lower()])
    return None


def link_to(path: Path, page: Path) -> str:
    """The address of a file as seen from a page: relative, so that both can be moved together."""
    try:
        relative = Path(os.path.relpath(path, page.parent)).as_posix()
    except ValueError:  # Windows: on another drive
        return path.resolve().as_uri()
    return quote(os.fsencode(relative))


def poster(path: Path, width: int) -> str | None:
    """The first frame of a video as a small JPEG, a data URI; None if it cannot be decoded.

    Args:
        path: of a video, or a folder of frames.
        width: pixels at most.
    """
    try:
        # PyAV opens a file faster than decord does, and all of our own are mp4.
        read = av_frames if path.suffix.lower() == ".mp4" else iter_frames
        frame = next(read(path, range(1)))
    except (LatteError, OSError, StopIteration):
        return None
    content = BytesIO()
    _at_most(Image.fromarray(frame), width).save(content, "JPEG", quality=_POSTER_QUALITY)
    return data_uri(content.getvalue(), "image/jpeg")


def animation(frames: Frame, width: int) -> str | None:
    """A clip as a small animated WebP, a data URI; None of no frames.

    Args:
        frames: (f, h, w, 3) uint8 RGB.
        width: pixels at most.
    """
    pictures = [_at_most(Image.fromarray(frame), width) for frame in frames]
    if not pictures:
        return None
    content = BytesIO()
    pictures[0].save(
        content,
        "WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=_FRAME_MS,
        loop=0,
        quality=_POSTER_QUALITY,
        method=2,  # fast
    )
    return data_uri(content.getvalue(), "image/webp")


def _at_most(picture: Image.Image, width: int) -> Image.Image:
    """A picture that is at most so wide."""
    if picture.width <= width:
        return picture
    size = (width, max(1, picture.height * width // picture.width))
    return picture.resize(size, reducing_gap=2.0)  # fast


def _size_of(path: Path) -> int | None:
    with suppress(OSError):
        return path.stat().st_size
    return None
