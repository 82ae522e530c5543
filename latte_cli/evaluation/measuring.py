"""From features to numbers: each metric over all draws."""

# Axes: n rows, d width of a row.

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from latte_cli.evaluation.features.store import (
    AnyFeatures,
    ClipFeatures,
    FeatureStore,
    FrameFeatures,
)
from latte_cli.evaluation.plan import hash_number
from latte_cli.evaluation.results.numbers import (
    Number,
    Refs,
    Sets,
    bootstrap,
    number_of,
    real_vs_real_of,
)
from latte_cli.metrics.protocol import Protocol
from latte_cli.metrics.scores import inception_score, polynomial_mmd_subsets
from latte_cli.runtime.errors import DataError

_FRAME_RESAMPLES = 20  # a covariance of 2048 x 2048 over all frames takes seconds each
_MMD_ROWS = 10_000  # at most, so that frames of any number of clips fit into memory
_SPLITS = 10
_Z95 = 1.959964

ALONE = ("is", "direction")
"""Metrics that look at fakes alone."""

BIASED = ("fvd", "fid", "fd-random", "is")
"""Metrics whose value depends on the number of clips: fewer raise a Fréchet distance and lower the
Inception Score, whatever the clips are."""

Stores = Mapping[str, FeatureStore]
"""`real` and `fake`, which hold the rows of all clips that are measured."""


def measure(metric: str, sets: Sets, stores: Stores, protocol: Protocol, resamples: int) -> Number:
    """One metric over all draws.

    Args:
        metric: fvd, kvd, fid, kid, is, direction or fd-random.
        sets: the clips.
        stores: their rows.
        protocol: how they are compared.
        resamples: of the bootstrap; 0: no interval.

    Raises:
        DataError: if there are too few clips for it, or labels are missing.
    """
    if metric in ALONE:
        sets = Sets((), sets.fake)
    least = least_clips(metric)
    fewest = min(len(refs) for refs in [*sets.real, *sets.fake])
    if fewest < least:
        raise DataError(f"{fewest} clips, {metric} needs at least {least}", hint="give more videos")
    match metric:
        case "is":
            return _inception(sets, stores["fake"], protocol, resamples)
        case "direction":
            return _direction(sets, stores["fake"])
        case "kvd" | "kid":
            return _mmd(metric, sets, stores, protocol)
        case "fid":
            count = min(resamples, _FRAME_RESAMPLES)
            return _frechet(metric, sets, stores, protocol, count, FrameFeatures)
        case _:
            return _frechet(metric, sets, stores, protocol, resamples, ClipFeatures.load)


def least_clips(metric: str) -> int:
    """How many clips a metric needs."""
    return _SPLITS if metric == "is" else 1 if metric == "direction" else 2


def _frechet(
    metric: str,
    sets: Sets,
    stores: Stores,
    protocol: Protocol,
    resamples: int,
    rows_of: Callable[[FeatureStore, Refs], AnyFeatures],
) -> Number:
    ddof = protocol.ddof
    real, fake = rows_of(stores["real"], sets.real[0]), rows_of(stores["fake"], sets.fake[0])
    values = [real.distance(fake, ddof)]
    for real_refs, fake_refs in zip(sets.real[1:], sets.fake[1:], strict=True):
        others = real if sets.real_is_all else rows_of(stores["real"], real_refs)
        values.append(others.distance(rows_of(stores["fake"], fake_refs), ddof))

    def again(random: np.random.RandomState) -> float:
        reals = real if sets.real_is_all else real.resampled(random)
        return reals.distance(fake.resampled(random), ddof)

    def real_vs_real(a: Refs, b: Refs) -> float:
        return rows_of(stores["real"], a).distance(rows_of(stores["real"], b), ddof)

    interval = bootstrap(again, values[0], resamples, protocol.seed)
    if interval is not None:
        interval = (max(interval[0], 0.0), interval[1])  # no distance is below
    return number_of(
        metric,
        sets,
        values,
        interval=interval,
        resamples=resamples,
        real_vs_real=real_vs_real_of(sets.real_vs_real, real_vs_real),
    )


def _mmd(metric: str, sets: Sets, stores: Stores, protocol: Protocol) -> Number:
    def rows(clip_set: str, refs: Refs) -> NDArray[np.float32]:
        """Of some clips by chance, where there are more rows than are needed."""
        store, keys, count = stores[clip_set], [], 0
        for ref in sorted(refs, key=lambda ref: hash_number(protocol.seed, "mmd", ref.key)):
            keys.append(ref.key)
            count += store.row_count(ref.key)
            if count >= _MMD_ROWS:
                break
        return store.matrix(keys)

    def real_vs_real(a: Refs, b: Refs) -> float:
        return polynomial_mmd_subsets(rows("real", a), rows("real", b), seed=protocol.seed).mean

    pairs = zip(sets.real, sets.fake, strict=True)
    spreads = [
        polynomial_mmd_subsets(rows("real", a), rows("fake", b), seed=protocol.seed)
        for a, b in pairs
    ]
    return number_of(
        metric,
        sets,
        [spread.mean for spread in spreads],
        parts_std=spreads[0].std,
        real_vs_real=real_vs_real_of(sets.real_vs_real, real_vs_real),
    )


def _inception(sets: Sets, store: FeatureStore, protocol: Protocol, resamples: int) -> Number:
    first = _probabilities(store, sets.fake[0])
    spreads = [inception_score(_probabilities(store, refs), _SPLITS) for refs in sets.fake]

    def again(random: np.random.RandomState) -> float:
        chosen = random.randint(len(first), size=len(first))
        return inception_score(first[chosen], _SPLITS).mean

    return number_of(
        "is",
        sets,
        [spread.mean for spread in spreads],
        interval=bootstrap(again, spreads[0].mean, resamples, protocol.seed),
        resamples=resamples,
        parts_std=spreads[0].std,
    )


def _probabilities(store: FeatureStore, refs: Refs) -> NDArray[np.float32]:
    """float32, as the published detector gives them: (n, classes)."""
    logits = store.matrix([ref.key for ref in refs])
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: NDArray[np.float32] = exponents / exponents.sum(axis=1, keepdims=True)
    return shares


def _direction(sets: Sets, store: FeatureStore) -> Number:
    """Share of clips that move as their label says, with Wilson's interval."""
    values = []
    for refs in sets.fake:
        labels = [ref.video.label for ref in refs]
        if None in labels:
            raise DataError(
                "clips without a label have no direction that they should move in",
                hint="name files as `latte sample` does, give a checkpoint, or leave `direction` "
                "out of --metrics",
            )
        measured = store.matrix([ref.key for ref in refs])[:, 0]
        values.append(float((measured == np.array(labels)).mean()))
    share, count = values[0], len(sets.fake[0])
    scale = 1 + _Z95**2 / count
    middle = (share + _Z95**2 / (2 * count)) / scale
    half = _Z95 / scale * (share * (1 - share) / count + _Z95**2 / (4 * count**2)) ** 0.5
    return number_of("direction", sets, values, interval=(middle - half, middle + half))
