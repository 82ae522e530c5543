"""The best of all schedules at a speed, by dynamic programming over recorded residuals."""

# Axes: p pairs of blocks, s steps, g gap to the computed step before, h gap to the next one.

from collections.abc import Sequence
from itertools import pairwise
from math import floor

import numpy as np
from numpy.typing import NDArray

from latte_cli.caching.block_skipping import Schedule
from latte_cli.runtime.errors import ConfigError

Array = NDArray[np.float64]

_MAX_GAP = 16  # between computed steps


def find_schedule(
    grams: Sequence[Array], weights: Array, speed: float, resets: Sequence[int] = (0,)
) -> Schedule:
    """The schedule with the least cost at a speed.

    Args:
        grams: of each pair, (s, s); see `skip_costs`.
        weights: of a step's squared error, (s,).
        speed: how many times fewer blocks are to be computed, at least.
        resets: steps at which nothing is cached, ascending, the first one among them.

    Raises:
        ConfigError: if the speed leaves fewer steps than a schedule needs.
    """
    chunks = [slice(*ends) for ends in pairwise([*resets, len(weights)])]
    searched = [
        best_schedules(skip_costs(gram[chunk, chunk], weights[chunk]))
        for gram in grams
        for chunk in chunks
    ]
    total = len(grams) * len(weights)
    budget = int(total / speed)
    fewest = sum(int(np.isfinite(costs).argmax()) for costs, _ in searched)
    if budget < fewest:
        reason, remedy = "", "fewer steps"
        if len(resets) > 1:
            reason = ": where guidance begins or ends within the steps, every block is computed"
            remedy = "guide all steps: sample.guidance_interval"
        raise ConfigError(
            f"{speed:g}x leaves too few steps to compute{reason}",
            hint=f"take up to {floor(10 * total / fewest) / 10:g}x, or {remedy}",
        )
    counts = allocate_steps([costs for costs, _ in searched], budget)
    computed: list[frozenset[int]] = [frozenset()] * len(grams)
    for number, ((_, schedules), count) in enumerate(zip(searched, counts, strict=True)):
        pair, chunk = divmod(number, len(chunks))
        computed[pair] |= {resets[chunk] + step for step in schedules[count]}
    return Schedule(tuple(computed))


def skip_costs(gram: Array, weights: Array, max_gap: int = _MAX_GAP) -> Array:
    """The cost of skipping the steps between two computed ones.

    A skipped residual is extrapolated from the last two computed ones (see `Residual`).

    Args:
        gram: inner products of a pair's residuals at each two steps, (s, s), over their size.
        weights: of a step's squared error, (s,).
        max_gap: between computed steps.

    Returns:
        (g + 1, s, h + 1): weighted sum of the mean squared errors at the steps between j and j + h,
        if j is computed and was so g steps before, at g = 0 for the first time; infinite where that
        cannot be. The end counts as a computed step.
    """
    steps = len(gram)
    max_gap = min(max_gap, steps)
    costs = np.full((max_gap + 1, steps, max_gap + 1), np.inf)
    power = np.diagonal(gram)
    for gap in range(max_gap + 1):
        # At g = 0 there is no slope yet: the last residual is reused as it is.
        first, last = (gap, steps) if gap else (0, 1)
        now = np.arange(first, last)
        before, total = now - gap, np.zeros(len(now))
        for ahead in range(1, max_gap + 1):
            exists = now + ahead <= steps
            costs[gap, now[exists], ahead] = total[exists]
            if ahead == max_gap:
                break
            step = np.minimum(now + ahead, steps - 1)
            a = ahead / gap if gap else 0.0
            error = (
                power[step] + (1 + a) ** 2 * power[now] + a**2 * power[before]
                - 2 * (1 + a) * gram[step, now] + 2 * a * gram[step, before]
                - 2 * a * (1 + a) * gram[now, before]
            )  # fmt: skip
            total = total + weights[step] * np.maximum(error, 0)
    return costs


def best_schedules(costs: Array) -> tuple[Array, list[frozenset[int]]]:
    """For each number of computed steps the schedule with the least cost, the first step in it.

    Args:
        costs: from `skip_costs`.

    Returns:
        For 0 to s computed steps the least cost, infinite if there is none, and the steps.
    """
    gaps, steps, _ = costs.shape
    # best[g, j]: cost of `count` computed steps, the last being j and the one before j - g.
    best = np.full((gaps, steps + 1), np.inf)
    best[0, 0] = 0
    least, origins = np.full(steps + 1, np.inf), []
    schedules = [frozenset[int]()]
    for count in range(1, steps + 1):
        following = np.full((gaps, steps + 1), np.inf)
        origin = np.zeros((gaps, steps + 1), int)
        for ahead in range(1, gaps):
            candidates = best[:, : steps + 1 - ahead] + costs[:, : steps + 1 - ahead, ahead]
            origin[ahead, ahead:] = candidates.argmin(axis=0)
            following[ahead, ahead:] = candidates.min(axis=0)
        origins.append(origin)
        least[count] = following[:, steps].min()
        schedules.append(_backtrack(origins, int(following[:, steps].argmin()), steps))
        best = following
    return least, schedules


def _backtrack(origins: Sequence[NDArray[np.int_]], gap: int, step: int) -> frozenset[int]:
    """The computed steps that led to the end, where `step` is the end and `gap` the last gap."""
    steps = []
    for origin in reversed(origins):
        gap, step = int(origin[gap, step]), step - gap
        steps.append(step)
    return frozenset(steps)


def allocate_steps(least: Sequence[Array], budget: int) -> list[int]:
    """How many steps to compute each pair at, for the least total cost.

    Args:
        least: for each pair the cost at 0 to s computed steps.
        budget: computed steps of all pairs together, at most.

    Returns:
        A number of steps for each pair.
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
