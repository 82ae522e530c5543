"""What a measured number is: a value, its spread over draws, an interval, and a floor."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from latte_cli.evaluation.plan import ClipRef, DisjointSets

_DIGITS = 6

Refs = Sequence[ClipRef]


@dataclass(frozen=True)
class Sets:
    """The clips that a metric compares.

    Attributes:
        real: of each draw.
        fake: of each draw.
        real_vs_real: real clips to hold against other real ones.
        real_is_all: whether the real side is all there is, and so no sample of anything.
    """

    real: Sequence[Refs]
    fake: Sequence[Refs]
    real_vs_real: DisjointSets | None = None
    real_is_all: bool = False


@dataclass(frozen=True)
class RealVsReal:
    """What the metric says of real clips against other real clips: below it all is noise.

    Attributes:
        value: of the metric.
        videos: of each of both sets.
        same_size: whether those are as many as were measured; where there were too few videos they
            are half as many, and the value is larger than the floor is.
    """

    value: float
    videos: int
    same_size: bool


@dataclass(frozen=True)
class Number:
    """A metric's value with all that tells how far to trust it.

    Attributes:
        metric: its name.
        value: the mean over draws.
        real: videos of a draw; 0 where the metric looks at fakes alone.
        fake: videos of a draw.
        draws: the value of each draw.
        std: standard deviation over draws (of a sample); None with one draw, and where all are of
            the same clips.
        interval: 95 %, of the first draw: by bootstrap over clips, or Wilson's for a share.
        resamples: of the bootstrap.
        parts_std: standard deviation over the parts that the metric itself is the mean of: splits
            of the Inception Score, subsets of KVD and KID, videos of PSNR, SSIM and LPIPS.
        real_vs_real: of distances.
        network: that made the features.
        protocol_hash: of the protocol with this network's weights; of a paired metric, which takes
            frames as they are, of the real ones.
        note: what the number must not be taken for.
    """

    metric: str
    value: float
    real: int
    fake: int
    draws: tuple[float, ...] = ()
    std: float | None = None
    interval: tuple[float, float] | None = None
    resamples: int = 0
    parts_std: float | None = None
    real_vs_real: RealVsReal | None = None
    network: str = ""
    protocol_hash: str = ""
    note: str = ""

    def as_values(self) -> dict[str, Any]:
        """For a result file."""
        return {key: value for key, value in asdict(self).items() if key != "metric"}


def number_of(
    metric: str,
    sets: Sets,
    values: Sequence[float],
    *,
    interval: tuple[float, float] | None = None,
    resamples: int = 0,
    parts_std: float | None = None,
    real_vs_real: RealVsReal | None = None,
) -> Number:
    """A number from the values of each draw."""
    return Number(
        metric=metric,
        value=rounded(float(np.mean(values))),
        real=len({ref.video.name for ref in sets.real[0]}) if sets.real else 0,
        fake=len(sets.fake[0]),
        draws=tuple(map(rounded, values)),
        std=rounded(float(np.std(values, ddof=1))) if _draws_differ(sets) else None,
        interval=None if interval is None else (rounded(interval[0]), rounded(interval[1])),
        resamples=resamples,
        parts_std=None if parts_std is None else rounded(parts_std),
        real_vs_real=real_vs_real,
    )


def _draws_differ(sets: Sets) -> bool:
    """Whether draws are of different clips: the order of the same ones is no chance to measure."""
    clip_sets = [sets.fake] if sets.real_is_all else [sets.real, sets.fake]
    return any(
        len({frozenset(ref.key for ref in refs) for refs in draws}) > 1 for draws in clip_sets
    )


def real_vs_real_of(
    halves: DisjointSets | None, value: Callable[[Refs, Refs], float]
) -> RealVsReal | None:
    """The floor, by what a metric says of two sets of real clips."""
    if halves is None:
        return None
    videos = len({ref.video.name for ref in halves.first})
    return RealVsReal(rounded(value(halves.first, halves.second)), videos, halves.same_size)


def bootstrap(
    again: Callable[[np.random.RandomState], float], value: float, count: int, seed: int
) -> tuple[float, float] | None:
    """Where 95 % of the values of resampled clips lie, moved so that their median is the value.

    A resampled set holds some clips twice and others not at all, which raises a Fréchet distance
    whatever the clips are; it is the spread that tells something.

    Args:
        again: the metric of resampled clips.
        value: of the clips themselves.
        count: how often; 0: no interval.
        seed: of the resampling.
    """
    if not count:
        return None
    random = np.random.RandomState(seed)  # its streams are frozen
    low, middle, high = np.quantile([again(random) for _ in range(count)], [0.025, 0.5, 0.975])
    return float(value + low - middle), float(value + high - middle)


def rounded(value: float) -> float:
    """To six digits: features are float32, so further ones say nothing and differ by machine."""
    return float(f"{value:.{_DIGITS}g}")
