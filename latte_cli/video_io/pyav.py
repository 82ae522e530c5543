"""Frames by PyAV: containers that open, and upright RGB frames with the very values of ffmpeg."""

# Axes: h height, w width, 3 color channels (RGB).

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.filter import Graph
from av.stream import Disposition
from numpy.typing import NDArray

from latte_cli.runtime.errors import VideoError

Frame = NDArray[np.uint8]
"""One frame, or several: (h, w, 3) or (f, h, w, 3) RGB."""


def check_file(path: Path) -> None:
    """Raise VideoError for a file that is missing or empty."""
    if path.is_symlink() and not path.exists():
        raise VideoError(f"{path}: a broken link", hint="was its target moved?")
    if not path.is_file():
        raise VideoError(f"{path}: no such file", hint="was it moved since it was prepared?")
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
    """The first video stream; the cover picture of an audio file does not count.

    Raises:
        VideoError: if there is none, or no decoder for it.
    """
    for stream in container.streams.video:
        if stream.disposition & Disposition.attached_pic:
            continue
        if stream.codec_context is None:
            raise VideoError("its video needs a decoder that is not available", hint="re-encode it")
        return stream
    raise VideoError("holds no video stream", hint="is it an audio file?")


def cannot_decode(path: Path, error: Exception) -> VideoError:
    """A decoder's error as a VideoError."""
    reason = getattr(error, "strerror", None) or type(error).__name__
    return VideoError(
        f"{path}: cannot be decoded ({reason.lower()})",
        hint="play it to its end in a video player, or leave it out",
    )


def av_decoded(path: Path) -> Iterator[Any]:
    """PyAV's frames, not yet converted to RGB.

    Raises:
        VideoError: if the file cannot be decoded.
    """
    try:
        with open_container(path) as container:
            stream = video_stream(container)
            # Videos are read in parallel: several threads for each would cost more in total, and
            # decode further ahead than needed.
            stream.codec_context.thread_count = 1
            yield from container.decode(stream)
    except av.FFmpegError as error:
        raise cannot_decode(path, error) from error


def count_frames(path: Path) -> int:
    """Number of frames that PyAV decodes."""
    return sum(1 for _ in av_decoded(path))


def turns_of(frame: Any) -> int:
    """Counter-clockwise quarter turns that put a frame of PyAV upright."""
    return round(int(frame.rotation) / 90)


class ToRgb:
    """Converts PyAV's frames to upright RGB; frames of one format share one filter graph.

    PyAV's own converter takes the colors of interlaced, 10-bit and odd-sized video from the wrong
    positions; ffmpeg's filter graph does not.
    """

    def __init__(self) -> None:
        self._format: tuple[object, ...] = ()
        self._graph: Any = None

    def __call__(self, frame: Any) -> Frame:
        """One frame, turned upright: (h, w, 3) uint8."""
        size = (frame.width, frame.height)
        frame_format = (size, frame.format.name, frame.colorspace, frame.color_range)
        if frame_format != self._format:
            self._graph, self._format = _rgb_graph(frame), frame_format
        self._graph.vpush(frame)
        picture: Frame = self._graph.vpull().to_ndarray()
        turns = turns_of(frame)
        return np.rot90(picture, k=turns) if turns else picture


def _rgb_graph(frame: Any) -> Any:
    """A filter graph that converts frames of this one's format."""
    graph = Graph()
    if hasattr(graph, "threads"):  # on single small pictures more threads are slower
        graph.threads = 1
    source = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        time_base=frame.time_base or Fraction(1),
    )
    graph.link_nodes(source, graph.add("format", "rgb24"), graph.add("buffersink")).configure()
    return graph
