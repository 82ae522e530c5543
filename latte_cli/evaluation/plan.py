"""Which clips of a source are measured: in each draw, and for the real-vs-real distance.

Published scripts select clips with an unseeded generator, so their numbers change from run to run.
Here a selection is a function of (seed, draw, clip set, video) by SHA-256: it is the same on every
machine and in every version, whatever the order, the number of processes and the other videos.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from latte_cli.evaluation.protocol import Protocol
from latte_cli.evaluation.sources.videos import Video

ClipSetName = Literal["real", "fake"]


@dataclass(frozen=True)
class ClipRef:
    """A clip: frames of a video."""

    video: Video
    window: range

    @property
    def key(self) -> str:
        """The key of its features on disk."""
        w = self.window
        return f"{self.video.key}@{w[0]}+{w.step}x{len(w)}"


@dataclass(frozen=True)
class DisjointSets:
    """Two sets of clips of one source that share no video.

    Attributes:
        first: some clips.
        second: as many others.
        same_size: whether each set is as large as a draw. If the source has too few videos for
            that, each set is half of the draw.
    """

    first: tuple[ClipRef, ...]
    second: tuple[ClipRef, ...]
    same_size: bool


@dataclass(frozen=True)
class ClipSetPlan:
    """What is measured of one source.

    Attributes:
        videos: the videos that are long enough.
        too_short: names of the others.
        draws: the clips of each draw; all draws have the same size.
        real_vs_real: two sets of real clips whose distance shows what sampling alone gives.
    """

    videos: tuple[Video, ...]
    too_short: tuple[str, ...]
    draws: tuple[tuple[ClipRef, ...], ...]
    real_vs_real: DisjointSets | None

    @property
    def content(self) -> str:
        """Checksum of the names and lengths of the videos."""
        text = json.dumps([(video.name, video.frames) for video in self.videos])
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def plan_clip_set(
    videos: Sequence[Video], protocol: Protocol, clip_set: ClipSetName, draws: int
) -> ClipSetPlan:
    """Select the clips of a real or fake source.

    Args:
        videos: of the source, with different names.
        protocol: the rules of the selection.
        clip_set: real or fake.
        draws: number of selections.
    """
    seed, is_real = protocol.seed, clip_set == "real"
    interval = protocol.real_interval if is_real else protocol.fake_interval
    offset = protocol.real_offset if is_real else protocol.fake_offset
    long_enough = [video for video in videos if video.frames >= protocol.frames * interval]
    names = [video.name for video in long_enough]

    def clip(index: int, draw: int) -> ClipRef:
        video = long_enough[index]
        number = hash_number(seed, draw, clip_set, video.name, "offset")
        frames = window(video.frames, protocol.frames, interval, offset, number)
        assert frames is not None
        return ClipRef(video, frames)

    orders = [video_order(names, protocol.draw, seed, draw, clip_set) for draw in range(draws)]
    count = min(protocol.clips, len(names))
    selected = [tuple(clip(i, d) for i in order[:count]) for d, order in enumerate(orders)]
    real_vs_real = None
    if is_real and count >= 4:
        real_vs_real = _real_vs_real(seed, selected[0], [clip(i, 0) for i in orders[0][count:]])
    return ClipSetPlan(
        videos=tuple(long_enough),
        too_short=tuple(v.name for v in videos if v.frames < protocol.frames * interval),
        draws=tuple(selected),
        real_vs_real=real_vs_real,
    )


def _real_vs_real(seed: int, selected: Sequence[ClipRef], rest: Sequence[ClipRef]) -> DisjointSets:
    """The draw and as many clips of other videos, or the halves of the draw if they are too few."""
    pool = rest if len(rest) >= len(selected) else selected
    order = video_order([clip.video.name for clip in pool], "random", seed, "floor")
    if pool is rest:
        return DisjointSets(tuple(selected), tuple(rest[i] for i in order[: len(selected)]), True)
    half = len(selected) // 2
    first, second = ([selected[i] for i in part] for part in (order[:half], order[half : 2 * half]))
    return DisjointSets(tuple(first), tuple(second), False)


def all_frames(videos: Sequence[Video], frames: int) -> tuple[ClipRef, ...]:
    """Every frame of every video, in clips of at most `frames`, as fid50k_full takes real frames.

    Videos that are too short for a clip are included.
    """
    return tuple(
        ClipRef(video, range(start, min(start + frames, video.frames)))
        for video in videos
        for start in range(0, video.frames, frames)
    )


def split_by_video(refs: Sequence[ClipRef]) -> DisjointSets | None:
    """The clips of every second video, and those of the others; None for fewer than 4 videos."""
    order = list(dict.fromkeys(ref.video.name for ref in refs))
    if len(order) < 4:
        return None
    first, second = set(order[::2][: len(order) // 2]), set(order[1::2])
    return DisjointSets(
        tuple(ref for ref in refs if ref.video.name in first),
        tuple(ref for ref in refs if ref.video.name in second),
        same_size=False,
    )


def last_offset(num_frames: int, frames: int, interval: int) -> int | None:
    """The largest number of a clip's first frame, or None for a video that is too short.

    StyleGAN-V's rule (VideoFramesFolderDataset): a video has at least frames x interval frames,
    although a clip spans interval - 1 fewer.
    """
    if num_frames < frames * interval:
        return None
    return num_frames - frames * interval + interval - 1


def window(
    num_frames: int, frames: int, interval: int, offset: str = "first", number: int = 0
) -> range | None:
    """The frame numbers of a clip, or None for a video that is too short.

    Args:
        num_frames: of the video.
        frames: of the clip.
        interval: from one frame of the clip to the next, in frames of the video.
        offset: `first`, or `random`: each possible first frame is equally likely.
        number: a random number that selects the offset, see `hash_number`.
    """
    last = last_offset(num_frames, frames, interval)
    if last is None:
        return None
    start = number % (last + 1) if offset == "random" else 0
    return range(start, start + (frames - 1) * interval + 1, interval)


def hash_number(*words: object) -> int:
    """A random number of 256 bits: the SHA-256 of these words."""
    text = "\0".join(map(str, words)).encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.sha256(text).digest(), "big")


def video_order(names: Sequence[str], rule: str, *words: object) -> list[int]:
    """The order in which videos are selected, as indices.

    Args:
        names: of the videos, all different.
        rule: `random`, or `first by name`.
        words: what the random order depends on, such as seed, draw and clip set.
    """
    if rule == "random":
        return sorted(range(len(names)), key=lambda index: hash_number(*words, names[index]))
    return sorted(range(len(names)), key=lambda index: names[index])
