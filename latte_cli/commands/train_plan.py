"""`latte train --plan`: what a run will cost; nothing is written but the measurement."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch

from latte_cli.config import Config
from latte_cli.config.locations import Locations, pipeline_path
from latte_cli.data.latents.reading import INDEX, META, SUFFIX, require_meta
from latte_cli.data.manifest import MANIFEST, read_classes
from latte_cli.data.table import VideoTable
from latte_cli.data.texts.batches import captions_of
from latte_cli.data.texts.store import NULL_TEXT, key_of
from latte_cli.models.designs import training_flops_by_part
from latte_cli.runtime.console import Console, format_duration
from latte_cli.runtime.devices import (
    device_name,
    matrix_peak,
    memory_limit,
    pick_device,
    resolve_precision,
)
from latte_cli.runtime.files import cache_folder
from latte_cli.text.cost import encoder_cost
from latte_cli.text.encoder import MAX_TOKENS
from latte_cli.training.conditioning import with_conditioning
from latte_cli.training.planning.caching import CachingCost, Encoding, seconds_of
from latte_cli.training.planning.measurement import (
    Measurement,
    measurement_path,
    read_measurement,
    write_measurement,
)
from latte_cli.training.planning.measuring import (
    STEPS,
    WARMUP_STEPS,
    bytes_without_clips,
    measure_training,
)
from latte_cli.training.planning.memory_plan import plan_memory
from latte_cli.training.planning.parameters import Parameters, count_trained
from latte_cli.training.planning.plan import DEVICES, DataSize, DeviceInfo, TrainPlan, plan_run
from latte_cli.training.planning.released import compare_with_released
from latte_cli.training.planning.table import table_rows
from latte_cli.training.planning.totals import sum_of
from latte_cli.vae.cost import flops_per_frame

_LEAST_PART = 0.25  # of a clip, in the smallest step that is measured
_MOST_SECONDS = 120.0  # that such a step may take
_ENCODER_BYTES = {"float32": 4, "bf16": 2, "int8": 1}  # of a weight


@dataclass(frozen=True)
class PlanOptions:
    """Options of `latte train --plan` in addition to the configuration.

    Attributes:
        run: name of the run; None: the preset's.
        resume: as for training: a run that is resumed keeps its conditioning.
        fresh: measure again.
    """

    run: str | None = None
    resume: str = "auto"
    fresh: bool = False


def run(config: Config, locations: Locations, console: Console, options: PlanOptions) -> TrainPlan:
    """Count the network, measure a few steps or read a recent measurement, and plan the run.

    Neither data nor latents are needed; if there are some, the plan includes their size, and
    their labels decide the conditioning as they do in training.

    Raises:
        CheckpointError: if the teacher cannot be read, or does not fit.
        ConfigError: if values do not fit together.
        DataError: if there are more labels than a resumed run has learned.
    """
    if config.data.source == "pixels":
        console.warning("data.source is pixels: decoding and encoding come on top of these figures")
    data = _find_data(config, locations)
    if data is not None:
        folder = locations.run(config, options.run)
        config = with_conditioning(
            config, data.table, data.classes, folder, options.resume, console
        )
    device = pick_device()
    dtype = resolve_precision(config.train.precision, device)
    parameters, memory = count_trained(config), plan_memory(config, DEVICES)
    info = DeviceInfo(
        name=device_name(device),
        precision=str(dtype).removeprefix("torch.").replace("bfloat16", "bf16"),
        memory_bytes=memory_limit(device),
        least_bytes=bytes_without_clips(config.train, parameters, device),
    )
    flops = training_flops_by_part(config)
    least_s = _LEAST_PART * sum(flops.values()) / matrix_peak(device, dtype)
    measurement = None
    if least_s <= _MOST_SECONDS:
        measurement = _measurement(config, parameters, device, dtype, console, fresh=options.fresh)
    else:
        least = format_duration(least_s)
        console.info(f"not measured: the smallest step takes {least} or more on this device")
    size = data.size if data else None
    released = compare_with_released(config, locations.data(config).name)
    caching = None
    if config.data.source == "latents":
        peak = matrix_peak(device, dtype)
        share = measurement.clips_per_s * sum(flops.values()) / peak if measurement else None
        caching = _caching_cost(config, locations, data, peak, share)
    return plan_run(config, info, parameters, flops, measurement, size, released, memory, caching)


def _caching_cost(
    config: Config, locations: Locations, data: "_Data | None", peak: float, share: float | None
) -> CachingCost:
    """What is still to be encoded, and what it costs.

    Args:
        config: of the run.
        locations: of data and latents.
        data: that is here; None if there is none.
        peak: operations a second of a large matrix product on this device.
        share: of it that training reaches; None if it was not measured.
    """
    flops = flops_per_frame(config.vae.path, config.data.size)
    frames = None
    if data is not None:
        views = 2 if config.data.flip else 1
        frames = 0 if data.size.latents_bytes is not None else views * data.size.frames
    size = 2 * 2 * config.vae.latent_channels * config.latent_size**2  # mean and deviation, float16
    of_frames = Encoding("frames", frames, flops, seconds_of(flops, peak, share), size)
    latents = str(locations.latents(config))
    if config.model.condition != "text":
        return CachingCost(latents, of_frames)
    encoder = encoder_cost(pipeline_path(config.text.path))
    captions = None
    if data is not None:
        is_there = (locations.texts(config) / META).is_file()
        captions = 0 if is_there else _count_captions(data.table)
    of_captions = Encoding(
        what="captions",
        count=captions,
        flops=encoder.flops_per_text,
        seconds=seconds_of(encoder.flops_per_text, peak, share),
        bytes=2 * MAX_TOKENS * config.model.text_width,
    )
    held = _ENCODER_BYTES[config.text.precision] * encoder.parameters
    return CachingCost(latents, of_frames, of_captions, held)


def _count_captions(table: VideoTable) -> int:
    """The different captions of a data set, and the null text."""
    return len({key_of(text) for row in table.rows() for text in (NULL_TEXT, *captions_of(row))})


def _measurement(
    config: Config,
    parameters: Parameters,
    device: torch.device,
    dtype: torch.dtype,
    console: Console,
    *,
    fresh: bool,
) -> Measurement | None:
    """An earlier measurement that still holds, or a new one; None if not even weights fit."""
    path = measurement_path(cache_folder(), config, device, dtype)
    earlier = None if fresh else read_measurement(path)
    if earlier is not None:
        reason = earlier.why_stale(matrix_peak(device, dtype))
        if reason is None:
            console.info(f"measured before, {earlier.circumstances}; --fresh measures again")
            return earlier
        console.info(f"measuring again: the last time was {earlier.circumstances}: {reason}")
    with console.progress("measuring", STEPS + WARMUP_STEPS, "steps") as bar:
        measurement = measure_training(config, parameters, device, dtype, bar.advance)
    if measurement is not None:
        write_measurement(path, measurement)
    return measurement


def show(plans: Mapping[str, TrainPlan], console: Console) -> object:
    """Print plans as tables, or as JSON, and return the result: the plan, or all with their sum.

    Args:
        plans: by the title of the stage; a run without stages has a single plan.
        console: of the command.
    """
    header = ("what", "figure", "how it is known")
    if len(plans) == 1:
        (plan,) = plans.values()
        console.table(header, list(table_rows(plan)), asdict(plan))
        return plan
    total = sum_of(plans)
    rows = [
        row
        for title, plan in plans.items()
        for row in [(title, "", ""), *table_rows(plan), ("", "", "")]
    ]
    rows += [("all stages", "", ""), *total.rows()]
    console.table(header, rows, asdict(total))
    return total


@dataclass(frozen=True)
class _Data:
    """The videos that are here: their table, the names of their labels, and their size."""

    table: VideoTable
    classes: tuple[str, ...]
    size: DataSize


def _find_data(config: Config, locations: Locations) -> _Data | None:
    """The encoded latents, else the prepared data; None if there are neither."""
    latents, data = locations.latents(config), locations.data(config)
    index, latents_bytes = latents / INDEX, None
    words = ("split",)
    if (latents / META).is_file() and index.is_file():
        table, classes = VideoTable.read(index, words=words), require_meta(latents).classes
        latents_bytes = sum(path.stat().st_size for path in latents.glob(f"*{SUFFIX}"))
    elif (data / MANIFEST).is_file():
        table, classes = VideoTable.read(data / MANIFEST, words=words), read_classes(data)
    else:
        return None
    size = DataSize(len(table), int(table.frames.sum()), latents_bytes)
    return _Data(table, tuple(classes), size)
