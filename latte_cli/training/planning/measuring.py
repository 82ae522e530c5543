"""Measuring what a training step takes on this device, in time and memory, on synthetic latents."""

# Axes: b clips, f frames, i images, c latent channels, h w latent size.

import math
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone

import torch
from torch import Tensor

from latte_cli.config import Config
from latte_cli.data.batch import Batch
from latte_cli.diffusion import Diffusion
from latte_cli.runtime.errors import LatteWarning
from latte_cli.runtime.machine import (
    matrix_peak,
    memory_limit,
    peak_memory,
    reset_peak_memory,
    synchronize,
)
from latte_cli.training.planning.measurement import (
    USABLE,
    Measurement,
    bytes_of_copies,
    bytes_without_clips,
)
from latte_cli.training.state import new_state
from latte_cli.training.step import train_step

STEPS = 10
_LONGEST_S = 60.0  # of all timed steps; where clips take longer, fewer go into a step


class _Trial:
    """A network in training, and the memory of its steps so far.

    Args:
        config: of the run.
        parameters: of the network.
        device: where.
        dtype: of the products.
        on_step: called after each step.
    """

    def __init__(
        self,
        config: Config,
        parameters: int,
        device: torch.device,
        dtype: torch.dtype,
        on_step: Callable[[], None],
    ) -> None:
        self._config, self._device, self._dtype = config, device, dtype
        self._on_step, self._limit = on_step, memory_limit(device)
        self._copies = bytes_of_copies(parameters, device)
        reset_peak_memory(device)
        self._without_clips = peak_memory(device) + bytes_without_clips(parameters, device)
        self._memory: dict[float, int] = {}

    @property
    def can_begin(self) -> bool:
        """Whether the weights and what the optimizer keeps fit."""
        return self._without_clips <= USABLE * self._limit

    def begin(self) -> None:
        """Build the network."""
        self._peak = matrix_peak(self._device, self._dtype)
        self._state = new_state(self._config, self._device)
        self._diffusion = Diffusion(**self._config.diffusion.model_dump())

    def step(self, clips: int, frames: int | None = None) -> float:
        """Take a step and note its memory; its seconds.

        Args:
            clips: in the step.
            frames: of each of them; by default `data.frames`.
        """
        data = self._config.data
        all_frames = data.frames + data.num_images
        share = ((frames or data.frames) + data.num_images) / all_frames
        batch = synthetic_batch(self._config, clips, frames).to(self._device)
        reset_peak_memory(self._device)
        synchronize(self._device)
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LatteWarning)  # of clips of fewer frames
            train_step(self._state, [batch], self._diffusion, self._config, self._dtype)
        synchronize(self._device)
        took = time.perf_counter() - started
        self._memory[clips * share] = peak_memory(self._device) + self._copies
        self._on_step()
        return took

    def found(self, clips: float, times: list[float]) -> Measurement:
        """What is known after some timed steps."""
        measured = sorted(self._memory.items())
        return Measurement(
            when=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            clips=clips,
            steps=len(times),
            seconds=sum(times) / len(times),
            peak=self._peak,
            # What is held without a clip is counted: it helps out until two steps were measured.
            memory=measured if len(measured) > 1 else [(0, self._without_clips), *measured],
        )

    def fitting(self, known: Measurement) -> float:
        """How many clips fit into a step, as far as is known."""
        most = known.largest_batch(self._limit)
        return math.inf if most is None else most


def measure_training(
    config: Config,
    parameters: int,
    device: torch.device,
    dtype: torch.dtype,
    on_step: Callable[[], None] = lambda: None,
) -> Measurement | None:
    """Take steps of a part of a clip, of one clip, of two, then up to ten that are timed.

    Before a larger step is taken, the memory of those before it tells whether it fits.

    Args:
        config: of the run; steps have `train.batch_size` clips over `train.accumulate` where these
            fit and take no more than a minute in all, else fewer.
        parameters: of the network.
        device: where.
        dtype: of the products.
        on_step: called after each step.

    Returns:
        What was measured; None where not even the weights and what the optimizer keeps fit.
    """
    trial = _Trial(config, parameters, device, dtype, on_step)
    if not trial.can_begin:
        return None
    trial.begin()
    few, images = _few_frames(config), config.data.num_images
    trial.step(1, few)  # AdamW's moments appear, and kernels are chosen
    known = trial.found((few + images) / (config.data.frames + images), times=[trial.step(1, few)])
    with suppress(torch.OutOfMemoryError):
        for clips in (1, 2):
            if clips > trial.fitting(known):
                return known
            known = trial.found(clips, [trial.step(clips)])
        clips = _clips_to_time(config, known, trial.fitting(known))
        if clips > 2:
            trial.step(clips)  # kernels are chosen anew for each size
        times: list[float] = []
        while not times or (len(times) < STEPS and sum(times) < _LONGEST_S):
            times.append(trial.step(clips))
            known = trial.found(clips, times)
    return known


def _clips_to_time(config: Config, known: Measurement, fitting: float) -> int:
    """As many as the run's steps have, if they fit and are quick enough."""
    wanted = config.train.batch_size // config.train.accumulate
    quick = _LONGEST_S / STEPS * known.clips_per_s
    return max(1, int(min(wanted, quick, fitting)))


def _few_frames(config: Config) -> int:
    """A quarter of a clip, in whole tubes."""
    tube = config.model.tube if config.model.patch_embedding == "compression" else 1
    return max(1, config.data.frames // 4 // tube) * tube


def synthetic_batch(config: Config, clips: int, frames: int | None = None) -> Batch:
    """Random latents of the configured size, as a batch of training clips on the CPU.

    Args:
        config: of the run.
        clips: how many.
        frames: of a clip, without its images; by default `data.frames`.
    """
    classes, images = config.model.num_classes, config.data.num_images
    side = config.latent_size
    frames = (frames or config.data.frames) + images
    size = (clips, frames, config.vae.latent_channels, side, side)
    generator = torch.Generator().manual_seed(config.train.seed)

    def below(limit: int, *shape: int) -> Tensor:
        return torch.randint(limit, shape, generator=generator)

    return Batch(
        x_start=torch.randn(size, generator=generator),
        noise=torch.randn(size, generator=generator),
        t=below(config.diffusion.num_timesteps, clips),
        y=below(classes, clips) if classes else None,
        y_image=below(classes, clips, images) if classes and images else None,
        num_images=images,
    )
