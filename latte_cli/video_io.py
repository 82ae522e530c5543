"""Reading and writing videos; the only place that knows decoders.

Every library gives wrong frames after a seek on some files, and headers miscount frames, so videos
are read from the first frame on, in decoded order. decord reads first; PyAV what decord cannot, and
everywhere that decord has no wheels.
"""

# Axes: f frames, h height, w width, 3 colour channels (RGB).

import itertools
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from errno import ENOSPC
from os import strerror
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from latte_cli.errors import VideoError
from latte_cli.files import whole_file

try:
    import decord
except ImportError:  # it has wheels for Linux on x86-64 only
    decord = None
else:
    decord.logging.set_level(decord.logging.QUIET)

Frame = NDArray[np.uint8]

VIDEO_SUFFIXES = frozenset(
    [
        ".3gp",
        ".avi",
        ".flv",
        ".gif",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".ogv",
        ".ts",
        ".webm",
        ".wmv",
    ]
)
_DECORD_MIN_WIDTH = 16
CRF = 17
"""Constant rate factor of written H.264: hardly to be told from the original."""


@dataclass(frozen=True)
class VideoFacts:
    """What decoding a whole file showed; width and height as displayed."""

    frames: int
    fps: float
    width: int
    height: int


def iter_frames(path: str | Path) -> Iterator[Frame]:
    """Decode the first video stream from its first frame on.

    Yields:
        (h, w, 3) uint8 RGB, turned upright.

    Raises:
        VideoError: where neither decoder can read on.
    """
    path = Path(path)
    _check_file(path)
    done = 0
    if decord is not None and _suits_decord(path):
        with suppress(decord.DECORDError):
            for frame in _decord_frames(path):
                yield frame
                done += 1
            return
    # Taking over where decord gave up: both decode the same frames in the same order.
    yield from itertools.islice(_av_frames(path), done, None)


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


def inspect_video(path: str | Path) -> VideoFacts:
    """Decode a file to its last frame with a strict decoder and tell what was seen.

    Raises:
        VideoError: at the first packet that does not decode, or if there is no frame at all. decord
            is not asked: it passes files that the reference decoder fails in.
    """
    path = Path(path)
    _check_file(path)
    try:
        with _open(path) as container:
            rate = float(container.streams.video[0].average_rate or 0)
    except av.FFmpegError as error:
        raise _cannot_decode(path, error) from error
    first = next(_av_frames(path), None)
    if first is None:
        raise VideoError(f"{path}: the video stream holds no frames", hint="only a header is there")
    height, width, _ = first.shape
    return VideoFacts(frames=_count(path), fps=round(rate, 3), width=width, height=height)


def write_video(path: str | Path, frames: Iterable[Frame], fps: float) -> None:
    """Write an H.264 mp4 (yuv420p), whole or not at all.

    Args:
        path: the file to make; its folder is made, too.
        frames: (h, w, 3) uint8 RGB each, of one size, h and w even.
        fps: frames a second.

    Raises:
        OSError: if it cannot be written, the disk being full in particular.
    """
    import imageio_ffmpeg  # type: ignore[import-untyped]  # it ships no types

    path, frames = Path(path), list(frames)
    height, width = frames[0].shape[:2]
    with whole_file(path) as part:
        writer = imageio_ffmpeg.write_frames(
            str(part.absolute()),
            (width, height),
            fps=fps,
            codec="libx264",
            quality=None,
            pix_fmt_out="yuv420p",
            macro_block_size=2,
            ffmpeg_log_level="fatal",
            output_params=["-crf", str(CRF), "-threads", "1"],
        )
        try:
            writer.send(None)
            for frame in frames:
                writer.send(np.ascontiguousarray(frame))
        except OSError as error:
            raise _cannot_write(path) from error
        finally:
            writer.close()
        if not _holds(part, len(frames)):
            raise _cannot_write(path)


def _suits_decord(path: Path) -> bool:
    """Whether decord reads this kind of file as ffmpeg does.

    It takes the largest of several streams, not the first, and gets 10-bit colours and very small
    pictures wrong.
    """
    try:
        with _open(path) as container:
            first, *others = container.streams.video
            eight_bit = first.codec_context.pix_fmt in ("yuv420p", "yuvj420p")
            return eight_bit and not others and first.codec_context.width >= _DECORD_MIN_WIDTH
    except av.FFmpegError as error:
        raise _cannot_decode(path, error) from error


def _decord_frames(path: Path) -> Iterator[Frame]:
    """All frames by decord, less those that it makes up.

    It counts packets, and where there are more of them than frames it repeats the last frame. So
    repeats are held back until another frame follows; those at the end are counted by PyAV.
    """
    reader = decord.VideoReader(str(path.absolute()), num_threads=1)
    last: Frame | None = None
    yielded = repeats = 0
    for _ in range(len(reader)):
        frame = reader.next().asnumpy()
        if last is not None and np.array_equal(frame, last):
            repeats += 1
            continue
        if last is not None:
            yield from itertools.repeat(last, repeats)
        yield frame
        yielded, repeats, last = yielded + repeats + 1, 0, frame
    if repeats and last is not None:
        real = _count(path) - yielded
        yield from itertools.repeat(last, max(0, min(repeats, real)))


def _av_frames(path: Path) -> Iterator[Frame]:
    for frame in _av_decoded(path):
        picture = frame.to_ndarray(format="rgb24")
        yield np.rot90(picture, k=round(frame.rotation / 90)) if frame.rotation else picture


def _av_decoded(path: Path) -> Iterator[Any]:
    """PyAV's frames, not yet converted to RGB."""
    try:
        with _open(path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield from container.decode(stream)
    except av.FFmpegError as error:
        raise _cannot_decode(path, error) from error


def _open(path: Path) -> Any:
    """A container with a video stream, opened by an absolute name (one may begin with a dash)."""
    container = av.open(str(path.absolute()), metadata_errors="replace")
    if not container.streams.video:
        container.close()
        raise VideoError(f"{path}: holds no video stream", hint="is it an audio file?")
    return container


def _count(path: Path) -> int:
    """Frames that PyAV decodes, to the very last one."""
    return sum(1 for _ in _av_decoded(path))


def _holds(path: Path, frames: int) -> bool:
    """Whether a file just written is whole: the writer does not tell how ffmpeg ended."""
    try:
        _check_file(path)
        return _count(path) == frames
    except VideoError:
        return False


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise VideoError(f"{path}: no such file", hint="was it moved since it was prepared?")
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: the file is empty", hint="copy or download it again")


def _cannot_decode(path: Path, error: Exception) -> VideoError:
    reason = getattr(error, "strerror", None) or type(error).__name__
    return VideoError(
        f"{path}: cannot be decoded ({reason.lower()})",
        hint="play it to its end in a video player, or leave it out",
    )


def _cannot_write(path: Path) -> OSError:
    if shutil.disk_usage(path.parent).free < 1 << 20:
        return OSError(ENOSPC, strerror(ENOSPC), str(path))
    return OSError(0, "ffmpeg could not write the video", str(path))
