"""What a number is made of: the clips that are compared, its draws, and its intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from latte_cli.evaluation.plan import ClipRef, DisjointSets
from latte_cli.evaluation.results.result import Number, RealVsReal

_Z95 = 1.959964
_DIGITS = 6

ClipRefs = Sequence[ClipRef]


@dataclass(frozen=True)
class ClipDraws:
    """The clips that a metric compares.

    Attributes:
        real: the clips of each draw.
        fake: the clips of each draw.
        real_vs_real: two sets of real clips to compare with each other.
        real_is_all: whether the real clips are all frames of all videos, and so not a sample.
    """

    real: Sequence[ClipRefs]
    fake: Sequence[ClipRefs]
    real_vs_real: DisjointSets | None = None
    real_is_all: bool = False

    @property
    def differ(self) -> bool:
        """Whether draws select different clips; the same clips in another order have no spread."""
        clip_sets = [self.fake] if self.real_is_all else [self.real, self.fake]
        return any(
            len({frozenset(ref.key for ref in refs) for refs in draws}) > 1 for draws in clip_sets
        )


def number_of(
    metric: str,
    draws: ClipDraws,
    values: Sequence[float],
    *,
    interval: tuple[float, float] | None = None,
    resamples: int = 0,
    parts_std: float | None = None,
    real_vs_real: RealVsReal | None = None,
    details: Mapping[str, Any] | None = None,
) -> Number:
    """A number from the values of each draw."""
    return Number(
        metric=metric,
        value=rounded(float(np.mean(values))),
        real=len({ref.video.name for ref in draws.real[0]}) if draws.real else 0,
        fake=len(draws.fake[0]),
        draws=tuple(map(rounded, values)),
        std=rounded(float(np.std(values, ddof=1))) if draws.differ else None,
        interval=None if interval is None else (rounded(interval[0]), rounded(interval[1])),
        resamples=resamples,
        parts_std=None if parts_std is None else rounded(parts_std),
        real_vs_real=real_vs_real,
        details=details or {},
    )


def real_vs_real_of(
    sets: DisjointSets | None, distance: Callable[[ClipRefs, ClipRefs], float]
) -> RealVsReal | None:
    """The distance between two sets of real clips."""
    if sets is None:
        return None
    videos = len({ref.video.name for ref in sets.first})
    return RealVsReal(rounded(distance(sets.first, sets.second)), videos, sets.same_size)


def bootstrap(
    resampled: Callable[[np.random.RandomState], float],
    value: float,
    count: int,
    seed: int,
    on_resample: Callable[[], object] = lambda: None,
) -> tuple[float, float] | None:
    """The range of 95 % of the values of resampled clips, shifted so that its median is the value.

    A resampled set holds some clips twice and others not at all, which raises a Fréchet distance
    whatever the clips are; only the spread is informative.

    Args:
        resampled: computes the metric of resampled clips.
        value: of the clips themselves.
        count: number of resamples; 0: no interval.
        seed: of the resampling.
        on_resample: called after each resample.
    """
    if not count:
        return None
    random, values = np.random.RandomState(seed), []  # its streams are frozen
    for _ in range(count):
        values.append(resampled(random))
        on_resample()
    low, middle, high = np.quantile(values, [0.025, 0.5, 0.975])
    return float(value + low - middle), float(value + high - middle)


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of `count` clips (Wilson 1927)."""
    scale = 1 + _Z95**2 / count
    middle = (share + _Z95**2 / (2 * count)) / scale
    half = _Z95 / scale * (share * (1 - share) / count + _Z95**2 / (4 * count**2)) ** 0.5
    return middle - half, middle + half


def rounded(value: float) -> float:
    """To six digits: features are float32, more digits differ between machines."""
    return float(f"{value:.{_DIGITS}g}")
