"""From features to numbers: each metric over all draws."""

# Axes: n rows, d width of a row.

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latte_cli.evaluation.features.store import (
    AnyFeatures,
    ClipFeatures,
    FeatureStore,
    FrameFeatures,
)
from latte_cli.evaluation.metric_table import INCEPTION_SPLITS, METRICS
from latte_cli.evaluation.plan import ClipRef, DisjointSets, hash_number
from latte_cli.evaluation.results.result import Number, RealVsReal
from latte_cli.metrics.protocol import Protocol
from latte_cli.metrics.scores import inception_score, polynomial_mmd_subsets
from latte_cli.runtime.errors import DataError

_FRAME_RESAMPLES = 20  # a covariance of 2048 x 2048 over all frames takes seconds each
_MMD_ROWS = 10_000  # at most, so that frames of any number of clips fit into memory
_Z95 = 1.959964
_DIGITS = 6

ClipRefs = Sequence[ClipRef]
Stores = Mapping[str, FeatureStore]
"""`real` and `fake`, which hold the rows of all measured clips."""


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


def measure(
    metric: str, draws: ClipDraws, stores: Stores, protocol: Protocol, resamples: int
) -> Number:
    """Compute one metric over all draws.

    Args:
        metric: fvd, kvd, fid, kid, is, direction or fd-random.
        draws: the clips.
        stores: their rows.
        protocol: how they are compared.
        resamples: of the bootstrap; 0: no interval.

    Raises:
        DataError: if there are too few clips, or labels are missing.
    """
    if METRICS[metric].fakes_only:
        draws = ClipDraws((), draws.fake)
    least, fewest = METRICS[metric].least_clips, min(map(len, [*draws.real, *draws.fake]))
    if fewest < least:
        raise DataError(f"{fewest} clips, {metric} needs at least {least}", hint="give more videos")
    match metric:
        case "is":
            return _inception(draws, stores["fake"], protocol, resamples)
        case "direction":
            return _direction(draws, stores["fake"])
        case "kvd" | "kid":
            return _mmd(metric, draws, stores, protocol)
        case "fid":
            count = min(resamples, _FRAME_RESAMPLES)
            return _frechet(metric, draws, stores, protocol, count, FrameFeatures)
        case _:
            return _frechet(metric, draws, stores, protocol, resamples, ClipFeatures.load)


def _frechet(
    metric: str,
    draws: ClipDraws,
    stores: Stores,
    protocol: Protocol,
    resamples: int,
    rows_of: Callable[[FeatureStore, ClipRefs], AnyFeatures],
) -> Number:
    ddof = protocol.ddof
    real, fake = rows_of(stores["real"], draws.real[0]), rows_of(stores["fake"], draws.fake[0])
    values = [real.distance(fake, ddof)]
    for real_refs, fake_refs in zip(draws.real[1:], draws.fake[1:], strict=True):
        rows = real if draws.real_is_all else rows_of(stores["real"], real_refs)
        values.append(rows.distance(rows_of(stores["fake"], fake_refs), ddof))

    def resampled(random: np.random.RandomState) -> float:
        chosen = real if draws.real_is_all else real.resampled(random)
        return chosen.distance(fake.resampled(random), ddof)

    def real_vs_real(a: ClipRefs, b: ClipRefs) -> float:
        return rows_of(stores["real"], a).distance(rows_of(stores["real"], b), ddof)

    interval = bootstrap(resampled, values[0], resamples, protocol.seed)
    if interval is not None:
        interval = (max(interval[0], 0.0), interval[1])  # a distance is not negative
    return number_of(
        metric,
        draws,
        values,
        interval=interval,
        resamples=resamples,
        real_vs_real=real_vs_real_of(draws.real_vs_real, real_vs_real),
    )


