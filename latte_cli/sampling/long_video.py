"""Clips longer than a network can draw at once, and clips that begin with a given frame.

Latents are handed on as they are done, so that memory does not grow with their number. A network
is a function of (x, t), guidance included, so that labels and texts are alike here.
"""

# Axes: b clips, f frames of a window, k known frames, c latent channels, h w latent size.

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor

from latte_cli.diffusion import Denoiser, Sampler, denoise, noise_levels, with_first_frames
from latte_cli.runtime.devices import autocast
from latte_cli.runtime.errors import ConfigError

Method = Literal["window", "fifo"]
METHODS: tuple[Method, ...] = ("window", "fifo")

NoiseOf = Callable[[int], Tensor]
"""The noise of the next so many frames, (b, n, c, h, w): called again and again, in order."""


@dataclass(frozen=True)
class LongClip:
    """How a long clip is put together.

    Attributes:
        frames: of the clip.
        window: frames that the network sees at a time.
        overlap: `window`: frames of a window that it shares with the one before.
        method: `window`, or `fifo` (Kim et al. 2024, "FIFO-Diffusion").
    """

    frames: int
    window: int
    overlap: int
    method: Method = "window"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(
                f"--long-method {self.method} is unknown", hint=f"known: {', '.join(METHODS)}"
            )
        if self.window < 2:
            raise ConfigError(
                f"--long needs at least 2 frames in a window, not {self.window}",
                hint="--frames 2 or more",
            )
        if self.frames <= self.window:
            raise ConfigError(
                f"--long {self.frames} is no more than the {self.window} frames that are drawn "
                "at once",
                hint=f"--frames {self.frames} does it, or set --long to more",
            )
        if not 1 <= self.overlap < self.window:
            raise ConfigError(
                f"--overlap {self.overlap} in windows of {self.window} frames",
                hint=f"from 1 to {self.window - 1}",
            )

    def steps(self, steps: int) -> int:
        """Calls of the network for a whole clip, at so many denoising steps."""
        if self.method == "window":
            windows = 1 - (self.window - self.frames) // (self.window - self.overlap)
            return windows * steps
        rounds = self.frames - max(0, self.window - steps) + max(0, steps - self.window)
        return steps + rounds * -(-steps // _half(self.window))


@dataclass(frozen=True)
class SamplingLoop:
    """What every way to draw a clip needs.

    Attributes:
        model: (x, t) -> (b, f, 2c, h, w).
        sampler: how noise is taken off.
        generators: one a clip, for the noise of stochastic samplers.
        on_step: called after each call of the network.
        dtype: of the network's products, by autocast.
    """

    model: Denoiser
    sampler: Sampler
    generators: Sequence[torch.Generator]
    on_step: Callable[[], None] = lambda: None
    dtype: torch.dtype = torch.float32

    def clip(self, noise: Tensor, known: Tensor | None = None) -> Tensor:
        """Denoise a clip, (b, f, c, h, w), that begins with known latents, if there are any.

        Args:
            noise: standard normal, (b, f, c, h, w).
            known: clean latents of its first frames, (b, k, c, h, w), k < f.

        Raises:
            ConfigError: if nothing is left to draw.
        """
        model: Denoiser = self._predict
        if known is not None:
            count = known.shape[1]
            if count >= noise.shape[1]:
                raise ConfigError(
                    f"{count} frames are given and {noise.shape[1]} are asked for",
                    hint="ask for more with --frames",
                )
            model = with_first_frames(model, self.sampler, known, noise[:, :count])
        latents = denoise(model, noise, self.sampler, self.generators, self.on_step)
        if known is None:
            return latents
        return torch.cat([known.to(latents), latents[:, known.shape[1] :]], dim=1)

    def long(self, plan: LongClip, noise_of: NoiseOf, known: Tensor | None) -> Iterator[Tensor]:
        """The latents of a long clip in pieces, in order, each (b, n, c, h, w).

        A longer clip begins with the shorter one; with `window`, that with what is drawn at once.

        Args:
            plan: how to put it together.
            noise_of: gives noise.
            known: as for `clip`.

        Raises:
            ConfigError: if the sampler cannot walk a queue.
        """
        if plan.method == "fifo":
            _refuse_sampler(self.sampler)
        first = self.clip(noise_of(plan.window), known)
        pieces = self._windows(plan, noise_of, first)
        if plan.method == "fifo":
            pieces = self._queue(plan, noise_of, first, 0 if known is None else known.shape[1])
        left = plan.frames
        for piece in pieces:
            yield piece[:, :left]
            left -= piece.shape[1]
            if left <= 0:
                return

    def _predict(self, x: Tensor, t: Tensor) -> Tensor:
        # Around each call alone: callers act between the pieces of a long clip.
        with autocast(x.device, self.dtype):
            return self.model(x, t)

    def _windows(self, plan: LongClip, noise_of: NoiseOf, first: Tensor) -> Iterator[Tensor]:
        """Each window begins with the last frames of the one before, as known ones."""
        window = first
        yield window
        while True:
            window = self.clip(noise_of(plan.window), window[:, -plan.overlap :])
            yield window[:, plan.overlap :]

    def _queue(
        self, plan: LongClip, noise_of: NoiseOf, first: Tensor, known: int
    ) -> Iterator[Tensor]:
        """A queue of frames, each a step noisier than the one before it.

        Each round takes a step off every frame; the first leaves, pure noise enters at the end. The
        network sees a window at a time, whose cleaner half looks ahead for the other, and only that
        is kept (FIFO-Diffusion, sections 4.1 to 4.3). The queue begins as a clip that was drawn at
        once, noised; before it stands its first frame, which is not handed on. Known frames are
        put back in each round.
        """
        levels, window = noise_levels(self.sampler), plan.window
        steps = len(levels.noise)
        source = torch.arange(window - steps, window).clamp(min=0)
        scales = (levels.x_start, levels.noise)
        kept, added = (scale.to(first).reshape(1, -1, 1, 1, 1) for scale in scales)
        noise = noise_of(steps)
        queue = kept * first[:, source] + added * noise
        before = first[:, :1].expand(-1, window, -1, -1, -1)
        if window > steps:
            yield first[:, : window - steps]
            before = torch.cat([before, first[:, : window - steps]], dim=1)[:, -window:]
        for head in itertools.count(window - steps):  # which frame of the clip leaves, if any
            queue = self._round(queue, before)
            done, queue = queue[:, :1], torch.cat([queue[:, 1:], noise_of(1)], dim=1)
            for frame in range(max(0, head), known):
                place = frame - head - 1
                if place < 0:
                    done = first[:, frame : frame + 1]
                else:
                    begun = noise[:, frame + steps - window]
                    queue[:, place] = kept[:, place] * first[:, frame] + added[:, place] * begun
            before = torch.cat([before[:, 1:], done], dim=1)
            if head >= 0:
                yield done

    def _round(self, queue: Tensor, before: Tensor) -> Tensor:
        """The queue a step cleaner; `before` holds a window of clean frames."""
        window, half = before.shape[1], _half(before.shape[1])
        steps = queue.shape[1]
        frames = torch.cat([before, queue], dim=1)
        timesteps = torch.tensor([self.sampler.timesteps[0]] * window + self.sampler.timesteps)
        cleaner = []
        for begin in range(0, steps, half):
            end = min(begin + half, steps)
            seen = frames[:, end : end + window]  # its last frame is the queue's before `end`
            t = timesteps[end : end + window].to(queue.device).expand(len(queue), -1)
            out = self._predict(seen, t).float().chunk(2, dim=2)[0]
            cleaner += [
                _step(self.sampler, number, out[:, number - end], queue[:, number])
                for number in range(begin, end)
            ]
            self.on_step()
        return torch.stack(cleaner, dim=1)


def _half(window: int) -> int:
    return max(1, window // 2)


def _step(sampler: Sampler, number: int, out: Tensor, x: Tensor) -> Tensor:
    """One frame's step, from the level of that number to the one below."""
    scheduler: Any = sampler.scheduler
    back = len(sampler.timesteps) - 1 - number
    if hasattr(scheduler, "alphas_cumprod"):
        cleaner: Tensor = scheduler.step(out, int(scheduler.timesteps[back]), x).prev_sample
        return cleaner
    return x + float(scheduler.sigmas[back + 1] - scheduler.sigmas[back]) * out


def _refuse_sampler(sampler: Sampler) -> None:
    """Only steps that remember nothing of the step before can be taken by each frame apart."""
    known = (DDIMScheduler, FlowMatchEulerDiscreteScheduler)
    if not isinstance(sampler.scheduler, known) or sampler.step_options.get("eta"):
        raise ConfigError(
            "--long-method fifo takes steps without memory and noise",
            hint="--sampler ddim or euler, with eta 0",
        )


def long_clip(frames: int | None, window: int, overlap: int | None, method: str) -> LongClip | None:
    """How a clip of so many frames is put together; None where none are asked for.

    Raises:
        ConfigError: if it cannot be, or none is asked for, but how it is to be put together.
    """
    if frames is None:
        for option, value in (("--overlap", overlap), ("--long-method", method)):
            if value not in (None, METHODS[0]):
                raise ConfigError(f"{option} {value} without --long", hint="add --long N")
        return None
    chosen = overlap if overlap is not None else _half(window)
    return LongClip(frames, window, chosen, method)  # type: ignore[arg-type]  # it refuses others
