"""The rows of a set of clips, as Fréchet distances take them: in memory, or streamed from disk."""

# Axes: n rows, d width of a row.

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from latte_cli.evaluation.features.store import FeatureStore
from latte_cli.evaluation.plan import ClipRef
from latte_cli.metrics.frechet import Moments, frechet_distance, frechet_from_moments

_ROWS_AT_A_TIME = 1024

AnyRows = TypeVar("AnyRows", bound="Rows")


class Rows(Protocol):
    """The rows of some clips."""

    def resampled(self: AnyRows, random: np.random.RandomState) -> AnyRows:
        """Those of as many clips, drawn from these with repetition."""

    def distance(self: AnyRows, other: AnyRows, ddof: int) -> float:
        """The Fréchet distance."""


class ClipRows:
    """A row a clip: few enough to be in memory, however many clips there are.

    Args:
        rows: (n, d).
    """

    def __init__(self, rows: NDArray[np.float32]) -> None:
        self._rows = rows

    @classmethod
    def of(cls, store: FeatureStore, refs: Sequence[ClipRef]) -> ClipRows:
        """The rows of some clips."""
        return cls(store.matrix([ref.key for ref in refs]))

    def resampled(self, random: np.random.RandomState) -> ClipRows:
        """See `Rows`."""
        return ClipRows(self._rows[random.randint(len(self._rows), size=len(self._rows))])

    def distance(self, other: ClipRows, ddof: int) -> float:
        """See `Rows`."""
        return frechet_distance(self._rows, other._rows, ddof)


class FrameRows:
    """A row a frame: only mean and covariance are ever in memory.

    Args:
        store: that holds the rows.
        keys: of the clips; one may be in it several times.
    """

    def __init__(self, store: FeatureStore, keys: Sequence[str]) -> None:
        self._store, self._keys = store, keys

    @classmethod
    def of(cls, store: FeatureStore, refs: Sequence[ClipRef]) -> FrameRows:
        """The rows of some clips."""
        return cls(store, [ref.key for ref in refs])

    def resampled(self, random: np.random.RandomState) -> FrameRows:
        """See `Rows`."""
        chosen = random.randint(len(self._keys), size=len(self._keys))
        return FrameRows(self._store, [self._keys[index] for index in chosen])

    def distance(self, other: FrameRows, ddof: int) -> float:
        """See `Rows`."""
        return frechet_from_moments(self._moments, other._moments, ddof)

    @cached_property
    def _moments(self) -> Moments:
        times: dict[str, int] = {}
        for key in self._keys:
            times[key] = times.get(key, 0) + 1
        total: Moments | None = None
        waiting: list[NDArray[np.float32]] = []
        for key, rows in self._store.blocks(list(times)):
            waiting += [rows] * times[key]
            if sum(map(len, waiting)) >= _ROWS_AT_A_TIME:
                total, waiting = _joined(total, waiting), []
        if waiting or total is None:
            total = _joined(total, waiting)
        return total


def _joined(total: Moments | None, waiting: list[NDArray[np.float32]]) -> Moments:
    rows = np.concatenate(waiting)
    if total is None:
        return Moments.of(rows)
    total.update(rows)
    return total
