"""Whether a file is a whole video, by a strict decoder, and what it shows."""

from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from latte_cli.runtime.errors import VideoError
from latte_cli.video_io.colours import ToRgb, turns_of
from latte_cli.video_io.containers import (
    VideoFacts,
    cannot_decode,
    check_file,
    open_container,
    video_stream,
)

_WHOLE = 0.9  # of what a header promises
_SAME_RATE = 0.1  # relative; recorders jitter by less
_UNEVEN_SHARE = 0.02  # of the time: one dropped frame does not make a rate variable


def _nothing() -> None:
    pass


def inspect_video(path: str | Path, on_packet: Callable[[], None] = _nothing) -> VideoFacts:
    """Decode a file once, to its last frame, with a strict decoder and tell what was seen.

    An mp4 without its end does not open. Of AVI, Matroska and WebM the decoder gives what is there
    without a word; that the rest is missing shows in a last packet that is corrupt, or in a header
    that promises clearly more frames or seconds; headers miscount a little, hence the slack.
    decord is not asked: it passes files that the reference decoder fails in.

    Args:
        path: a video file.
        on_packet: called all along, so that others see that it goes on.

    Raises:
        VideoError: at the first packet or frame that is damaged, at a frame of another size, if
            the file ends early, or if there is no frame at all.
    """
    path = Path(path)
    check_file(path)
    try:
        with open_container(path) as container:
            seen = _Pass(path, container)
            seen.run(on_packet)
            return seen.facts()
    except av.FFmpegError as error:
        raise cannot_decode(path, error) from error


class _Pass:
    """One way through a file, and what has been seen on it so far."""

    def __init__(self, path: Path, container: Any) -> None:
        self._path, self._container = path, container
        self._stream = video_stream(container)
        # One thread: with more, how far a damaged file got depends on the machine, and each
        # keeps frames of its own, which of 8K video are 50 MB. Files are decoded side by side.
        self._stream.codec_context.thread_count = 1
        self._frames = 0
        self._stored_size = self._shown_size = (0, 0)
        self._rotation = 0
        self._end_s = 0.0
        self._shown_at, self._decoded_at = array("q"), array("q")

    def run(self, on_packet: Callable[[], None]) -> None:
        """Decode every packet of the video, and look at the times of all others.

        Raises:
            VideoError: at what is damaged.
        """
        start_s = (self._container.start_time or 0) / av.time_base
        for packet in self._container.demux():
            on_packet()
            stamp = packet.dts if packet.pts is None else packet.pts
            if stamp is not None and packet.time_base is not None:
                end = stamp + (packet.duration or 0)
                self._end_s = max(self._end_s, float(end * packet.time_base) - start_s)
            if packet.stream.index != self._stream.index:
                continue
            if packet.is_corrupt:
                raise self._cut_off(f"the packet after frame {self._frames} is damaged")
            if packet.pts is not None:
                self._shown_at.append(packet.pts)
            if packet.dts is not None:
                self._decoded_at.append(packet.dts)
            for frame in packet.decode():
                self._take(frame)

    def _take(self, frame: Any) -> None:
        """One more frame.

        Raises:
            VideoError: if the decoder could only guess parts of it, or its size is another one.
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
                hint="encode it anew at one size, or leave it out",
            )
        self._frames += 1

    def facts(self) -> VideoFacts:
        """What there was, once all has been seen.

        Raises:
            VideoError: if there was less than promised, or nothing.
        """
        promised = self._stream.frames
        duration_s = (self._container.duration or 0) / av.time_base
        if self._frames == 0:
            raise VideoError(
                f"{self._path}: the video stream holds no frames", hint="only a header is there"
            )
        if self._frames < _WHOLE * promised:
            raise self._cut_off(f"{self._frames} of {promised} frames are there")
        if 0 < self._end_s < _WHOLE * duration_s:
            raise self._cut_off(f"{self._end_s:.1f} of {duration_s:.1f} seconds are there")
        # Where some packets do not tell when they are shown, the decoder's order tells as much.
        partial = len(self._shown_at) < len(self._decoded_at)
        times = np.sort(np.array(self._decoded_at if partial else self._shown_at, np.int64))
        gaps = times[1:] - times[:-1]
        width, height = self._shown_size
        return VideoFacts(
            frames=self._frames,
            fps=round(_rate(self._stream, gaps), 3),
            width=width,
            height=height,
            rotation=self._rotation,
            variable_fps=_is_uneven(gaps),
        )

    def _cut_off(self, what: str) -> VideoError:
        return VideoError(f"{self._path}: is cut off ({what})", hint="copy or download it again")


def _rate(stream: Any, gaps: NDArray[np.int64]) -> float:
    """Frames a second: the header's, unless the packets' times clearly speak against it."""
    told = float(stream.average_rate or 0)
    span_s = float(gaps.sum() * float(stream.time_base or 0))
    seen = len(gaps) / span_s if span_s > 0 else told
    return told if abs(told - seen) <= _SAME_RATE * seen else seen


def _is_uneven(gaps: NDArray[np.int64]) -> bool:
    """Whether gaps between frames differ by more than the rounding of their times does.

    Args:
        gaps: in the stream's units of time. Where one unit is a frame, as in AVI, nothing was
            rounded; otherwise rounding makes a difference of one.
    """
    if gaps.sum() <= 0:
        return False
    usual = float(np.median(gaps))
    allowed = max(_SAME_RATE * usual, 1.0 if usual > 1 else 0.0)
    return bool(gaps[np.abs(gaps - usual) > allowed].sum() > _UNEVEN_SHARE * gaps.sum())
