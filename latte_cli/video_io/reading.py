"""Frames from files: decord first, PyAV for what decord cannot read and where it is not available.

A folder of frames counts as a video, too (`frame_folders`).
"""

# Axes: f frames, h height, w width, 3 color channels (RGB).

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import av
import numpy as np

from latte_cli.runtime.errors import VideoError
from latte_cli.video_io.frame_folders import iter_frame_folder, read_frame_folder
from latte_cli.video_io.pyav import (
    Frame,
    ToRgb,
    av_decoded,
    cannot_decode,
    check_file,
    count_frames,
    open_container,
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
_DECORD_MIN_WIDTH = 16


def iter_frames(path: str | Path, wanted: range = ALL_FRAMES) -> Iterator[Frame]:
    """Decode the first video stream from its first frame, or read a folder of frames in order.

    Args:
        path: the file, or a folder of frames.
        wanted: numbers of the frames to yield, ascending. Frames between them are decoded but not
            converted; decoding stops after the last one.

    Yields:
        (h, w, 3) uint8 RGB, turned upright; fewer than wanted if the video ends early.

    Raises:
        VideoError: where neither decoder can read on.
    """
    path = Path(path)
    if path.is_dir():
        yield from iter_frame_folder(path, wanted)
        return
    check_file(path)
    done = 0
    if decord is not None and _suits_decord(path):
        with suppress(decord.DECORDError):
            for frame in numbered(_decord_frames(path), wanted):
                yield frame
                done += 1
            return
    # PyAV takes over where decord failed: both decode the same frames in the same order.
    yield from av_frames(path, wanted[done:])


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
            raise VideoError(f"{path}: holds no frames", hint="is it an audio file?")
        return np.stack(decoded)
    wanted = set(frames)
    if not wanted or min(wanted) < 0:
        raise VideoError(
            f"{path}: cannot read frames {list(frames)}", hint="give indices, from 0 on"
        )
    if Path(path).is_dir():
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


def av_frames(path: Path, wanted: range = ALL_FRAMES) -> Iterator[Frame]:
    """PyAV's frames of some numbers, all by default, as RGB, turned upright."""
    yield from map(ToRgb(), numbered(av_decoded(path), wanted))


def _suits_decord(path: Path) -> bool:
    """Whether decord reads this kind of file as ffmpeg does, and no slower.

    It reads the largest of several streams, not the first, and gets 10-bit colors and very small
    pictures wrong. It invents frames of MPEG-4 in AVI, and takes twice PyAV's time for that and
    for VP8.
    """
    try:
        with open_container(path) as container:
            codec = video_stream(container).codec_context
            return (
                codec.name in _DECORD_CODECS
                and codec.width >= _DECORD_MIN_WIDTH
                and codec.pix_fmt in ("yuv420p", "yuvj420p")
                and len(container.streams.video) == 1
            )
    except av.FFmpegError as error:
        raise cannot_decode(path, error) from error


def _decord_frames(path: Path) -> Iterator[Frame]:
    """All frames by decord, without those it invents.

    It counts packets, and if there are more of them than frames, it repeats the last frame. So
    repeats are held back until another frame follows; for those at the end, PyAV counts the frames.
    """
    reader = decord.VideoReader(str(path.absolute()), num_threads=1)
    last: Frame | None = None
    yielded = repeats = 0
    for _ in range(len(reader)):
        try:
            frame = reader.next().asnumpy()
        except StopIteration as error:
            raise decord.DECORDError("fewer frames than it counted") from error
        if last is not None and _are_equal(frame, last):
            repeats += 1
            continue
        if last is not None:
            yield from itertools.repeat(last, repeats)
        yield frame
        yielded, repeats, last = yielded + repeats + 1, 0, frame
    if repeats and last is not None:
        real = count_frames(path) - yielded
        yield from itertools.repeat(last, max(0, min(repeats, real)))


def _are_equal(frame: Frame, other: Frame) -> bool:
    """Whether two frames are equal; most are not, which a few pixels show at once."""
    return np.array_equal(frame[::16, ::16], other[::16, ::16]) and np.array_equal(frame, other)
