"""Measuring what a training step takes on this device, in time and memory, on synthetic latents."""

# Axes: b clips, f frames, i images, c latent channels, h w latent size.

import math
import os
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timezone

import torch
from torch import Tensor

from latte_cli.config import Config
from latte_cli.config.train_section import TrainConfig, count_passing
from latte_cli.data.batch import Batch
from latte_cli.data.texts.batches import Texts
from latte_cli.diffusion import Diffusion
from latte_cli.models.designs import TEXT_TOKENS
from latte_cli.runtime.devices import (
    matrix_peak,
    memory_limit,
    peak_memory,
    reset_peak_memory,
    synchronize,
)
from latte_cli.runtime.errors import LatteWarning
from latte_cli.runtime.randomness import random_positions
from latte_cli.training.planning.measurement import USABLE, Measurement, current_load
from latte_cli.training.planning.parameters import Parameters
from latte_cli.training.state import new_state
from latte_cli.training.step import train_step
from latte_cli.training.targets.teacher import teacher_config

STEPS = 10
WARMUP_STEPS = 5

_GRADIENT_BYTES = 4
_QUICK_SECONDS = 10.0  # of a step that is taken for its memory alone
_MAX_SECONDS = 60.0  # of all timed steps; where clips take longer, fewer go into a step


def checkpoint_bytes(train: TrainConfig, parameters: Parameters) -> int:
    """Of a checkpoint: weights, one average or two, and the optimizer's moments, in float32."""
    copies = 3 if train.ema == "power" else 2
    return 4 * (copies * parameters.total + parameters.moments)


def bytes_without_clips(train: TrainConfig, parameters: Parameters, device: torch.device) -> int:
    """The memory that training a network takes apart from its clips."""
    own = checkpoint_bytes(train, parameters) + _GRADIENT_BYTES * parameters.trained
    return own + _bytes_of_copies(train, parameters, device)


def _bytes_of_copies(train: TrainConfig, parameters: Parameters, device: torch.device) -> int:
    """The copies that checkpoints are written from, where they share the device's memory."""
    return checkpoint_bytes(train, parameters) if device.type == "cpu" else 0


class _Trial:
    """A network in training, and the memory of its steps so far."""

    def __init__(
        self,
        config: Config,
        parameters: Parameters,
        device: torch.device,
        dtype: torch.dtype,
        on_step: Callable[[], None],
    ) -> None:
        self._config, self._device, self._dtype = config, device, dtype
        self._on_step, self._limit = on_step, memory_limit(device)
        self._load = current_load()
        self._copies = _bytes_of_copies(config.train, parameters, device)
        reset_peak_memory(device)
        without = bytes_without_clips(config.train, parameters, device)
        self._without_clips = peak_memory(device) + without
        self._memory: dict[float, int] = {}

    @property
    def fits(self) -> bool:
        """Whether weights, EMA, moments and gradients fit, without a clip."""
        return self._without_clips <= USABLE * self._limit

    def build(self) -> None:
        """Build the network."""
        self._peak = matrix_peak(self._device, self._dtype)
        self._state = new_state(self._config, self._device)
        self._diffusion = Diffusion(**self._config.diffusion.model_dump())

    def step(self, clips: int, frames: int | None = None, *, again: bool = False) -> float:
        """Take a step, record its peak memory, and return its seconds.

        Args:
            clips: in the step.
            frames: of each clip; by default `data.frames`.
            again: take the batch of the step before, for which a teacher is not asked again.
        """
        data = self._config.data
        if again:
            self._state.data_offset -= 1
        else:
            self._state.answers.forget()
        share = ((frames or data.frames) + data.num_images) / (data.frames + data.num_images)
        batch = synthetic_batch(self._config, clips, frames).to(self._device)
        reset_peak_memory(self._device)
        synchronize(self._device)
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LatteWarning)  # of clips of fewer frames
            train_step(self._state, [batch], self._diffusion, self._config.train, self._dtype)
        synchronize(self._device)
        seconds = time.perf_counter() - started
        if not again:  # whose peak is lower
            self._memory[clips * share] = peak_memory(self._device) + self._copies
        self._on_step()
        return seconds

    def measurement(self, clips: float, times: list[float]) -> Measurement:
        """The result after some timed steps."""
        measured = sorted(self._memory.items())
        return Measurement(
            when=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            clips=clips,
            steps=len(times),
            seconds=sum(times) / len(times),
            peak=self._peak,
            # Until two sizes are measured, the line starts at the memory counted without a clip.
            memory=measured if len(measured) > 1 else [(0, self._without_clips), *measured],
            load=self._load,
            cpus=os.cpu_count() or 1,
        )

    def max_clips(self, measurement: Measurement) -> float:
        """How many clips fit into a step, by what is measured so far."""
        most = measurement.largest_batch(self._limit)
        return math.inf if most is None else most


