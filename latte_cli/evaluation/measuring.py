"""From features to numbers: each metric over all draws."""

# Axes: n rows, d width of a row.

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from latte_cli.evaluation.features.store import (
    AnyFeatures,
    ClipFeatures,
    FeatureStore,
    FrameFeatures,
)
from latte_cli.evaluation.metric_table import INCEPTION_SPLITS, METRICS
from latte_cli.evaluation.numbers import (
    ClipDraws,
    ClipRefs,
    bootstrap,
    number_of,
    real_vs_real_of,
)
from latte_cli.evaluation.plan import hash_number
from latte_cli.evaluation.protocol import Protocol
from latte_cli.evaluation.results.result import Number
from latte_cli.evaluation.shares import (
    share_moving_as_asked,
    share_of_named_color,
    share_with_one_shape,
)
from latte_cli.metrics.scores import inception_score, polynomial_mmd_subsets
from latte_cli.runtime.errors import DataError

_WITHOUT_BOOTSTRAP = ("kvd", "kid", "direction", "color", "shape")
_Resampled = Callable[[np.random.RandomState], float]
_IntervalOf = Callable[[_Resampled, float], tuple[float, float] | None]
_FRAME_RESAMPLES = 20  # a covariance of 2048 x 2048 over all frames takes seconds each
_MMD_ROWS = 10_000  # at most, so that frames of any number of clips fit into memory

Stores = Mapping[str, FeatureStore]
"""`real` and `fake`, which hold the rows of all measured clips."""


def count_resamples(metric: str, resamples: int) -> int:
    """Resamples that a metric's interval takes, of those that are configured."""
    if metric in _WITHOUT_BOOTSTRAP:
        return 0
    return min(resamples, _FRAME_RESAMPLES) if metric == "fid" else resamples


def measure(
    metric: str,
    draws: ClipDraws,
    stores: Stores,
    protocol: Protocol,
    resamples: int,
    on_resample: Callable[[], object] = lambda: None,
) -> Number:
    """Compute one metric over all draws.

    Args:
        metric: fvd, kvd, fid, kid, is, direction, color, shape or fd-random.
        draws: the clips.
        stores: their rows.
        protocol: how they are compared.
        resamples: of the bootstrap; 0: no interval.
        on_resample: called after each of them.

    Raises:
        DataError: if there are too few clips, or labels are missing.
    """
    if METRICS[metric].fakes_only:
        draws = ClipDraws((), draws.fake)
    least, fewest = METRICS[metric].least_clips, min(map(len, [*draws.real, *draws.fake]))
    if fewest < least:
        raise DataError(
            f"{fewest} clips, {metric} needs at least {least}",
            hint=f"give at least {least} videos, or leave {metric} out",
        )
    count = count_resamples(metric, resamples)
    interval_of = partial(bootstrap, count=count, seed=protocol.seed, on_resample=on_resample)
    match metric:
        case "is":
            return _inception(draws, stores["fake"], interval_of, count)
        case "direction":
            return share_moving_as_asked(draws, stores["fake"])
        case "color":
            return share_of_named_color(draws, stores["fake"])
        case "shape":
            return share_with_one_shape(draws, stores["fake"])
        case "kvd" | "kid":
            return _mmd(metric, draws, stores, protocol)
        case "fid":
            number = _frechet(metric, draws, stores, protocol.ddof, interval_of, FrameFeatures)
        case _:
            load = ClipFeatures.load
            number = _frechet(metric, draws, stores, protocol.ddof, interval_of, load)
    return replace(number, resamples=count)


def _frechet(
    metric: str,
    draws: ClipDraws,
    stores: Stores,
    ddof: int,
    interval_of: _IntervalOf,
    rows_of: Callable[[FeatureStore, ClipRefs], AnyFeatures],
) -> Number:
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

    interval = interval_of(resampled, values[0])
    if interval is not None:
        interval = (max(interval[0], 0.0), interval[1])  # a distance is not negative
    return number_of(
        metric,
        draws,
        values,
        interval=interval,
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


def _inception(
    draws: ClipDraws, store: FeatureStore, interval_of: _IntervalOf, resamples: int
) -> Number:
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
        interval=interval_of(resampled, spreads[0].mean),
        resamples=resamples,
        parts_std=spreads[0].std,
    )


def _probabilities(store: FeatureStore, refs: ClipRefs) -> NDArray[np.float32]:
    """float32, as the published detector gives them: (n, classes)."""
    logits = store.matrix([ref.key for ref in refs])
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float32] = exponents / exponents.sum(axis=1, keepdims=True)
    return shares
