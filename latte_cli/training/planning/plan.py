"""What a run will cost: arithmetic on counts and measurements, and its table."""

from collections.abc import Mapping
from dataclasses import dataclass

from latte_cli.config import Config
from latte_cli.models.sequence.clips import bytes_per_step
from latte_cli.models.shapes import shape_from_config
from latte_cli.training.planning.caching import CachingCost
from latte_cli.training.planning.measurement import Measurement
from latte_cli.training.planning.measuring import checkpoint_bytes
from latte_cli.training.planning.memory_plan import MemoryPlan
from latte_cli.training.planning.parameters import Parameters
from latte_cli.training.planning.released import PAPER_STEPS, Comparison

DEVICES = (1, 2, 4, 8)
_STREAM_BYTES = 4  # of a value of the residual stream, which is float32


@dataclass(frozen=True)
class DataSize:
    """The size of the data set.

    Attributes:
        videos: how many.
        frames: of all of them.
        latents_bytes: on disk; None if they are not encoded yet.
    """

    videos: int
    frames: int
    latents_bytes: int | None = None


@dataclass(frozen=True)
class DeviceInfo:
    """The device that the run is planned for.

    Attributes:
        name: of its model.
        precision: of the matrix products.
        memory_bytes: that a run can use.
        least_bytes: that this run takes without a single clip.
    """

    name: str
    precision: str
    memory_bytes: int
    least_bytes: int


@dataclass(frozen=True)
class DiskUse:
    """Disk space of a run.

    Attributes:
        latents_bytes: of the data set; None without data.
        latents_bytes_per_frame: of one frame, in all views.
        checkpoint_bytes: of one checkpoint, about.
        checkpoints_bytes: of all that are kept, the one being written, and EMA snapshots.
        snapshots: how many of the EMA, of `snapshot_bytes` each.
    """

    latents_bytes: int | None
    latents_bytes_per_frame: int
    checkpoint_bytes: int
    checkpoints_bytes: int
    snapshots: int
    snapshot_bytes: int


@dataclass(frozen=True)
class TrainPlan:
    """What a run costs on this device, and on several like it.

    Attributes:
        run: name of the preset.
        device: this one.
        measured: when, ISO 8601; None if nothing could be measured.
        measured_under: the load on the machine then, as a message; None if it is not known.
        measured_steps: how many were timed.
        measured_clips: in each of them.
        parameters: of the network.
        trained: of these, those that are not frozen.
        flops_per_clip: of all that training does with it; a multiply-add is two.
        flops_by_part: the same by part.
        flops_per_step: of all clips of a step.
        clips_per_step: over all devices.
        clips_per_s: on one device; None if nothing could be measured.
        peak_share: of the operations a second of a large matrix product on this device.
        clips_at_a_time: on one device: the batch over `train.accumulate`.
        memory_bytes: peak of a step on one device.
        largest_batch: clips at a time that fit on this device; None where that is not known.
        steps: of the configuration.
        hours: to the last step, by number of devices; None where the batch does not divide.
        accumulate: micro-batches that a device's clips must be split into, by number of devices.
        released: settings that the run is compared with, and what differs.
        share_of_paper_step: clips of a step over those of a released step.
        paper_step: at which this run has seen as many clips as the paper's longest curves.
        sent_bytes: of a clip, that each of the processes sends that share it; 0 for one.
        passes: epochs, how often each video is seen on average; None without data.
        disk: for latents and checkpoints.
        memory: on GPUs, by part; None where that is not predicted.
        caching: of what is encoded before; None for training on pixels.
    """

    run: str
    device: DeviceInfo
    measured: str | None
    measured_under: str | None
    measured_steps: int
    measured_clips: float
    parameters: int
    trained: int
    flops_per_clip: int
    flops_by_part: Mapping[str, int]
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
    released: Comparison
    share_of_paper_step: float
    paper_step: int
    sent_bytes: int
    passes: float | None
    disk: DiskUse
    memory: MemoryPlan | None
    caching: CachingCost | None


