"""What a run costs before it is begun: arithmetic on what was counted and measured."""

from collections.abc import Mapping
from dataclasses import dataclass

from latte_cli.config import Config
from latte_cli.training.planning.measurement import CHECKPOINT_BYTES, Measurement

DEVICES = (1, 2, 4, 8)
PAPER_BATCH = 8 * 5
"""Clips a step in the paper: 8 GPUs with 5 each (4 each with joint images)."""
PAPER_STEPS = 150_000
"""Where the paper's curves end."""


@dataclass(frozen=True)
class DataSize:
    """How much there is to learn from.

    Attributes:
        videos: how many.
        frames: of all of them.
        latents_bytes: of those that are encoded; None before.
    """

    videos: int
    frames: int
    latents_bytes: int | None = None


@dataclass(frozen=True)
class Machine:
    """What a run would be on.

    Attributes:
        name: of the device, in words.
        precision: of the products.
        memory_bytes: that the device has for a run.
        least_bytes: that this run holds there without a single clip.
    """

    name: str
    precision: str
    memory_bytes: int
    least_bytes: int


@dataclass(frozen=True)
class Disk:
    """What a run needs of it.

    Attributes:
        latents_bytes: of the data set; None without data.
        latents_bytes_per_frame: of one frame, in all views.
        checkpoint_bytes: of one, about.
        checkpoints_bytes: of all that a run keeps, and of the one being written.
    """

    latents_bytes: int | None
    latents_bytes_per_frame: int
    checkpoint_bytes: int
    checkpoints_bytes: int


@dataclass(frozen=True)
class TrainPlan:
    """What a run costs on this device, and on several like it.

    Attributes:
        run: name of the preset.
        device: this one.
        measured: when, ISO 8601; None where nothing could be.
        measured_steps: how many were timed.
        measured_clips: in each of them.
        parameters: of the network.
        flops_per_clip: of a forward and a backward pass; a multiply-add is two.
        flops_per_step: of all clips of a step.
        clips_per_step: over all devices.
        clips_per_s: on one device; None where nothing could be measured.
        peak_share: of the operations a second of a large matrix product on this device.
        clips_at_a_time: on one device: those of a step over `train.accumulate`.
        memory_bytes: that a step holds on one device, at its peak.
        largest_batch: clips at a time that fit on this device; None where that is not known.
        steps: that the configuration asks for.
        hours: to that step, by number of devices; None where the batch does not divide.
        accumulate: portions that a device's clips must be taken in to fit, by number of devices.
        share_of_paper_step: clips of a step over those of the paper's.
        paper_step: at which this run has seen as many clips as the paper's longest curves.
        passes: how often each video is seen, on average; None without data.
        disk: for latents and checkpoints.
    """

    run: str
    device: Machine
    measured: str | None
    measured_steps: int
    measured_clips: float
    parameters: int
    flops_per_clip: int
    flops_per_step: int
    clips_per_step: int
    clips_per_s: float | None
    peak_share: float | None
    clips_at_a_time: int
    memory_bytes: float | None
    largest_batch: int | None
    steps: int
    hours: Mapping[int, float | None]
    accumulate: Mapping[int, int | None]
    share_of_paper_step: float
    paper_step: int
    passes: float | None
    disk: Disk


def plan_run(
    config: Config,
    device: Machine,
    counted: tuple[int, int],
    measurement: Measurement | None,
    data: DataSize | None,
) -> TrainPlan:
    """Work out what a run costs.

    Args:
        config: of the run.
        device: where.
        counted: parameters of the network, and operations that learning from one clip takes.
        measurement: of a few steps; None where nothing could be measured.
        data: what there is to learn from; None where nothing is there.
    """
    train, (parameters, flops) = config.train, counted
    rate = None if measurement is None else measurement.clips_per_s
    clips = train.batch_size * train.steps
    portion = train.batch_size // train.accumulate
    most = measurement.largest_batch(device.memory_bytes) if measurement else 0
    return TrainPlan(
        run=config.name,
        device=device,
        measured=measurement.when if measurement else None,
        measured_steps=measurement.steps if measurement else 0,
        measured_clips=measurement.clips if measurement else 0,
        parameters=parameters,
        flops_per_clip=flops,
        flops_per_step=flops * train.batch_size,
        clips_per_step=train.batch_size,
        clips_per_s=rate,
        peak_share=rate * flops / measurement.peak if measurement and rate else None,
        clips_at_a_time=portion,
        memory_bytes=measurement.memory_of(portion) if measurement else None,
        largest_batch=most,
        steps=train.steps,
        hours={count: _hours(config, rate, count) for count in DEVICES},
        accumulate={count: _portions(config, most, count) for count in DEVICES},
        share_of_paper_step=train.batch_size / PAPER_BATCH,
        paper_step=round(PAPER_STEPS * PAPER_BATCH / train.batch_size),
        passes=clips / data.videos if data and data.videos else None,
        disk=_disk(config, parameters, data),
    )


def _hours(config: Config, rate: float | None, devices: int) -> float | None:
    """How long all steps take, if several devices are as much faster as they are more."""
    train = config.train
    if rate is None or train.batch_size % devices:
        return None
    return train.batch_size * train.steps / (rate * devices) / 3600


def _disk(config: Config, parameters: int, data: DataSize | None) -> Disk:
    per_frame, checkpoint = _bytes_of_latents(config), CHECKPOINT_BYTES * parameters
    return Disk(
        latents_bytes=(data.latents_bytes or data.frames * per_frame) if data else None,
        latents_bytes_per_frame=per_frame,
        checkpoint_bytes=checkpoint,
        checkpoints_bytes=checkpoint * _checkpoints_kept(config) + _averages(config, parameters),
    )


def _portions(config: Config, most: int | None, devices: int) -> int | None:
    """The fewest equal portions, from those configured on, that a device's clips fit in.

    Args:
        config: of the run.
        most: clips that fit at a time; None for any number.
        devices: how many share the batch.
    """
    clips, rest = divmod(config.train.batch_size, devices)
    if rest:
        return None
    wanted = range(config.train.accumulate, clips + 1)
    fitting = (n for n in wanted if clips % n == 0 and (most is None or clips // n <= most))
    return next(fitting, None)


def _bytes_of_latents(config: Config) -> int:
    """Of a frame: mean and deviation as float16, mirrored, too, where that is asked for."""
    views = 2 if config.data.flip else 1
    return views * 2 * 2 * config.vae.latent_channels * config.latent_size**2


def _checkpoints_kept(config: Config) -> int:
    """The newest, the best if one is found, those kept for good, and the one being written."""
    train = config.train
    spans = [span for span in (train.save_every, train.eval_every) if span is not None]
    for_good = train.steps // train.keep_every if train.keep_every else 0
    newest = min(train.keep, -(-train.steps // min(spans)))
    return newest + (train.eval_every is not None) + for_good + 1


def _averages(config: Config, parameters: int) -> int:
    """Bytes of the snapshots of the average alone."""
    train = config.train
    return 4 * parameters * (train.steps // train.ema_every) if train.ema_every else 0