def measure_training(
    config: Config,
    parameters: Parameters,
    device: torch.device,
    dtype: torch.dtype,
    on_step: Callable[[], None] = lambda: None,
) -> Measurement | None:
    """Take steps of part of a clip, of one clip, of two, then up to ten that are timed.

    A larger step is taken only if it fits, by the memory of the steps before it.

    Args:
        config: of the run; steps have `train.batch_size / train.accumulate` clips, or fewer if
            these do not fit or ten steps would take more than a minute.
        parameters: of the network, counted.
        device: to measure.
        dtype: of the matrix products, by autocast.
        on_step: called after each step.

    Returns:
        None if not even weights, EMA, moments and gradients fit.
    """
    trial = _Trial(config, parameters, device, dtype, on_step)
    if not trial.fits:
        return None
    result = _first_steps(trial, config)
    with suppress(torch.OutOfMemoryError):
        for clips in (1, 2):
            if clips > trial.max_clips(result):
                return result
            result = trial.measurement(clips, [trial.step(clips)])
        wanted = config.train.batch_size // config.train.accumulate
        quick = _MAX_SECONDS / STEPS * result.clips_per_s
        clips = max(1, int(min(wanted, quick, trial.max_clips(result))))
        if clips > 2:
            trial.step(clips)  # kernels are chosen for each size
        times: list[float] = []
        reuse = config.train.teacher_reuse
        while not times or len(times) % reuse or (len(times) < STEPS and sum(times) < _MAX_SECONDS):
            times.append(trial.step(clips, again=len(times) % reuse > 0))
            result = trial.measurement(clips, times)
    return result


def measure_memory(
    config: Config,
    parameters: Parameters,
    device: torch.device,
    dtype: torch.dtype,
    on_step: Callable[[], None] = lambda: None,
) -> Measurement | None:
    """Take steps of part of a clip, and of one and two clips where that is quick, for their memory.

    Arguments and result are those of `measure_training`, whose speed this does not measure.
    """
    trial = _Trial(config, parameters, device, dtype, on_step)
    if not trial.fits:
        return None
    result = _first_steps(trial, config)
    with suppress(torch.OutOfMemoryError):
        for clips in (1, 2):
            if clips > trial.max_clips(result) or clips / result.clips_per_s > _QUICK_SECONDS:
                break
            result = trial.measurement(clips, [trial.step(clips)])
    return result


def _first_steps(trial: _Trial, config: Config) -> Measurement:
    """Build the network, and take two steps of part of a clip."""
    trial.build()
    few, images = _few_frames(config), config.data.num_images
    trial.step(1, few)  # AdamW's moments appear, and kernels are chosen
    part = (few + images) / (config.data.frames + images)
    return trial.measurement(part, times=[trial.step(1, few)])


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

    Raises:
        CheckpointError: if a network with text has a teacher that cannot be read.
    """
    classes, images = config.model.num_classes, config.data.num_images
    is_text = config.model.condition == "text"
    theirs = teacher_config(config) if is_text else None
    taught = theirs and theirs.model.num_classes
    side = config.latent_size
    frames = (frames or config.data.frames) + images
    size = (clips, frames, config.vae.latent_channels, side, side)
    generator = torch.Generator().manual_seed(config.train.seed)

    def below(limit: int, *shape: int) -> Tensor:
        return torch.randint(limit, shape, generator=generator)

    t, end = below(config.diffusion.num_timesteps, clips), None
    if config.diffusion.objective == "flow-map":
        t, end = _map_times(t, config)
    return Batch(
        x_start=torch.randn(size, generator=generator),
        noise=torch.randn(size, generator=generator),
        t=t,
        y=below(classes, clips) if classes else None,
        y_image=below(classes, clips, images) if classes and images else None,
        teacher_y=below(taught, clips) if taught else None,
        num_images=images,
        end=end,
        positions=_positions(config, clips, generator),
        texts=_texts(config, clips) if is_text else None,
        image_texts=_texts(config, clips, images) if is_text and images else None,
    )


def _texts(config: Config, *shape: int) -> Texts:
    """Embeddings of texts as long as they can be."""
    tokens = torch.zeros(*shape, TEXT_TOKENS, config.model.text_width, dtype=torch.bfloat16)
    return Texts(tokens, torch.ones(*shape, TEXT_TOKENS, dtype=torch.bool))


def _map_times(t: Tensor, config: Config) -> tuple[Tensor, Tensor]:
    """Both ends of a flow map's steps, (b,) long: every other has a length, and so a derivative.

    Between `diffusion.map_levels` each is one of these.
    """
    if config.diffusion.map_levels is not None:
        generator = torch.Generator().manual_seed(config.train.seed)
        diffusion = Diffusion(**config.diffusion.model_dump())
        times = torch.tensor([diffusion.sample_times(index, generator) for index in range(len(t))])
        return times[:, 0], times[:, 1]
    return t, torch.where(torch.arange(len(t)) % 2 == 0, (t - 1) // 2, t)


def _positions(config: Config, clips: int, generator: torch.Generator) -> Tensor | None:
    """Of tokens that do not wait, (b, k) long; None without routing."""
    route, tokens = config.train.route, config.tokens_per_frame
    if route is None:
        return None
    count = count_passing(tokens, route.share)
    return torch.stack([random_positions(tokens, count, generator) for _ in range(clips)])
