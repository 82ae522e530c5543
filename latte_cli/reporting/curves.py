"""Curves of a run, thinned so that a page stays small: means, and the extremes of each part."""

# Axes: n logged steps, p points of a thinned curve.

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_POINTS = 1200
"""Points of a thinned curve: more than a wide screen shows pixels for a chart."""

_DIGITS = 5


@dataclass(frozen=True)
class Curve:
    """A value over training steps.

    Attributes:
        steps: ascending, (p,).
        values: of the steps, or means over the parts that they stand for, (p,).
        lows: smallest values of the parts, (p,); None if nothing was left out.
        highs: largest values of the parts, (p,); None if nothing was left out.
    """

    steps: Sequence[int]
    values: Sequence[float]
    lows: Sequence[float] | None = None
    highs: Sequence[float] | None = None

    def as_values(self) -> dict[str, Any]:
        """For the page: short names, and digits that can be seen."""
        found: dict[str, Any] = {"x": list(self.steps), "y": _rounded(self.values)}
        if self.lows is not None and self.highs is not None:
            found |= {"lo": _rounded(self.lows), "hi": _rounded(self.highs)}
        return found


def curves_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Curve]:
    """The curve of every number in metrics.jsonl, by its key.

    Values that are not known or not finite are left out.

    Args:
        rows: lines of metrics.jsonl, in the order of their steps.
    """
    steps = np.array([row["step"] for row in rows], np.int64)
    found = {}
    for key in dict.fromkeys(key for row in rows for key in row if key != "step"):
        values = column(rows, key)
        known = np.isfinite(values)
        if known.any():
            found[key] = thinned(steps[known], values[known])
    return found


def column(rows: Sequence[Mapping[str, Any]], key: str) -> NDArray[np.float64]:
    """A value of every row, (n,); what is missing or no number is not finite."""
    values = [row.get(key) for row in rows]
    try:
        return np.array(values, np.float64)  # None becomes nan
    except (TypeError, ValueError):
        numbers = [value if is_number(value) else math.nan for value in values]
        return np.array(numbers, np.float64)


def is_number(value: object) -> bool:
    """Whether a value of a JSON file is a finite number."""
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_real and math.isfinite(value)  # type: ignore[arg-type]  # a number, as checked


def thinned(
    steps: NDArray[np.int64], values: NDArray[np.float64], most: int = MOST_POINTS
) -> Curve:
    """A curve of at most so many points; the first and the last step stay where they are.

    Args:
        steps: ascending, (n,).
        values: finite, (n,).
        most: points, at least 3.
    """
    count = len(steps)
    if count <= most:
        return Curve(steps.tolist(), values.tolist())
    # The ends are parts of their own, so that the axis begins and ends where the run does.
    inner = np.linspace(1, count - 1, most - 1).astype(int)
    starts = np.concatenate([[0], inner])
    sizes = np.diff(np.append(starts, count))
    return Curve(
        steps[starts + sizes // 2].tolist(),
        (np.add.reduceat(values, starts) / sizes).tolist(),
        np.minimum.reduceat(values, starts).tolist(),
        np.maximum.reduceat(values, starts).tolist(),
    )


def _rounded(values: Iterable[float]) -> list[float]:
    return [float(f"{value:.{_DIGITS}g}") for value in values]
