"""Which clips of a source are measured: in each draw, and for the floor of the noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from latte_cli.evaluation.sources.videos import Video
from latte_cli.metrics.clips import draw_order, ticket, window
from latte_cli.metrics.protocol import Protocol

ClipSetName = Literal["real", "fake"]


@dataclass(frozen=True)
class ClipRef:
    """A clip: frames of a video."""

    video: Video
    window: range

    @property
    def key(self) -> str:
        """What its features are known by."""
        w = self.window
        return f"{self.video.key}@{w[0]}+{w.step}x{len(w)}"


@dataclass(frozen=True)
class DisjointSets:
    """Two sets of clips of one source that share no video.

    Attributes:
        first: some clips.
        second: as many others.
        same_size: whether each is as large as a draw; else the source has too few videos, and each
            is half of what there is.
    """

    first: tuple[ClipRef, ...]
    second: tuple[ClipRef, ...]
    same_size: bool


@dataclass(frozen=True)
class ClipSetPlan:
    """What is measured of one source.

    Attributes:
        videos: that are long enough.
        too_short: names of the others.
        draws: the clips of each draw; all draws are of one size.
        real_vs_real: clips of this source to hold against each other.
    """

    videos: tuple[Video, ...]
    too_short: tuple[str, ...]
    draws: tuple[tuple[ClipRef, ...], ...]
    real_vs_real: DisjointSets | None


def plan_clip_set(
    videos: Sequence[Video], protocol: Protocol, clip_set: ClipSetName, draws: int
) -> ClipSetPlan:
    """Choose the clips of one side.

    Args:
        videos: of the source, with different names.
        protocol: by which they are chosen.
        clip_set: real or fake.
        draws: how often clips are drawn.
    """
    interval, offset = (
        (protocol.real_interval, protocol.real_offset)
        if clip_set == "real"
        else (protocol.fake_interval, protocol.fake_offset)
    )
    long_enough = [v for v in videos if v.frames >= protocol.frames * interval]
    names = [video.name for video in long_enough]

    def clip(index: int, draw: int) -> ClipRef:
        video, drawn = (
            long_enough[index],
            ticket(protocol.seed, draw, clip_set, names[index], "offset"),
        )
        frames = window(video.frames, protocol.frames, interval, offset, drawn)
        assert frames is not None
        return ClipRef(video, frames)

    orders = [
        draw_order(names, protocol.draw, protocol.seed, draw, clip_set) for draw in range(draws)
    ]
    count = min(protocol.clips, len(names))
    chosen = [tuple(clip(i, d) for i in order[:count]) for d, order in enumerate(orders)]
    real_vs_real = None
    if clip_set == "real" and count >= 4:
        real_vs_real = _real_vs_real(protocol, chosen[0], [clip(i, 0) for i in orders[0][count:]])
    return ClipSetPlan(
        videos=tuple(long_enough),
        too_short=tuple(v.name for v in videos if v.frames < protocol.frames * interval),
        draws=tuple(chosen),
        real_vs_real=real_vs_real,
    )


def _real_vs_real(
    protocol: Protocol, chosen: Sequence[ClipRef], rest: Sequence[ClipRef]
) -> DisjointSets:
    """The draw and as many clips of other videos; the draw's halves where there are not so many."""
    if len(rest) >= len(chosen):
        order = draw_order([c.video.name for c in rest], "random", protocol.seed, "floor")
        return DisjointSets(tuple(chosen), tuple(rest[i] for i in order[: len(chosen)]), True)
    order = draw_order([c.video.name for c in chosen], "random", protocol.seed, "floor")
    half = len(chosen) // 2
    first, second = ([chosen[i] for i in part] for part in (order[:half], order[half : 2 * half]))
    return DisjointSets(tuple(first), tuple(second), False)


def all_frames(videos: Sequence[Video], frames: int) -> tuple[ClipRef, ...]:
    """Every frame of every video, so many at a time, as fid50k_full takes them of the real ones.

    Videos that are too short for a clip are among them.
    """
    return tuple(
        ClipRef(video, range(start, min(start + frames, video.frames)))
        for video in videos
        for start in range(0, video.frames, frames)
    )
