"""Frames from files: by decord where its frames are known to be right, by PyAV everywhere else.

A folder of frames counts as a video, too (`frame_folders`).
"""

# Axes: f frames, h height, w width, 3 color channels (RGB).

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np

from latte_cli.runtime.errors import VideoError
from latte_cli.video_io.animated_images import is_animated, is_pictures, iter_animated
from latte_cli.video_io.frame_folders import iter_frame_folder, read_frame_folder
from latte_cli.video_io.pyav import (
    Frame,
    Orientation,
    ToRgb,
    cannot_decode,
    check_file,
    decoded,
    open_container,
    orientation_of,
    pixel_aspect_of,
    video_stream,
)

try:
    import decord
except ImportError:  # it has wheels for Linux on x86-64 only
    decord = None
else:
    decord.logging.set_level(decord.logging.QUIET)

ALL_FRAMES = range(sys.maxsize)
_Item = TypeVar("_Item")

_DECORD_CODECS = ("h264", "hevc")
_DECORD_FORMATS = ("mov", "matroska")  # in MPEG-TS and ASF it loses the first frames
_DECORD_MIN_WIDTH = 16
_DECORD_ERROR = 12.0  # mean of a frame, gray levels; another frame is further away, colors are not


def iter_frames(
    path: str | Path, wanted: range = ALL_FRAMES, pixel_aspect: float | None = None
) -> Iterator[Frame]:
    """Decode the video stream from its first frame, or read a folder of frames in order.

    Args:
        path: the file, or a folder of frames.
        wanted: numbers of the frames to yield, ascending. Frames between them are decoded but not
            converted; decoding stops after the last one.
        pixel_aspect: width of a pixel over its height, by which frames are stretched; None: what
            the file says.

    Yields:
        (h, w, 3) uint8 RGB, turned upright; fewer than wanted if the video ends early.

    Raises:
        VideoError: if the file cannot be read on.
    """
    path = Path(path)
    if is_pictures(path):
        yield from iter_frame_folder(path, wanted)
        return
    check_file(path)
    if is_animated(path):
        yield from iter_animated(path, wanted)
        return
    done = 0
    if decord is not None and (probe := _suits_decord(path, pixel_aspect)):
        try:
            for frame in numbered(_decord_frames(path, probe), wanted):
                yield frame
                done += 1
            return
        except (decord.DECORDError, _NotSureError):
            pass
    # PyAV takes over where decord failed: both decode the same frames in the same order.
    yield from av_frames(path, wanted[done:], pixel_aspect)


def read_video(path: str | Path, frames: Sequence[int] | None = None) -> Frame:
    """Read a video, or some of its frames, decoding no further than the last one needed.

    Args:
        path: the file, or a folder of frames.
        frames: indices in decoded order, in any order, repeats allowed; None for all.

    Returns:
        (f, h, w, 3) uint8 RGB, one frame for each index.

    Raises:
        VideoError: if the file cannot be decoded that far, or holds no frames.
    """
    if frames is None:
        decoded = list(iter_frames(path))
        if not decoded:
            raise VideoError(
                f"{path}: holds no frames", hint="leave it out: it may be an audio file"
            )
        return np.stack(decoded)
    wanted = set(frames)
    if not wanted or min(wanted) < 0:
        raise VideoError(
            f"{path}: cannot read frames {list(frames)}", hint="give indices, from 0 on"
        )
    if is_pictures(Path(path)):
        return read_frame_folder(Path(path), frames)
    last = max(wanted)
    decoded_frames = enumerate(itertools.islice(iter_frames(path), last + 1))
    found = {number: frame for number, frame in decoded_frames if number in wanted}
    if last not in found:
        raise VideoError(
            f"{path}: has no frame {last}, the video is shorter",
            hint="run `latte prepare` again",
        )
    return np.stack([found[number] for number in frames])


def numbered(items: Iterable[_Item], wanted: range) -> Iterator[_Item]:
    """The items of some ascending numbers, counted from 0; none is read after the last of them."""
    return itertools.islice(items, wanted.start, wanted[-1] + 1 if wanted else 0, wanted.step)