def _mmd(metric: str, draws: ClipDraws, stores: Stores, protocol: Protocol) -> Number:
    def rows(clip_set: str, refs: ClipRefs) -> NDArray[np.float32]:
        """The rows of a random part of the clips, if all have more rows than are needed."""
        store, keys, count = stores[clip_set], [], 0
        for ref in sorted(refs, key=lambda ref: hash_number(protocol.seed, "mmd", ref.key)):
            keys.append(ref.key)
            count += store.row_count(ref.key)
            if count >= _MMD_ROWS:
                break
        return store.matrix(keys)

    def real_vs_real(a: ClipRefs, b: ClipRefs) -> float:
        return polynomial_mmd_subsets(rows("real", a), rows("real", b), seed=protocol.seed).mean

    pairs = zip(draws.real, draws.fake, strict=True)
    spreads = [
        polynomial_mmd_subsets(rows("real", a), rows("fake", b), seed=protocol.seed)
        for a, b in pairs
    ]
    return number_of(
        metric,
        draws,
        [spread.mean for spread in spreads],
        parts_std=spreads[0].std,
        real_vs_real=real_vs_real_of(draws.real_vs_real, real_vs_real),
    )


def _inception(draws: ClipDraws, store: FeatureStore, protocol: Protocol, resamples: int) -> Number:
    first = _probabilities(store, draws.fake[0])
    spreads = [
        inception_score(_probabilities(store, refs), INCEPTION_SPLITS) for refs in draws.fake
    ]

    def resampled(random: np.random.RandomState) -> float:
        chosen = random.randint(len(first), size=len(first))
        return inception_score(first[chosen], INCEPTION_SPLITS).mean

    return number_of(
        "is",
        draws,
        [spread.mean for spread in spreads],
        interval=bootstrap(resampled, spreads[0].mean, resamples, protocol.seed),
        resamples=resamples,
        parts_std=spreads[0].std,
    )


def _probabilities(store: FeatureStore, refs: ClipRefs) -> NDArray[np.float32]:
    """float32, as the published detector gives them: (n, classes)."""
    logits = store.matrix([ref.key for ref in refs])
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float32] = exponents / exponents.sum(axis=1, keepdims=True)
    return shares


def _direction(draws: ClipDraws, store: FeatureStore) -> Number:
    """Share of clips that move as their label says, with Wilson's interval."""
    values = []
    for refs in draws.fake:
        labels = [ref.video.label for ref in refs]
        if None in labels:
            raise DataError(
                "`direction` needs the label of every clip, some are without a label",
                hint="name files as `latte sample` does, give a checkpoint, or remove `direction` "
                "from --metrics",
            )
        measured = store.matrix([ref.key for ref in refs])[:, 0]
        values.append(float((measured == np.array(labels)).mean()))
    share, count = values[0], len(draws.fake[0])
    scale = 1 + _Z95**2 / count
    middle = (share + _Z95**2 / (2 * count)) / scale
    half = _Z95 / scale * (share * (1 - share) / count + _Z95**2 / (4 * count**2)) ** 0.5
    return number_of("direction", draws, values, interval=(middle - half, middle + half))


def number_of(
    metric: str,
    draws: ClipDraws,
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
        real=len({ref.video.name for ref in draws.real[0]}) if draws.real else 0,
        fake=len(draws.fake[0]),
        draws=tuple(map(rounded, values)),
        std=rounded(float(np.std(values, ddof=1))) if draws.differ else None,
        interval=None if interval is None else (rounded(interval[0]), rounded(interval[1])),
        resamples=resamples,
        parts_std=None if parts_std is None else rounded(parts_std),
        real_vs_real=real_vs_real,
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
    resampled: Callable[[np.random.RandomState], float], value: float, count: int, seed: int
) -> tuple[float, float] | None:
    """The range of 95 % of the values of resampled clips, shifted so that its median is the value.

    A resampled set holds some clips twice and others not at all, which raises a Fréchet distance
    whatever the clips are; only the spread is informative.

    Args:
        resampled: computes the metric of resampled clips.
        value: of the clips themselves.
        count: number of resamples; 0: no interval.
        seed: of the resampling.
    """
    if not count:
        return None
    random = np.random.RandomState(seed)  # its streams are frozen
    low, middle, high = np.quantile([resampled(random) for _ in range(count)], [0.025, 0.5, 0.975])
    return float(value + low - middle), float(value + high - middle)


def rounded(value: float) -> float:
    """To six digits: features are float32, more digits differ between machines."""
    return float(f"{value:.{_DIGITS}g}")
