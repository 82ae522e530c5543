"""Sampling clips longer than the network's window, and clips that begin with given frames.

Latents are yielded as they are done, so memory does not grow with the length. The network is a
function of (x, t), guidance included, so labels and texts need no code of their own here.
"""

# Axes: b clips, f frames of a window, k given first frames, c latent channels, h w latent size.

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from latte_cli.diffusion import Denoiser, Sampler, denoise, noise_levels
from latte_cli.runtime.devices import autocast
from latte_cli.runtime.errors import ConfigError
from latte_cli.runtime.finite import check_clips_finite
from latte_cli.sampling.long_plan import LongClipPlan

NoiseSource = Callable[[int], Tensor]
"""The noise of the next n frames, (b, n, c, h, w); called repeatedly, in order."""


@dataclass(frozen=True)
class SamplingLoop:
    """Samples the latents of clips, short or long.

    Attributes:
        model: (x, t) -> (b, f, 2c, h, w).
        sampler: takes the denoising steps.
        generators: one per clip, for the noise of stochastic samplers.
        on_step: called after each call of the network.
        dtype: of the network's matmuls, by autocast.
        names: of the clips, for messages.
    """

    model: Denoiser
    sampler: Sampler
    generators: Sequence[torch.Generator]
    on_step: Callable[[], None] = lambda: None
    dtype: torch.dtype = torch.float32
    names: Sequence[str] = ()

    def clip(self, noise: Tensor, first_frames: Tensor | None = None) -> Tensor:
        """Denoise clips of one window, (b, f, c, h, w).

        Args:
            noise: standard normal, (b, f, c, h, w).
            first_frames: clean latents that the clips begin with, (b, k, c, h, w), k < f.

        Raises:
            ConfigError: if the given frames are all of the clip.
            NumericalError: if latents are not finite after a step.
        """
        given = 0 if first_frames is None else first_frames.shape[1]
        if given >= noise.shape[1]:
            raise ConfigError(
                f"{given} frames are given and {noise.shape[1]} are requested",
                hint="request more with --frames",
            )
        return denoise(
            self._predict,
            noise,
            self.sampler,
            self.generators,
            self.on_step,
            first_frames=first_frames,
            names=self.names,
        )

    def long(
        self, plan: LongClipPlan, noise_source: NoiseSource, first_frames: Tensor | None
    ) -> Iterator[Tensor]:
        """The latents of long clips in pieces, in order, each (b, n, c, h, w).

        A longer clip begins with the shorter one; with `window`, also with the clip of one window.

        Args:
            plan: how to compose it.
            noise_source: gives the noise.
            first_frames: as for `clip`.

        Raises:
            ConfigError: if the sampler cannot be used with FIFO.
        """
        if plan.method == "fifo":
            _check_fifo_sampler(self.sampler)
        first = self.clip(noise_source(plan.window), first_frames)
        if plan.method == "fifo":
            given = 0 if first_frames is None else first_frames.shape[1]
            pieces = self._fifo(plan.window, noise_source, first, given)
        else:
            pieces = self._windows(plan, noise_source, first)
        left = plan.frames
        for piece in pieces:
            yield piece[:, :left]
            left -= piece.shape[1]
            if left <= 0:
                return

    def _predict(self, x: Tensor, t: Tensor, **end: Tensor) -> Tensor:
        # Autocast around each call only: callers run between the pieces of a long clip.
        with autocast(x.device, self.dtype):
            return self.model(x, t, **end)

    def _windows(
        self, plan: LongClipPlan, noise_source: NoiseSource, first: Tensor
    ) -> Iterator[Tensor]:
        """Each window is given the last frames of the one before as its first frames."""
        window = first
        yield window
        while True:
            window = self.clip(noise_source(plan.window), window[:, -plan.overlap :])
            yield window[:, plan.overlap :]

    def _fifo(
        self, window: int, noise_source: NoiseSource, first: Tensor, given: int
    ) -> Iterator[Tensor]:
        """A queue of frames, each a step noisier than the one before it.

        Each round takes a step for every frame; the first leaves, pure noise enters at the end. The
        network sees a window at a time, of which only the noisier half is updated: the cleaner half
        is context (FIFO-Diffusion, sections 4.1 to 4.3). The queue begins with the frames of a clip
        of one window, noised; before it come copies of its first frame, which are not yielded.
        Given first frames are put back in each round.
        """
        levels = noise_levels(self.sampler)
        steps = len(levels.noise)
        source = torch.arange(window - steps, window).clamp(min=0)
        scales = (levels.x_start, levels.noise)
        signal, sigma = (scale.to(first).reshape(1, -1, 1, 1, 1) for scale in scales)
        noise = noise_source(steps)
        queue = signal * first[:, source] + sigma * noise
        context = first[:, :1].expand(-1, window, -1, -1, -1)
        if window > steps:
            yield first[:, : window - steps]
            context = torch.cat([context, first[:, : window - steps]], dim=1)[:, -window:]
        for head in itertools.count(window - steps):  # index of the frame that leaves, if any
            queue = self._fifo_round(queue, context)
            of = f"the latents in the step that completes frame {head + 1}"
            check_clips_finite(queue, of, self.names)
            done, queue = queue[:, :1], torch.cat([queue[:, 1:], noise_source(1)], dim=1)
            for frame in range(max(0, head), given):
                place = frame - head - 1
                if place < 0:
                    done = first[:, frame : frame + 1]
                else:
                    noised = sigma[:, place] * noise[:, frame + steps - window]
                    queue[:, place] = signal[:, place] * first[:, frame] + noised
            context = torch.cat([context[:, 1:], done], dim=1)
            if head >= 0:
                yield done

    def _fifo_round(self, queue: Tensor, context: Tensor) -> Tensor:
        """The queue a step cleaner; `context` is a window of clean frames before it."""
        window, steps = context.shape[1], queue.shape[1]
        half = window // 2
        frames = torch.cat([context, queue], dim=1)
        timesteps = torch.tensor([self.sampler.timesteps[0]] * window + self.sampler.timesteps)
        cleaner = []
        for begin in range(0, steps, half):
            end = min(begin + half, steps)
            seen = frames[:, end : end + window]  # its last frame is the queue's before `end`
            t = timesteps[end : end + window].to(queue.device).expand(len(queue), -1)
            out = self._predict(seen, t).float()[:, :, : frames.shape[2]]
            cleaner += [
                _step(self.sampler, number, out[:, number - end], queue[:, number])
                for number in range(begin, end)
            ]
            self.on_step()
        return torch.stack(cleaner, dim=1)


def _step(sampler: Sampler, number: int, out: Tensor, x: Tensor) -> Tensor:
    """One frame's step, from noise level `number` to the one below."""
    scheduler: Any = sampler.scheduler
    index = len(sampler.timesteps) - 1 - number
    if hasattr(scheduler, "alphas_cumprod"):
        cleaner: Tensor = scheduler.step(out, int(scheduler.timesteps[index]), x).prev_sample
        return cleaner
    return x + float(scheduler.sigmas[index + 1] - scheduler.sigmas[index]) * out


def _check_fifo_sampler(sampler: Sampler) -> None:
    """Raise ConfigError unless steps are deterministic and independent of the steps before."""
    if sampler.ends is not None:
        raise ConfigError(
            "--long-method fifo moves each frame by one of many steps, and a flow map's are few",
            hint="--long-method window, or --sampler euler",
        )
    single_step = (DDIMScheduler, FlowMatchEulerDiscreteScheduler)
    if not isinstance(sampler.scheduler, single_step) or sampler.step_options.get("eta"):
        raise ConfigError(
            "--long-method fifo needs a deterministic single-step sampler",
            hint="--sampler ddim or euler, with eta 0",
        )