def av_frames(
    path: Path, wanted: range = ALL_FRAMES, pixel_aspect: float | None = None
) -> Iterator[Frame]:
    """PyAV's frames of some numbers, all by default; see `iter_frames`."""
    try:
        with open_container(path) as container:
            stream = video_stream(container)
            aspect = pixel_aspect_of(stream) if pixel_aspect is None else pixel_aspect
            yield from map(ToRgb(aspect), numbered(decoded(container, stream), wanted))
    except av.FFmpegError as error:
        raise cannot_decode(path, error) from error


class _NotSureError(Exception):
    """decord's next frames are not known to be right."""


@dataclass(frozen=True)
class _Probe:
    """What PyAV finds in a file that decord may read: its first frame and its packets."""

    first: Frame
    packets: int


def _suits_decord(path: Path, pixel_aspect: float | None) -> _Probe | None:
    """Whether decord reads this kind of file as ffmpeg does, and no slower; None if not.

    It reads the largest of several streams, not the first, gets 10-bit colors and very small
    pictures wrong, and does not mirror frames or stretch them. It invents frames of MPEG-4 in AVI,
    and takes twice PyAV's time for that and for VP8. It counts packets that an edit list hides, and
    loses frames between fragments of MP4.
    """
    try:
        with open_container(path) as container:
            stream = video_stream(container)
            codec = stream.codec_context
            aspect = pixel_aspect_of(stream) if pixel_aspect is None else pixel_aspect
            if (
                container.format.name.split(",")[0] in _DECORD_FORMATS
                and codec.name in _DECORD_CODECS
                and codec.width >= _DECORD_MIN_WIDTH
                and codec.pix_fmt in ("yuv420p", "yuvj420p")
                and len(container.streams.video) == 1
                and aspect == 1
            ):
                return _probe(container, stream)
            return None
    except av.FFmpegError as error:
        raise cannot_decode(path, error) from error


def _probe(container: Any, stream: Any) -> _Probe | None:
    """Decode the first frame and look at every packet; None if one is hidden or damaged."""
    first = None
    packets = 0
    for packet in container.demux(stream):
        if packet.is_discard or packet.is_corrupt:
            return None
        packets += bool(packet.size)
        if first is None:
            first = next(iter(packet.decode()), None)
    if first is None:
        return None
    orientation = orientation_of(first)
    if container.format.name.startswith("mov"):
        if orientation.mirrored or packets != stream.frames:  # fragments are not counted there
            return None
    elif orientation != Orientation():
        return None
    return _Probe(ToRgb()(first), packets)


def _decord_frames(path: Path, probe: _Probe) -> Iterator[Frame]:
    """All frames by decord, as long as they are known to be right.

    It repeats a frame for each one that it could not decode, mostly the last one at the end. So
    repeats are held back until another frame follows.

    Raises:
        _NotSureError: at the first frame if it is not PyAV's, and at the end if frames repeat.
    """
    reader = decord.VideoReader(str(path.absolute()), num_threads=1)
    if len(reader) != probe.packets:
        raise _NotSureError
    last: Frame | None = None
    repeats = 0
    for _ in range(len(reader)):
        try:
            frame = reader.next().asnumpy()
        except StopIteration as error:
            raise _NotSureError from error
        if last is None and not _are_alike(frame, probe.first):
            raise _NotSureError
        if last is not None and _are_equal(frame, last):
            repeats += 1
            continue
        if last is not None:
            yield from itertools.repeat(last, repeats)
        yield frame
        repeats, last = 0, frame
    if repeats:
        raise _NotSureError


def _are_equal(frame: Frame, other: Frame) -> bool:
    """Whether two frames are equal; most are not, which a few pixels show at once."""
    return np.array_equal(frame[::16, ::16], other[::16, ::16]) and np.array_equal(frame, other)


def _are_alike(frame: Frame, other: Frame) -> bool:
    """Whether two decoders' frames differ by no more than their conversion of colors."""
    if frame.shape != other.shape:
        return False
    return float(np.abs(frame.astype(np.int16) - other).mean()) < _DECORD_ERROR
