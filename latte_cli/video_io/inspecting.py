"""Whether a video is intact, by a strict decoder and its container, what it shows, its checksum."""

import hashlib
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from numpy.typing import NDArray

from latte_cli.runtime.errors import VideoError
from latte_cli.video_io.animated_images import inspect_animated, is_animated, is_pictures
from latte_cli.video_io.decoder_messages import Reports, no_errors_reported
from latte_cli.video_io.file_ends import end_of
from latte_cli.video_io.frame_folders import checksum_of_frames, iter_frame_folder
from latte_cli.video_io.missing_data import CutOffError, DamagedError, End
from latte_cli.video_io.pyav import (
    Orientation,
    cannot_decode,
    check_file,
    open_container,
    orientation_of,
    pixel_aspect_of,
    stretched_size,
    video_stream,
)

_COMPLETE = 0.9  # of the frames or seconds that a header announces, where nothing else tells
_SAME_RATE = 0.1  # relative; recorders jitter by less
_UNEVEN_SHARE = 0.02  # of the duration: one dropped frame does not make a rate variable
_CHUNK_BYTES = 1 << 20
_COPY_AGAIN = "copy or download it again"


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
        mirrored: whether frames are mirrored left to right before they are turned.
        pixel_aspect: width of a pixel over its height in the file; frames are stretched by it.
        end: whether the file's format tells that it is whole.
    """

    frames: int
    fps: float
    width: int
    height: int
    rotation: int = 0
    variable_fps: bool = False
    mirrored: bool = False
    pixel_aspect: float = 1.0
    end: Literal["known", "unknown"] = "known"


def inspect_video(
    path: str | Path,
    on_progress: Callable[[], None] = lambda: None,
    pixel_aspect: float | None = None,
) -> VideoFacts:
    """Decode a video once, to its last frame, with a strict decoder.

    Decoders return what is there of a file that was cut off, mostly without an error. That the rest
    is missing shows in the sizes and end marks of its container, in the places of its packets, or
    in packets that are corrupt. Numbers of frames and durations in headers do not count: they leave
    out what an edit list hides, begin anywhere, and include empty packets. decord is not used: it
    accepts files that the reference decoder fails on.

    Args:
        path: a video file, or a folder of frames, whose fps is unknown.
        on_progress: called with every packet or frame, to show that the decoder has not hung.
        pixel_aspect: width of a pixel over its height; None: what the file says.

    Raises:
        VideoError: at the first packet or frame that is damaged, at a frame of another size, if
            data are missing, if there is no frame at all, or if the libraries report any error.
    """
    path = Path(path)
    if is_pictures(path):
        frames = height = width = 0
        for frame in iter_frame_folder(path):
            height, width, _ = frame.shape
            frames += 1
            on_progress()
        return VideoFacts(frames=frames, fps=0.0, width=width, height=height)
    check_file(path)
    if is_animated(path):
        return _inspect_animated(path, on_progress)
    try:
        end = end_of(path)
    except CutOffError as error:
        raise _cut_off(path, error) from error
    except DamagedError as error:
        raise VideoError(f"{path}: is damaged ({error})", hint=_COPY_AGAIN) from error
    try:
        with no_errors_reported(path) as reports, open_container(path) as container:
            inspection = _Inspection(path, container, end, pixel_aspect)
            inspection.decode(on_progress, reports)
            return inspection.facts()
    except av.FFmpegError as error:
        raise cannot_decode(path, error) from error


def _inspect_animated(path: Path, on_progress: Callable[[], None]) -> VideoFacts:
    frames, height, width, seconds = inspect_animated(path, on_progress)
    fps = round(frames / sum(seconds), 3) if sum(seconds) else 0.0
    uneven = max(seconds) - min(seconds) > _SAME_RATE * max(seconds)
    return VideoFacts(frames=frames, fps=fps, width=width, height=height, variable_fps=uneven)


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

    def __init__(self, path: Path, container: Any, end: End, pixel_aspect: float | None) -> None:
        self._path, self._container, self._end = path, container, end
        self._stream = video_stream(container)
        # With more threads, how far a damaged file decodes depends on the machine, and each thread
        # keeps frames of its own, 50 MB each of 8K video. Files are inspected in parallel instead.
        self._stream.codec_context.thread_count = 1
        own_aspect = pixel_aspect_of(self._stream)
        self._pixel_aspect = own_aspect if pixel_aspect is None else pixel_aspect
        self._frames = self._packets = 0
        self._stored_size = (0, 0)
        self._orientation = Orientation()
        self._end_s = 0.0
        self._pts, self._dts = array("q"), array("q")

    def decode(self, on_packet: Callable[[], None], reports: Reports) -> None:
        """Decode every packet of the video, and note the end times of all other packets.

        Raises:
            VideoError: at the first damage.
        """
        self._check_places()
        for packet in self._container.demux():
            on_packet()
            time = packet.dts if packet.pts is None else packet.pts
            if time is not None and packet.time_base is not None:
                end = time + (packet.duration or 0)
                self._end_s = max(self._end_s, float(end * packet.time_base))
            if packet.stream.index != self._stream.index:
                continue
            if not self._packets:
                reports.begin(packet)
            if packet.is_corrupt:
                where = f"the packet after frame {self._frames} is damaged, or data are missing"
                raise _cut_off(self._path, where)
            self._packets += bool(packet.size)
            if not packet.is_discard:  # hidden by an edit list
                if packet.pts is not None:
                    self._pts.append(packet.pts)
                if packet.dts is not None:
                    self._dts.append(packet.dts)
            for frame in packet.decode():
                self._check_frame(frame)

    def _check_places(self) -> None:
        """Compare the places of packets in a file with its size, where the file has a list of them.

        Raises:
            VideoError: if one lies behind the end of the file.
        """
        size = self._path.stat().st_size
        if not self._container.format.name.startswith("mov"):
            return
        for stream in self._container.streams:
            end = max((e.pos + e.size for e in getattr(stream, "index_entries", ())), default=0)
            if end > size:
                raise _cut_off(self._path, f"{end - size} bytes of its packets are missing")

    def _check_frame(self, frame: Any) -> None:
        """Count one more frame.

        Raises:
            VideoError: if the decoder had to guess parts of it, or its size differs.
        """
        size = (frame.width, frame.height)
        if self._frames == 0:
            self._stored_size, self._orientation = size, orientation_of(frame)
        if frame.is_corrupt:
            raise VideoError(
                f"{self._path}: is damaged (in frame {self._frames})",
                hint=_COPY_AGAIN,
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
            VideoError: if data are missing, or there is no frame.
        """
        if self._frames == 0:
            raise VideoError(f"{self._path}: the video stream holds no frames", hint=_COPY_AGAIN)
        # If some packets have no presentation time, the spacing of decoding times is as good. AVI
        # has none at all: they are guessed, the last one wrongly.
        guessed = self._container.format.name == "avi" or len(self._pts) < len(self._dts)
        stamps = self._dts if guessed else self._pts
        times = np.sort(np.array(stamps, np.int64))
        gaps = times[1:] - times[:-1]
        if self._end == "unchecked":
            self._check_promises(gaps)
        width, height = stretched_size(*self._stored_size, self._pixel_aspect)
        if self._orientation.transposed:
            width, height = height, width
        return VideoFacts(
            frames=self._frames,
            fps=round(_frame_rate(self._stream, gaps), 3),
            width=width,
            height=height,
            rotation=self._orientation.rotation,
            variable_fps=_is_uneven(gaps),
            mirrored=self._orientation.mirrored,
            pixel_aspect=self._pixel_aspect,
            end="known" if self._end == "known" else "unknown",
        )

    def _check_promises(self, gaps: NDArray[np.int64]) -> None:
        """Compare what was found with the header, of a format that has no end of its own.

        The end is that of the last packet, on the file's own clock. A last frame may be shown for
        as long as any other.

        Raises:
            VideoError: if clearly more was announced.
        """
        announced = self._stream.frames
        begin_s = (self._container.start_time or 0) / av.time_base
        duration_s = (self._container.duration or 0) / av.time_base
        longest_s = float(gaps.max() * self._stream.time_base) if len(gaps) else duration_s
        end_s = self._end_s + longest_s - begin_s
        if 0 < end_s < _COMPLETE * duration_s and self._packets < _COMPLETE * announced:
            raise _cut_off(self._path, f"{self._packets} of {announced} frames are there")
        if 0 < end_s < _COMPLETE * duration_s:
            raise _cut_off(self._path, f"{end_s:.1f} of {duration_s:.1f} seconds are there")


def _cut_off(path: Path, what: object) -> VideoError:
    return VideoError(f"{path}: is cut off ({what})", hint=_COPY_AGAIN)


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
