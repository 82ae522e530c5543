"""Frames by PyAV: containers that open, and upright RGB frames with the very values of ffmpeg.

Upright means: turned and mirrored as the file's display matrix says. Pixels that are not square are
stretched to squares, as players do.
"""

# Axes: h height, w width, 3 color channels (RGB).

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import Type as SideDataType
from av.stream import Disposition
from numpy.typing import NDArray

from latte_cli.runtime.errors import VideoError

Frame = NDArray[np.uint8]
"""One frame, or several: (h, w, 3) or (f, h, w, 3) RGB."""

_PICTURE_CODECS = frozenset(["bmp", "gif", "jpeg2000", "mjpeg", "png", "tiff", "webp"])
_SQUARE = 0.01  # a pixel this close to a square is one: headers round the ratio
_MAX_ASPECT = 8.0  # no camera has such pixels: the header is wrong


def check_file(path: Path) -> None:
    """Raise VideoError for a file that is missing or empty."""
    if path.is_symlink() and not path.exists():
        raise VideoError(f"{path}: a broken link", hint="put its target back, or remove the link")
    if not path.is_file():
        raise VideoError(f"{path}: no such file", hint="put it back, or run `latte prepare` again")
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: the file is empty", hint="copy or download it again")


def open_container(path: Path) -> Any:
    """Open a container that has a video stream.

    The path is made absolute, since a name may begin with a dash. Only local files are opened: a
    playlist named mp4 must not wait for a network.

    Raises:
        VideoError: if it has no video stream.
    """
    container = av.open(
        str(path.absolute()), metadata_errors="replace", options={"protocol_whitelist": "file"}
    )
    try:
        video_stream(container)
    except VideoError as error:
        container.close()
        raise VideoError(f"{path}: {error}", hint=error.hint) from None
    return container


def video_stream(container: Any) -> Any:
    """The first video stream that is a video.

    The cover of an audio file is none, nor is a thumbnail: a single picture before another stream,
    which cameras and editors do not always mark as such.

    Raises:
        VideoError: if there is none, or no decoder for it.
    """
    streams = [
        each for each in container.streams.video if not each.disposition & Disposition.attached_pic
    ]
    if not streams:
        raise VideoError("holds no video stream", hint="leave it out: it may be an audio file")
    moving = (each for each in streams if len(streams) == 1 or not _is_thumbnail(each))
    stream = next(moving, streams[0])
    if stream.codec_context is None:
        raise VideoError(
            "its video needs a decoder that is not available",
            hint="re-encode it, for example as H.264 in mp4",
        )
    return stream


def _is_thumbnail(stream: Any) -> bool:
    """Whether a stream is a single picture."""
    if stream.codec_context is None or stream.codec_context.name not in _PICTURE_CODECS:
        return False
    container = stream.container
    if stream.frames and container.format.name != "avi":  # which counts empty packets
        return bool(stream.frames == 1)
    packets = sum(1 for _, packet in zip(range(2), _packets(container, stream), strict=False))
    container.seek(0)
    return packets < 2


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    return (packet for packet in container.demux(stream) if packet.size)


def cannot_decode(path: Path, error: Exception) -> VideoError:
    """A decoder's error as a VideoError."""
    reason = getattr(error, "strerror", None) or type(error).__name__
    return VideoError(
        f"{path}: cannot be decoded ({reason.lower()})",
        hint="play it to its end in a video player, or leave it out",
    )


@dataclass(frozen=True)
class Orientation:
    """How a stored frame is put upright: first transposed, then mirrored.

    Attributes:
        transposed: rows become columns.
        left_right: mirrored from left to right.
        top_bottom: mirrored from top to bottom.
    """

    transposed: bool = False
    left_right: bool = False
    top_bottom: bool = False

    @property
    def mirrored(self) -> bool:
        """Whether writing is seen mirrored in the stored frame."""
        return self.transposed ^ self.left_right ^ self.top_bottom

    @property
    def rotation(self) -> int:
        """Degrees by which frames are turned clockwise; after mirroring left to right, if so."""
        if self.transposed:
            return 90 if self.left_right else 270
        return 180 if self.top_bottom else 0

    def apply(self, picture: Frame) -> Frame:
        """A stored frame, (h, w, 3), put upright."""
        if self.transposed:
            picture = picture.swapaxes(0, 1)
        if self.left_right:
            picture = picture[:, ::-1]
        return picture[::-1] if self.top_bottom else picture


def orientation_of(frame: Any) -> Orientation:
    """The nearest of the eight orientations to a frame's display matrix.

    The matrix ((a, b), (c, d)) moves the pixel at column x and row y to column ax + cy and row
    bx + dy.
    """
    side_data = frame.side_data.get(SideDataType.DISPLAYMATRIX)
    if side_data is None:
        return Orientation()
    a, b, _, c, d = struct.unpack("=5i", bytes(side_data)[:20])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)


def pixel_aspect_of(stream: Any) -> float:
    """Width of a pixel over its height, as the file gives it; 1 if it is square or nonsense."""
    aspect = round(float(stream.sample_aspect_ratio or 1), 6)
    if not 1 / _MAX_ASPECT <= aspect <= _MAX_ASPECT or abs(aspect - 1) < _SQUARE:
        return 1.0
    return aspect


def stretched_size(width: int, height: int, pixel_aspect: float) -> tuple[int, int]:
    """Width and height of a frame with square pixels; the smaller one grows, as in players."""
    if pixel_aspect > 1:
        return round(width * pixel_aspect), height
    return width, round(height / pixel_aspect)


def decoded(container: Any, stream: Any) -> Iterator[Any]:
    """The frames of a stream of an open container."""
    # Videos are read in parallel: several threads for each would cost more in total, and decode
    # further ahead than needed.
    stream.codec_context.thread_count = 1
    yield from container.decode(stream)


class ToRgb:
    """Converts PyAV's frames to upright RGB; frames of one format share one filter graph.

    PyAV's own converter takes the colors of interlaced, 10-bit and odd-sized video from the wrong
    positions; ffmpeg's filter graph does not.

    Args:
        pixel_aspect: width of a pixel over its height; frames are stretched by it.
    """

    def __init__(self, pixel_aspect: float = 1.0) -> None:
        self._pixel_aspect = pixel_aspect
        self._format: tuple[object, ...] = ()
        self._graph: Any = None

    def __call__(self, frame: Any) -> Frame:
        """One frame, turned upright: (h, w, 3) uint8."""
        size = (frame.width, frame.height)
        frame_format = (size, frame.format.name, frame.colorspace, frame.color_range)
        if frame_format != self._format:
            shown = stretched_size(*size, self._pixel_aspect)
            self._graph, self._format = _rgb_graph(frame, shown), frame_format
        self._graph.vpush(frame)
        return orientation_of(frame).apply(self._graph.vpull().to_ndarray())


def _rgb_graph(frame: Any, size: tuple[int, int]) -> Any:
    """A filter graph that converts frames of this one's format, at a width and height."""
    graph = Graph()
    if hasattr(graph, "threads"):  # on single small pictures more threads are slower
        graph.threads = 1
    source = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        time_base=frame.time_base or Fraction(1),
    )
    filters = [graph.add("format", "rgb24"), graph.add("buffersink")]
    if size != (frame.width, frame.height):
        filters.insert(0, graph.add("scale", f"{size[0]}:{size[1]}"))
    graph.link_nodes(source, *filters).configure()
    return graph
