"""Frames out of files: decord first, PyAV for what it cannot read and where it does not exist."""

# Axes: f frames, h height, w width, 3 colour channels (RGB).

import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from latte_cli.errors import VideoError

try:
    import decord
except ImportError:  # it has wheels for Linux on x86-64 only
    decord = None
else:
    decord.logging.set_level(decord.logging.QUIET)

Frame = NDArray[np.uint8]

_DECORD_MIN_WIDTH = 16


def iter_frames(path: str | Path) -> Iterator[Frame]:
    """Decode the first video stream from its first frame on.

    Yields:
        (h, w, 3) uint8 RGB, turned upright.

    Raises:
        VideoError: where neither decoder can read on.
    """
    path = Path(path)
    check_file(path)
    done = 0
    if decord is not None and _suits_decord(path):
        with suppress(decord.DECORDError):
            for frame in _decord_frames(path):
                yield frame
                done += 1
            return
    # Taking over where decord gave up: both decode the same frames in the same order.
    yield from itertools.islice(av_frames(path), done, None)


def read_video(path: str | Path, frames: Sequence[int] | None = None) -> Frame:
    """Read a video, or some of its frames, decoding no further than the last one asked for.

    Args:
        path: the file.
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
    """Whether decord reads this kind of file as ffmpeg does.

    It takes the largest of several streams, not the first, and gets 10-bit colours and very small
    pictures wrong.
    """
    try:
        with open_container(path) as container:
            first, *others = container.streams.video
            eight_bit = first.codec_context.pix_fmt in ("yuv420p", "yuvj420p")
            return eight_bit and not others and first.codec_context.width >= _DECORD_MIN_WIDTH
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
        if last is not None and np.array_equal(frame, last):
            repeats += 1
            continue
        if last is not None:
            yield from itertools.repeat(last, repeats)
        yield frame
        yielded, repeats, last = yielded + repeats + 1, 0, frame
    if repeats and last is not None:
        real = count_frames(path) - yielded
        yield from itertools.repeat(last, max(0, min(repeats, real)))


def av_frames(path: Path) -> Iterator[Frame]:
    """PyAV's frames as RGB, turned upright."""
    for frame in av_decoded(path):
        picture = frame.to_ndarray(format="rgb24")
        yield np.rot90(picture, k=round(frame.rotation / 90)) if frame.rotation else picture


def av_decoded(path: Path) -> Iterator[Any]:
    """PyAV's frames, not yet converted to RGB."""
    try:
        with open_container(path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield from container.decode(stream)
    except av.FFmpegError as error:
        raise cannot_decode(path, error) from error


def open_container(path: Path) -> Any:
    """A container with a video stream, opened by an absolute name (one may begin with a dash)."""
    container = av.open(str(path.absolute()), metadata_errors="replace")
    if not container.streams.video:
        container.close()
        raise VideoError(f"{path}: holds no video stream", hint="is it an audio file?")
    return container


def check_file(path: Path) -> None:
    """Raise VideoError for a file that is missing or empty."""
    if not path.is_file():
        raise VideoError(f"{path}: no such file", hint="was it moved since it was prepared?")
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: the file is empty", hint="copy or download it again")


def cannot_decode(path: Path, error: Exception) -> VideoError:
    """A decoder's error in words."""
    reason = getattr(error, "strerror", None) or type(error).__name__
    return VideoError(
        f"{path}: cannot be decoded ({reason.lower()})",
        hint="play it to its end in a video player, or leave it out",
    )
