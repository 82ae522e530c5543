"""`calibrate`: search schedules on recorded residuals, and measure them on sampled clips."""

# Axes: b clips, f frames, c latent channels, s steps, k recorded elements.

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latte_cli.caching.block_skipping import Schedule
from latte_cli.caching.policy import (
    Network,
    Policy,
    SamplingProgress,
    Tally,
    block_pairs,
    cached,
    counted,
    patched,
)
from latte_cli.caching.schedule_search import Array, find_schedule
from latte_cli.diffusion import Sampler, denoise
from latte_cli.runtime.errors import ConfigError
from latte_cli.runtime.randomness import seeded
from latte_cli.vae import psnr

Clips = Sequence[NDArray[np.uint8]]

_RECORDED = 2048  # elements of a residual of a clip: all of them would not fit in memory
# Errors of early steps weigh most, but later steps correct a part of them; how much varies, so the
# sensitivities are raised to each of these powers, and the schedule with the best clips is taken.
_POWERS = (0.5, 1.0)


@dataclass(frozen=True)
class Calibrated:
    """A schedule, and what it did to the clips that it was measured on.

    Attributes:
        speed: how many times fewer blocks were requested, at least.
        schedule: steps at which each pair of blocks is computed.
        psnr_db: mean over clips against the same clips without a cache.
        tally: what was computed.
    """

    speed: float
    schedule: Schedule
    psnr_db: float
    tally: Tally


def calibrate(
    model: Network, sampler: Sampler, speeds: Sequence[float], generate: Callable[[], Clips]
) -> Iterator[Calibrated]:
    """The best schedule for each speed.

    Args:
        model: in evaluation mode.
        sampler: that `generate` uses.
        speeds: how many times fewer blocks are to be computed, each more than 1.
        generate: samples the same few clips at each call, (f, h, w, 3) each, with that network and
            sampler; called once to record, and twice for each speed.

    Raises:
        ConfigError: if a speed cannot be reached in this number of steps.
    """
    check_speeds(speeds, len(sampler.timesteps))
    recording = Recording()
    reference, _ = _generate_with(model, recording, generate)
    grams, resets = recording.grams(), recording.resets()
    sensitivities = step_sensitivities(sampler)
    for speed in speeds:
        measured = []
        for power in _POWERS:
            schedule = find_schedule(grams, sensitivities**power, speed, resets)
            clips, tally = _generate_with(model, schedule, generate)
            measured.append(Calibrated(speed, schedule, mean_psnr(reference, clips), tally))
        yield max(measured, key=lambda each: each.psnr_db)


def check_speeds(speeds: Sequence[float], steps: int) -> None:
    """Raise ConfigError on a speed that cannot be reached in this number of steps."""
    for speed in speeds:
        if not 1 < speed <= steps:
            raise ConfigError(
                f"{speed:g}x cannot be reached in {steps} steps",
                hint=f"more than 1x, up to {steps}x",
            )


def mean_psnr(expected: Clips, clips: Clips) -> float:
    """Peak signal-to-noise ratio in dB, mean over clips; 100 for a clip that is the same."""
    values = [
        min(100.0, psnr(torch.as_tensor(a), torch.as_tensor(b)))
        for a, b in zip(expected, clips, strict=True)
    ]
    return float(np.mean(values))


def _generate_with(
    model: Network, policy: Policy, generate: Callable[[], Clips]
) -> tuple[Clips, Tally]:
    with cached(model, policy) as tally:
        return generate(), tally


@dataclass(frozen=True)
class Recording:
    """A policy that computes everything and records a part of each block's residual.

    The part is the same random one at every step, so that inner products of steps are right up to
    a factor.

    Attributes:
        residuals: by pair and block, and by step, the recorded part of each batch, (b, k).
    """

    name = "recording"
    needs_batch_of_one = False
    residuals: dict[tuple[int, int], dict[int, list[Tensor]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def install(self, model: Network, progress: SamplingProgress, stack: ExitStack) -> None:
        """Patch every block; see `Policy`."""
        for number, pair in enumerate(block_pairs(model)):
            for place, block in enumerate(pair):
                recorded = self._recorded(block.forward, progress, (number, place))
                stack.enter_context(patched(block, "forward", recorded))

    def _recorded(self, compute: Any, progress: SamplingProgress, key: tuple[int, int]) -> Any:
        compute = counted(compute, progress)

        def forward(x: Tensor, *inputs: Any) -> Tensor:
            out: Tensor = compute(x, *inputs)
            chosen = torch.randint(out[0].numel(), (_RECORDED,), generator=seeded(*key))
            residual = (out - x).flatten(1)[:, chosen.to(x.device)]
            self.residuals[key][progress.step].append(residual.float().cpu())
            return out

        return forward

    def grams(self) -> list[Array]:
        """Each pair's Gram matrix of residuals, (s, s), over their size."""
        return [
            sum(
                (_gram(self.residuals[key]) for key in self.residuals if key[0] == pair),
                np.zeros(()),
            )
            for pair in range(1 + max(pair for pair, _ in self.residuals))
        ]

    def resets(self) -> tuple[int, ...]:
        """The steps at which blocks have no residual to reuse, ascending.

        They are the first, and those where the batch grows or shrinks, as where an interval of
        guided steps begins or ends (see `Residual`).
        """
        by_step = next(iter(self.residuals.values()))
        sizes = [[len(part) for part in by_step[step]] for step in range(len(by_step))]
        return (0, *(step for step in range(1, len(sizes)) if sizes[step] != sizes[step - 1]))


def _gram(by_step: dict[int, list[Tensor]]) -> Array:
    """Of one block, from its residuals by step, of each batch (b, k)."""
    # Where only an interval of steps is guided, half of a batch is missing at the others.
    sizes = [min(map(len, batches)) for batches in zip(*by_step.values(), strict=True)]
    kept = [
        torch.cat([part[:size].flatten() for part, size in zip(by_step[step], sizes, strict=True)])
        for step in range(len(by_step))
    ]
    residuals = torch.stack(kept).double()
    # Linear extrapolation does not depend on the mean, but rounding does.
    residuals = residuals - residuals.mean(dim=0)
    return np.asarray((residuals @ residuals.T / residuals.shape[1]).numpy())


def step_sensitivities(sampler: Sampler) -> Array:
    """How far an error of one in a step's output moves the final clip, (s,).

    Samplers are linear in the network's outputs, so sampling once with an output of one at a single
    step and zero at the others gives it: each step is a clip of a batch. How later steps respond to
    the error is ignored.
    """
    steps = len(sampler.timesteps)
    step = 0

    def one_at_each_step(x: Tensor, t: Tensor) -> Tensor:
        nonlocal step
        out = torch.zeros(steps + 1, 1, 2, 1, 1)  # noise, then covariance, which stays zero
        out[step, :, 0] = 1
        step += 1
        return out

    generators = [seeded(0) for _ in range(steps + 1)]
    clips = denoise(one_at_each_step, torch.zeros(steps + 1, 1, 1, 1, 1), sampler, generators)
    ends = clips.flatten().double()
    return np.asarray((ends[:-1] - ends[-1]).abs().numpy())
