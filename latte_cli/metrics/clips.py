"""Which clips are measured: a window of a video, and a draw of videos.

Published scripts draw from an unseeded generator, so their numbers change from run to run. Here a
draw is a function of (seed, draw, side, video) by SHA-256: the same on every machine and in every
version, whatever the order, the number of processes and the other videos.
"""

import hashlib
from collections.abc import Sequence


def last_offset(num_frames: int, frames: int, interval: int) -> int | None:
    """The largest number of a clip's first frame, or None for a video that is too short.

    StyleGAN-V's rule (VideoFramesFolderDataset): a video has at least frames x interval frames,
    although a clip spans interval - 1 fewer.
    """
    if num_frames < frames * interval:
        return None
    return num_frames - frames * interval + interval - 1


def window(
    num_frames: int, frames: int, interval: int, offset: str = "first", ticket: int = 0
) -> range | None:
    """The frame numbers of a clip, or None for a video that is too short.

    Args:
        num_frames: of the video.
        frames: of the clip.
        interval: from one frame of the clip to the next, in frames of the video.
        offset: `first`, or `random`: each first frame is as likely as any other.
        ticket: of a random offset, see `ticket`.
    """
    last = last_offset(num_frames, frames, interval)
    if last is None:
        return None
    start = ticket % (last + 1) if offset == "random" else 0
    return range(start, start + (frames - 1) * interval + 1, interval)


def ticket(*words: object) -> int:
    """A number of 256 bits that these words draw."""
    text = "\0".join(map(str, words)).encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.sha256(text).digest(), "big")


def draw_order(names: Sequence[str], rule: str, *words: object) -> list[int]:
    """The order in which videos are drawn, as indices; the first of them are taken.

    Args:
        names: of the videos, all different.
        rule: `random`, or `first by name`.
        words: of the draw, such as seed, number and side.
    """
    if rule == "random":
        return sorted(range(len(names)), key=lambda index: ticket(*words, names[index]))
    return sorted(range(len(names)), key=lambda index: names[index])
