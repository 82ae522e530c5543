"""`latte train --plan`: what a run will cost; nothing is written but the measurement."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch

from latte_cli.config import Config
from latte_cli.config.locations import Locations, cache_folder
from latte_cli.data.latents.reading import INDEX, META, SUFFIX, require_meta
from latte_cli.data.manifest import MANIFEST, read_classes
from latte_cli.data.table import VideoTable
from latte_cli.models.designs import count_design, training_flops_by_part
from latte_cli.runtime.console import Console
from latte_cli.runtime.devices import (
    device_name,
    matrix_peak,
    memory_limit,
    pick_device,
    resolve_precision,
)
from latte_cli.training.conditioning import with_conditioning
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
from latte_cli.training.planning.plan import DataSize, DeviceInfo, TrainPlan, plan_run, table_rows
from latte_cli.training.planning.released import compare_with_released
from latte_cli.training.planning.totals import sum_of


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
        ConfigError: for a text model, or values that do not fit together.
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
    parameters = count_design(config).parameters
    info = DeviceInfo(
        name=device_name(device),
        precision=str(dtype).removeprefix("torch.").replace("bfloat16", "bf16"),
        memory_bytes=memory_limit(device),
        least_bytes=bytes_without_clips(config.train, parameters, device),
    )
    measurement = _measurement(config, parameters, device, dtype, console, fresh=options.fresh)
    flops = training_flops_by_part(config)
    size = data.size if data else None
    released = compare_with_released(config, locations.data(config).name)
    return plan_run(config, info, parameters, flops, measurement, size, released)


def _measurement(
    config: Config,
    parameters: int,
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