def plan_run(
    config: Config,
    device: DeviceInfo,
    parameters: Parameters,
    flops: Mapping[str, int],
    measurement: Measurement | None,
    data: DataSize | None,
    released: Comparison,
    memory: MemoryPlan | None = None,
    caching: CachingCost | None = None,
) -> TrainPlan:
    """Work out what a run costs.

    Args:
        config: of the run.
        device: to plan for.
        parameters: of the network, counted.
        flops: operations for one clip, by part, see `training_flops_by_part`.
        measurement: of a few steps; None if nothing could be measured.
        data: size of the data set; None if it is not here.
        released: the run beside the released settings.
        memory: on GPUs; None where that is not predicted.
        caching: of what is encoded before.
    """
    train = config.train
    rate = measurement.clips_per_s if measurement else None
    per_clip = sum(flops.values())
    at_a_time = train.batch_size // train.accumulate
    most = measurement.largest_batch(device.memory_bytes) if measurement else 0
    return TrainPlan(
        run=config.name,
        device=device,
        measured=measurement.when if measurement else None,
        measured_under=(measurement.busy or None) if measurement else None,
        measured_steps=measurement.steps if measurement else 0,
        measured_clips=measurement.clips if measurement else 0,
        parameters=parameters.total,
        trained=parameters.trained,
        flops_per_clip=per_clip,
        flops_by_part=flops,
        flops_per_step=per_clip * train.batch_size,
        clips_per_step=train.batch_size,
        clips_per_s=rate,
        peak_share=rate * per_clip / measurement.peak if measurement and rate else None,
        clips_at_a_time=at_a_time,
        memory_bytes=measurement.memory_of(at_a_time) if measurement else None,
        largest_batch=most,
        steps=train.steps,
        hours={count: _hours(config, rate, count) for count in DEVICES},
        accumulate={count: least_accumulate(config, most, count) for count in DEVICES},
        released=released,
        share_of_paper_step=train.batch_size / released.clips_per_step,
        paper_step=round(PAPER_STEPS * released.clips_per_step / train.batch_size),
        sent_bytes=_sent_bytes(config),
        passes=train.batch_size * train.steps / data.videos if data and data.videos else None,
        disk=_disk_use(config, parameters, data),
        memory=memory,
        caching=caching,
    )


def _sent_bytes(config: Config) -> int:
    """What a process sends in a step for each clip that it shares."""
    frames = config.data.frames + config.data.num_images
    processes = config.train.sequence_parallel
    return bytes_per_step(shape_from_config(config), frames, 1, _STREAM_BYTES, processes)


def _hours(config: Config, rate: float | None, devices: int) -> float | None:
    """Hours of all steps, if n devices are n times as fast as one."""
    train = config.train
    if rate is None or train.batch_size % devices:
        return None
    return train.batch_size * train.steps / (rate * devices) / 3600


def least_accumulate(config: Config, most: int | None, devices: int) -> int | None:
    """The fewest micro-batches, at least those configured, with which a device's clips fit.

    Args:
        config: of the run.
        most: clips that fit at a time; None for any number.
        devices: how many share the batch.
    """
    clips, rest = divmod(config.train.batch_size, devices)
    if rest:
        return None
    counts = range(config.train.accumulate, clips + 1)
    return next(
        (n for n in counts if clips % n == 0 and (most is None or clips // n <= most)), None
    )


def _disk_use(config: Config, parameters: Parameters, data: DataSize | None) -> DiskUse:
    train = config.train
    views = 2 if config.data.flip else 1
    # Of each view mean and standard deviation, two bytes a value.
    per_frame = views * 2 * 2 * config.vae.latent_channels * config.latent_size**2
    # The newest, the best if one is found, those kept for good, and the one being written.
    spans = [span for span in (train.save_every, train.eval_every) if span is not None]
    newest = min(train.keep, -(-train.steps // min(spans)))
    for_good = train.steps // train.keep_every if train.keep_every else 0
    count = newest + (train.eval_every is not None) + for_good + 1
    checkpoint = checkpoint_bytes(train, parameters)
    return DiskUse(
        latents_bytes=(data.latents_bytes or data.frames * per_frame) if data else None,
        latents_bytes_per_frame=per_frame,
        checkpoint_bytes=checkpoint,
        checkpoints_bytes=checkpoint * count + 4 * parameters.total * train.snapshot_count,
        snapshots=train.snapshot_count,
        snapshot_bytes=4 * parameters.total,  # one average in float32, or two in float16
    )
