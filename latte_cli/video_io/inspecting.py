"""Whether a file is a whole video, by a strict decoder, and what it shows."""

from dataclasses import dataclass
from pathlib import Path

import av

from latte_cli.errors import VideoError
from latte_cli.video_io.reading import av_frames, cannot_decode, check_file, open_container

_WHOLE = 0.9  # of what a header promises


@dataclass(frozen=True)
class VideoFacts:
    """What decoding a whole file showed; width and height as displayed."""

    frames: int
    fps: float
    width: int
    height: int


def inspect_video(path: str | Path) -> VideoFacts:
    """Decode a file to its last frame with a strict decoder and tell what was seen.

    Raises:
        VideoError: at the first packet that does not decode, or if there is no frame at all. decord
            is not asked: it passes files that the reference decoder fails in.
    """
    path = Path(path)
    check_file(path)
    try:
        with open_container(path) as container:
            rate = float(container.streams.video[0].average_rate or 0)
    except av.FFmpegError as error:
        raise cannot_decode(path, error) from error
    first = next(av_frames(path), None)
    if first is None:
        raise VideoError(f"{path}: the video stream holds no frames", hint="only a header is there")
    height, width, _ = first.shape
    return VideoFacts(frames=_count_whole(path), fps=round(rate, 3), width=width, height=height)


def _count_whole(path: Path) -> int:
    """Frames to the very last one of a file that must not have been cut off.

    An mp4 without its end does not open. Of AVI, Matroska and WebM the decoder gives what is there
    without a word; that the rest is missing shows in a last packet that is corrupt, or in a header
    that promises clearly more frames or seconds; headers miscount a little, hence the slack.

    Raises:
        VideoError: if the file ends early.
    """
    count, end_s = 0, 0.0
    try:
        with open_container(path) as container:
            video = container.streams.video[0]
            video.thread_type = "AUTO"
            start_s = (container.start_time or 0) / av.time_base
            duration_s = (container.duration or 0) / av.time_base
            for packet in container.demux():
                stamp = packet.dts if packet.pts is None else packet.pts
                if stamp is not None and packet.time_base is not None:
                    end = stamp + (packet.duration or 0)
                    end_s = max(end_s, float(end * packet.time_base) - start_s)
                if packet.stream is not video:
                    continue
                if packet.is_corrupt:
                    raise _cut_off(path, f"the packet after frame {count} is damaged")
                count += len(packet.decode())
            promised = video.frames
    except av.FFmpegError as error:
        raise cannot_decode(path, error) from error
    if count < _WHOLE * promised:
        raise _cut_off(path, f"{count} of {promised} frames are there")
    if 0 < end_s < _WHOLE * duration_s:
        raise _cut_off(path, f"{end_s:.1f} of {duration_s:.1f} seconds are there")
    return count


def _cut_off(path: Path, what: str) -> VideoError:
    return VideoError(f"{path}: is cut off ({what})", hint="copy or download it again")
