"""Which steps to compute each pair of blocks at: the best of all schedules, by recorded changes."""

# Axes: p pairs of blocks, s steps, g gap to the computed step before, h gap to the next one.

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_WIDEST = 16  # gap between computed steps that is looked at


def segment_costs(products: Array, weights: Array, widest: int = _WIDEST) -> Array:
    """What it costs to skip the steps between two computed ones.

    Skipped changes are expected on the line through the last two computed ones (see `Residual`).

    Args:
        products: inner products of a pair's changes, (s, s), divided by their size.
        weights: of a step's squared error, (s,).
        widest: gap.

    Returns:
        (g + 1, s, h + 1): weighted sum of the mean squared errors at the steps between j and j + h,
        if j is computed and was so g steps before, at g = 0 for the first time; infinite where that
        cannot be. The end counts as a computed step.
    """
    steps = len(products)
    widest = min(widest, steps)
    costs = np.full((widest + 1, steps, widest + 1), np.inf)
    power = np.diagonal(products)
    for gap in range(widest + 1):
        # At g = 0 there is no line yet: the last change as it was.
        first, last = (gap, steps) if gap else (0, 1)
        now = np.arange(first, last)
        before, total = now - gap, np.zeros(len(now))
        for ahead in range(1, widest + 1):
            there = now + ahead <= steps
            costs[gap, now[there], ahead] = total[there]
            if ahead == widest:
                break
            step = np.minimum(now + ahead, steps - 1)
            a = ahead / gap if gap else 0.0
            error = (
                power[step] + (1 + a) ** 2 * power[now] + a**2 * power[before]
                - 2 * (1 + a) * products[step, now] + 2 * a * products[step, before]
                - 2 * a * (1 + a) * products[now, before]
            )  # fmt: skip
            total = total + weights[step] * np.maximum(error, 0)
    return costs


def best_steps(costs: Array) -> tuple[Array, list[frozenset[int]]]:
    """For each number of computed steps the schedule that costs least, the first step in it.

    Args:
        costs: from `segment_costs`.

    Returns:
        For 0 to s computed steps the least cost, infinite where no schedule is, and its steps.
    """
    gaps, steps, _ = costs.shape
    # best[g, j]: of so many computed steps, the last being j and the one before g steps earlier.
    best = np.full((gaps, steps + 1), np.inf)
    best[0, 0] = 0
    least, came = np.full(steps + 1, np.inf), []
    ends = []
    for count in range(1, steps + 1):
        following = np.full((gaps, steps + 1), np.inf)
        origin = np.zeros((gaps, steps + 1), int)
        for ahead in range(1, gaps):
            ways = best[:, : steps + 1 - ahead] + costs[:, : steps + 1 - ahead, ahead]
            origin[ahead, ahead:] = ways.argmin(axis=0)
            following[ahead, ahead:] = ways.min(axis=0)
        came.append(origin)
        ends.append(int(following[:, steps].argmin()))
        least[count] = following[:, steps].min()
        best = following
    found = [frozenset[int]()]
    for count in range(1, steps + 1):
        found.append(_walk_back(came[:count], ends[count - 1], steps))
    return least, found


def _walk_back(came: Sequence[NDArray[np.int_]], gap: int, step: int) -> frozenset[int]:
    """The computed steps before the end, by the gaps that led there."""
    steps = []
    for origin in reversed(came):
        gap, step = int(origin[gap, step]), step - gap
        steps.append(step)
    return frozenset(steps)


def share_out(least: Sequence[Array], budget: int) -> list[int]:
    """How many steps to compute each pair at, so that all together cost least.

    Args:
        least: for each pair the cost at 0 to s computed steps.
        budget: steps computed of all pairs together, at most.

    Returns:
        A number for each pair.
    """
    total, choices = np.zeros(1), []
    for costs in least:
        size = min(budget, len(total) + len(costs) - 2)
        table = np.full((size + 1, len(costs)), np.inf)
        for count, cost in enumerate(costs):
            end = min(size + 1, count + len(total))
            if count < end:
                table[count:end, count] = total[: end - count] + cost
        choices.append(table.argmin(axis=1))
        total = table.min(axis=1)
    left, counts = int(total.argmin()), []
    for choice in reversed(choices):
        counts.append(int(choice[left]))
        left -= counts[-1]
    return counts[::-1]
