"""Whether a video is intact, by a strict decoder, what it shows, and its checksum."""

import hashlib
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from latte_cli.runtime.errors import VideoError
from latte_cli.video_io.frame_folders import checksum_of_frames, iter_frame_folder
from latte_cli.video_io.pyav import (
    ToRgb,
    cannot_decode,
    check_file,
    open_container,
    turns_of,
    video_stream,
)

_COMPLETE = 0.9  # of the frames or seconds that a header announces
_SAME_RATE = 0.1  # relative; recorders jitter by less
_UNEVEN_SHARE = 0.02  # of the duration: one dropped frame does not make a rate variable
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class VideoFacts:
    """What decoding a whole video showed.

    Attributes:
        frames: number of frames that decode.
        fps: frames per second, on average; 0 if unknown.
        width: as displayed, pixels.
        height: as displayed, pixels.
        rotation: degrees by which frames are turned clockwise to be upright: 0, 90, 180 or 270.
        variable_fps: whether frames are unevenly spaced in time.
    """

    frames: int
    fps: float
    width: int
    height: int
    rotation: int = 0
    variable_fps: bool = False


def inspect_video(path: str | Path, on_progress: Callable[[], None] = lambda: None) -> VideoFacts:
    """Decode a video once, to its last frame, with a strict decoder.

    An mp4 without its end does not open. Of AVI, Matroska and WebM the decoder returns what is
    there without an error; that the rest is missing shows in a last packet that is corrupt, or in a
    header that announces clearly more frames or seconds. Headers miscount a little, hence the
    tolerance. decord is not used: it accepts files that the reference decoder fails on.

    Args:
        path: a video file, or a folder of frames, whose fps is unknown.
        on_progress: called with every packet or frame, to show that the decoder has not hung.

    Raises:
        VideoError: at the first packet or frame that is damaged, at a frame of another size, if
            the file ends early, or if there is no frame at all.
    """
    path = Path(path)
    if path.is_dir():
        frames = height = width = 0
        for frame in iter_frame_folder(path):
            height, width, _ = frame.shape
            frames += 1
            on_progress()
        return VideoFacts(frames=frames, fps=0.0, width=width, height=height)
    check_file(path)
    try:
        with open_container(path) as container:
            inspection = _Inspection(path, container)
            inspection.decode(on_progress)
            return inspection.facts()
    except av.FFmpegError as error:
        raise cannot_decode(path, error) from error


def checksum_of_video(path: Path, on_progress: Callable[[], None] = lambda: None) -> str:
    """SHA-256 of a video file, or of all frames of a folder, in hex.

    Args:
        path: the file or folder.
        on_progress: called after every chunk or frame.

    Raises:
        VideoError: if it is missing or empty.
        OSError: if it cannot be read.
    """
    if path.is_dir():
        return checksum_of_frames(path, on_progress)
    check_file(path)  # reading a pipe would block
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            on_progress()
    return digest.hexdigest()


class _Inspection:
    """One pass through a video file, and what was seen so far."""

    def __init__(self, path: Path, container: Any) -> None:
        self._path, self._container = path, container
        self._stream = video_stream(container)
        # With more threads, how far a damaged file decodes depends on the machine, and each thread
        # keeps frames of its own, 50 MB each of 8K video. Files are inspected in parallel instead.
        self._stream.codec_context.thread_count = 1
        self._frames = 0
        self._stored_size = self._shown_size = (0, 0)
        self._rotation = 0
        self._end_s = 0.0
        self._pts, self._dts = array("q"), array("q")

    def decode(self, on_packet: Callable[[], None]) -> None:
        """Decode every packet of the video, and note the end times of all other packets.

        Raises:
            VideoError: at the first damage.
        """
        start_s = (self._container.start_time or 0) / av.time_base
        for packet in self._container.demux():
            on_packet()
            time = packet.dts if packet.pts is None else packet.pts
            if time is not None and packet.time_base is not None:
                end = time + (packet.duration or 0)
                self._end_s = max(self._end_s, float(end * packet.time_base) - start_s)
            if packet.stream.index != self._stream.index:
                continue
            if packet.is_corrupt:
                raise self._cut_off(f"the packet after frame {self._frames} is damaged")
            if packet.pts is not None:
                self._pts.append(packet.pts)
            if packet.dts is not None:
                self._dts.append(packet.dts)
            for frame in packet.decode():
                self._check_frame(frame)

    def _check_frame(self, frame: Any) -> None:
        """Count one more frame.

        Raises:
            VideoError: if the decoder had to guess parts of it, or its size differs.
        """
        size = (frame.width, frame.height)
        if self._frames == 0:
            self._stored_size, self._rotation = size, -90 * turns_of(frame) % 360
            height, width, _ = ToRgb()(frame).shape
            self._shown_size = (width, height)
        if frame.is_corrupt:
            raise VideoError(
                f"{self._path}: is damaged (in frame {self._frames})",
                hint="copy or download it again",
            )
        if size != self._stored_size:
            first, now = ("{} x {}".format(*pair) for pair in (self._stored_size, size))
            raise VideoError(
                f"{self._path}: changes its size ({first}, from frame {self._frames} on {now})",
                hint="re-encode it at one size, or leave it out",
            )
        self._frames += 1

    def facts(self) -> VideoFacts:
        """What the file holds, after the whole of it was decoded.

        Raises:
            VideoError: if it holds less than its header announces, or nothing.
        """
        announced = self._stream.frames
        duration_s = (self._container.duration or 0) / av.time_base
        if self._frames == 0:
            raise VideoError(
                f"{self._path}: the video stream holds no frames", hint="only a header is there"
            )
        if self._frames < _COMPLETE * announced:
            raise self._cut_off(f"{self._frames} of {announced} frames are there")
        if 0 < self._end_s < _COMPLETE * duration_s:
            raise self._cut_off(f"{self._end_s:.1f} of {duration_s:.1f} seconds are there")
        # If some packets have no presentation time, the spacing of decoding times is as good.
        stamps = self._dts if len(self._pts) < len(self._dts) else self._pts
        times = np.sort(np.array(stamps, np.int64))
        gaps = times[1:] - times[:-1]
        width, height = self._shown_size
        return VideoFacts(
            frames=self._frames,
            fps=round(_frame_rate(self._stream, gaps), 3),
            width=width,
            height=height,
            rotation=self._rotation,
            variable_fps=_is_uneven(gaps),
        )

    def _cut_off(self, what: str) -> VideoError:
        return VideoError(f"{self._path}: is cut off ({what})", hint="copy or download it again")


def _frame_rate(stream: Any, gaps: NDArray[np.int64]) -> float:
    """Frames per second: the header's value, unless the packets' times clearly contradict it."""
    announced = float(stream.average_rate or 0)
    span_s = float(gaps.sum() * float(stream.time_base or 0))
    measured = len(gaps) / span_s if span_s > 0 else announced
    return announced if abs(announced - measured) <= _SAME_RATE * measured else measured


def _is_uneven(gaps: NDArray[np.int64]) -> bool:
    """Whether gaps between frames differ by more than the rounding of their times.

    Args:
        gaps: in the stream's time unit. If one unit is a frame, as in AVI, nothing was rounded;
            otherwise rounding makes a difference of one.
    """
    if gaps.sum() <= 0:
        return False
    usual = float(np.median(gaps))
    allowed = max(_SAME_RATE * usual, 1.0 if usual > 1 else 0.0)
    return bool(gaps[np.abs(gaps - usual) > allowed].sum() > _UNEVEN_SHARE * gaps.sum())
