"""Finding the steps to skip for a speed: planned from a recording, then tried."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor

import numpy as np
import torch
from numpy.typing import NDArray

from latte_cli.caching.planning import best_steps, segment_costs, share_out
from latte_cli.caching.policies import Schedule
from latte_cli.caching.progress import Network, Policy, Tally, cached
from latte_cli.caching.recording import Recording, step_gains
from latte_cli.diffusion import Sampler
from latte_cli.runtime.errors import ConfigError
from latte_cli.vae import psnr

Clips = Sequence[NDArray[np.uint8]]
Draw = Callable[[], Clips]
"""Draws the same few clips each time, (f, h, w, 3) each."""

# Errors of early steps weigh most, but the network mends a part of them later on; how much differs,
# so weights are the steps' gains to each of these powers, and the best clips decide.
_POWERS = (0.5, 1.0)


@dataclass(frozen=True)
class Calibrated:
    """A schedule, and what it did on the clips that it was tried on.

    Attributes:
        speed: that was asked for: how many times fewer blocks are computed, at least.
        schedule: steps at which each pair of blocks is computed.
        psnr_db: mean over clips against the same drawn without it.
        tally: what was computed.
    """

    speed: float
    schedule: Schedule
    psnr_db: float
    tally: Tally


def calibrate(
    model: Network, sampler: Sampler, speeds: Sequence[float], draw: Draw
) -> Iterator[Calibrated]:
    """The best schedule for each speed.

    Args:
        model: in evaluation mode.
        sampler: that `draw` uses.
        speeds: how many times fewer blocks are to be computed, each more than 1.
        draw: draws a few clips with that network and sampler; called once to record, and a few
            times for each speed.

    Raises:
        ConfigError: if a speed cannot be reached in so many steps.
    """
    refuse_speeds(speeds, len(sampler.timesteps))
    recording = Recording()
    whole, _ = _drawn(model, recording, draw)
    products, starts, gains = recording.products(), recording.starts(), step_gains(sampler)
    for speed in speeds:
        tried = []
        for power in _POWERS:
            schedule = plan(products, gains**power, speed, starts)
            clips, tally = _drawn(model, schedule, draw)
            tried.append(Calibrated(speed, schedule, mean_psnr(whole, clips), tally))
        yield max(tried, key=lambda each: each.psnr_db)


def refuse_speeds(speeds: Sequence[float], steps: int) -> None:
    """Raise ConfigError on a speed that so many steps cannot have."""
    for speed in speeds:
        if not 1 < speed <= steps:
            raise ConfigError(
                f"{speed:g}x is no speed for {steps} steps", hint=f"more than 1x, up to {steps}x"
            )


def plan(
    products: Sequence[NDArray[np.float64]],
    weights: NDArray[np.float64],
    speed: float,
    starts: Sequence[int] = (0,),
) -> Schedule:
    """The schedule that costs least at a speed.

    Args:
        products: of each pair's changes, (s, s); see `segment_costs`.
        weights: of a step's squared error, (s,).
        speed: how many times fewer blocks are to be computed, at least.
        starts: steps before which nothing is remembered, ascending, the first one among them.

    Raises:
        ConfigError: if so few steps cannot span all.
    """
    stretches = [slice(*ends) for ends in pairwise([*starts, len(weights)])]
    planned = [
        best_steps(segment_costs(pair[stretch, stretch], weights[stretch]))
        for pair in products
        for stretch in stretches
    ]
    in_all = len(products) * len(weights)
    budget = int(in_all / speed)
    fewest = sum(int(np.isfinite(least).argmax()) for least, _ in planned)
    if budget < fewest:
        raise _too_few(speed, in_all / fewest, starts)
    counts = share_out([least for least, _ in planned], budget)
    chosen = [found[count] for (_, found), count in zip(planned, counts, strict=True)]
    computed: list[frozenset[int]] = [frozenset()] * len(products)
    for number, steps in enumerate(chosen):
        pair, stretch = divmod(number, len(stretches))
        computed[pair] |= {starts[stretch] + step for step in steps}
    return Schedule(tuple(computed))


def _too_few(speed: float, most: float, starts: Sequence[int]) -> ConfigError:
    why, instead = "", "fewer steps"
    if len(starts) > 1:
        why = ": where guidance begins or ends within the steps, every block is computed"
        instead = "guide all steps: sample.guidance_interval"
    return ConfigError(
        f"{speed:g}x leaves too few steps to go by{why}",
        hint=f"take up to {floor(10 * most) / 10:g}x, or {instead}",
    )


def mean_psnr(expected: Clips, clips: Clips) -> float:
    """Peak signal-to-noise ratio in dB, mean over clips; 100 for a clip that is the same."""
    values = [
        min(100.0, psnr(torch.as_tensor(a), torch.as_tensor(b)))
        for a, b in zip(expected, clips, strict=True)
    ]
    return float(np.mean(values))


def _drawn(model: Network, policy: Policy, draw: Draw) -> tuple[Clips, Tally]:
    with cached(model, policy) as tally:
        return draw(), tally
