"""`latte train --plan`: what a run costs, before it is begun; nothing is written beside it."""

from dataclasses import asdict
from pathlib import Path

from latte_cli.config import Config
from latte_cli.config.locations import Locations, cache_folder
from latte_cli.data.latents.reading import META, SUFFIX
from latte_cli.data.manifest import MANIFEST
from latte_cli.data.table import VideoTable
from latte_cli.models.designs import count_design, count_training_flops
from latte_cli.runtime.console import Console
from latte_cli.runtime.devices import pick_device, resolve_precision
from latte_cli.runtime.machine import device_name, memory_limit
from latte_cli.training.planning.measurement import (
    bytes_without_clips,
    keep_measurement,
    kept_measurement,
    place_of_measurement,
)
from latte_cli.training.planning.measuring import STEPS, measure_training
from latte_cli.training.planning.plan import DataSize, Machine, TrainPlan, plan_run
from latte_cli.training.planning.plan_table import rows_of

_STEPS_BEFORE = 5  # that the timed ones need


def run(config: Config, locations: Locations, console: Console) -> TrainPlan:
    """Count, measure or read what was measured before, and work out the rest.

    Neither data nor latents are needed; where there are some, their size is told.

    Raises:
        ConfigError: on a text model, or values that do not fit together.
    """
    if config.data.source == "pixels":
        console.warn("data.source is pixels: decoding and encoding come on top of these figures")
    device = pick_device()
    dtype = resolve_precision(config.train.precision, device)
    counted = (count_design(config).parameters, count_training_flops(config))
    limit = memory_limit(device)
    place = place_of_measurement(cache_folder(), config, device, dtype)
    measurement = kept_measurement(place)
    if measurement is None:
        with console.progress("measuring", STEPS + _STEPS_BEFORE, "steps") as bar:
            measurement = measure_training(config, counted[0], device, dtype, bar.advance)
        if measurement is not None:
            keep_measurement(place, measurement)
    else:
        console.say(f"measured before; to measure anew, delete {place}")
    precision = str(dtype).removeprefix("torch.").replace("bfloat16", "bf16")
    least = bytes_without_clips(counted[0], device)
    machine = Machine(device_name(device), precision, limit, least)
    return plan_run(config, machine, counted, measurement, _data_here(config, locations))


def show(plan: TrainPlan, console: Console) -> TrainPlan:
    """Print a plan, as a table with how each figure is known, or as JSON; pass it on."""
    console.table(("what", "figure", "how it is known"), list(rows_of(plan)), asdict(plan))
    return plan


def _data_here(config: Config, locations: Locations) -> DataSize | None:
    """What is prepared or encoded already."""
    latents, data = locations.latents(config), locations.data(config)
    if (latents / META).is_file():
        index = latents / "index.jsonl"
        encoded = sum(path.stat().st_size for path in latents.glob(f"*{SUFFIX}"))
        if index.is_file():
            return _size(index, encoded)
    return _size(data / MANIFEST) if (data / MANIFEST).is_file() else None


def _size(path: Path, latents_bytes: int | None = None) -> DataSize:
    table = VideoTable.read(path)
    return DataSize(len(table), int(table.frames.sum()), latents_bytes)
