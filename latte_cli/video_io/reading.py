"""Frames out of files: decord first, PyAV for what it cannot read and where it does not exist.

A folder of frames is a video, too; how it is read is told in frame_folders.py.
"""

# Axes: f frames, h height, w width, 3 colour channels (RGB).

import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np

from latte_cli.runtime.errors import VideoError
from latte_cli.video_io.colours import Frame, ToRgb
from latte_cli.video_io.containers import cannot_decode, check_file, open_container, video_stream
from latte_cli.video_io.frame_folders import iter_frame_folder, read_frame_folder

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
    """Decode the first video stream from its first frame on, or read a folder of frames in order.

    Args:
        path: the file, or a folder of frames.
        wanted: numbers of the frames to yield, rising. Decoding stops after the last of them; those
            before it that are not wanted are decoded, but no more than that.

    Yields:
        (h, w, 3) uint8 RGB, turned upright; fewer than wanted where the video ends before.

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
    # Going on where decord gave up: both decode the same frames in the same order.
    yield from av_frames(path, wanted[done:])


def numbered(items: Iterable[_Item], wanted: range) -> Iterator[_Item]:
    """The items of some numbers, rising from 0; none after the last of them is drawn."""
    return itertools.islice(items, wanted.start, wanted[-1] + 1 if wanted else 0, wanted.step)


def read_video(path: str | Path, frames: Sequence[int] | None = None) -> Frame:
    """Read a video, or some of its frames, decoding no further than the last one asked for.

    Args:
        path: the file, or a folder of frames.
        frames: indices in decoded order, in any order, repeats allowed; None for all.

    Returns:
        (f, h, w, 3) uint8 RGB, one frame for each index asked.

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
        raise VideoError(f"{path}: frames {list(frames)} asked for", hint="indices begin at 0")
    if Path(path).is_dir():
        return read_frame_folder(Path(path), frames)
    found = {
        number: frame
        for number, frame in enumerate(itertools.islice(iter_frames(path), max(wanted) + 1))
        if number in wanted
    }
    if max(wanted) not in found:
        raise VideoError(
            f"{path}: frame {max(wanted)} asked for, the video is shorter",
            hint="prepare the data set again",
        )
    return np.stack([found[number] for number in frames])


def count_frames(path: Path) -> int:
    """Frames that PyAV decodes, to the very last one."""
    return sum(1 for _ in av_decoded(path))


def _suits_decord(path: Path) -> bool:
    """Whether decord reads this kind of file as ffmpeg does, and no slower.

    It takes the largest of several streams, not the first, and gets 10-bit colours and very small
    pictures wrong. Of MPEG-4 in AVI it makes up frames; that and VP8 take it twice PyAV's time.
    """
    try:
        with open_container(path) as container:
            coded = video_stream(container).codec_context
            eight_bit = coded.pix_fmt in ("yuv420p", "yuvj420p")
            alone = len(container.streams.video) == 1
            suits = coded.name in _DECORD_CODECS and coded.width >= _DECORD_MIN_WIDTH
            return suits and eight_bit and alone
    except av.FFmpegError as error:
        raise cannot_decode(path, error) from error


def _decord_frames(path: Path) -> Iterator[Frame]:
    """All frames by decord, less those that it makes up.

    It counts packets, and where there are more of them than frames it repeats the last frame. So
    repeats are held back until another frame follows; those at the end are counted by PyAV.
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
    """Whether two frames are, of which most differ: a few pixels tell so at once."""
    return np.array_equal(frame[::16, ::16], other[::16, ::16]) and np.array_equal(frame, other)


def av_frames(path: Path, wanted: range = ALL_FRAMES) -> Iterator[Frame]:
    """PyAV's frames of some numbers, all by default, as RGB, turned upright."""
    yield from map(ToRgb(), numbered(av_decoded(path), wanted))


def av_decoded(path: Path) -> Iterator[Any]:
    """PyAV's frames, not yet converted to RGB."""
    try:
        with open_container(path) as container:
            stream = video_stream(container)
            # One thread: videos are read side by side, and several threads for each cost more
            # altogether, and decode further ahead than is asked for.
            stream.codec_context.thread_count = 1
            yield from container.decode(stream)
    except av.FFmpegError as error:
        raise cannot_decode(path, error) from error
