"""`latte train --plan`: what a run will cost; nothing is written but the measurement."""

from dataclasses import asdict

from latte_cli.config import Config
from latte_cli.config.locations import Locations, cache_folder
from latte_cli.data.latents.reading import META, SUFFIX
from latte_cli.data.manifest import MANIFEST
from latte_cli.data.table import VideoTable
from latte_cli.models.designs import count_design, count_training_flops
from latte_cli.runtime.console import Console
from latte_cli.runtime.devices import (
    device_name,
    memory_limit,
    pick_device,
    resolve_precision,
)
from latte_cli.training.measuring import (
    STEPS,
    WARMUP_STEPS,
    bytes_without_clips,
    measure_training,
    measurement_path,
    read_measurement,
    write_measurement,
)
from latte_cli.training.plan import DataSize, DeviceInfo, TrainPlan, plan_run, table_rows


def run(config: Config, locations: Locations, console: Console) -> TrainPlan:
    """Count the network, measure a few steps or read an earlier measurement, and plan the run.

    Neither data nor latents are needed; if there are some, the plan includes their size.

    Raises:
        ConfigError: for a text model, or values that do not fit together.
    """
    if config.data.source == "pixels":
        console.warning("data.source is pixels: decoding and encoding come on top of these figures")
    device = pick_device()
    dtype = resolve_precision(config.train.precision, device)
    parameters = count_design(config).parameters
    flops = count_training_flops(config)
    limit = memory_limit(device)
    path = measurement_path(cache_folder(), config, device, dtype)
    measurement = read_measurement(path)
    if measurement is None:
        with console.progress("measuring", STEPS + WARMUP_STEPS, "steps") as bar:
            measurement = measure_training(config, parameters, device, dtype, bar.advance)
        if measurement is not None:
            write_measurement(path, measurement)
    else:
        console.info(f"measured before; to measure again, delete {path}")
    info = DeviceInfo(
        name=device_name(device),
        precision=str(dtype).removeprefix("torch.").replace("bfloat16", "bf16"),
        memory_bytes=limit,
        least_bytes=bytes_without_clips(parameters, device),
    )
    return plan_run(config, info, parameters, flops, measurement, _data_size(config, locations))


def show(plan: TrainPlan, console: Console) -> TrainPlan:
    """Print a plan as a table, or as JSON, and return it."""
    console.table(("what", "figure", "how it is known"), list(table_rows(plan)), asdict(plan))
    return plan


def _data_size(config: Config, locations: Locations) -> DataSize | None:
    """The size of the encoded latents, else of the prepared data; None if there are neither."""
    latents, manifest = locations.latents(config), locations.data(config) / MANIFEST
    index, latents_bytes = latents / "index.jsonl", None
    if (latents / META).is_file() and index.is_file():
        table = VideoTable.read(index)
        latents_bytes = sum(path.stat().st_size for path in latents.glob(f"*{SUFFIX}"))
    elif manifest.is_file():
        table = VideoTable.read(manifest)
    else:
        return None
    return DataSize(len(table), int(table.frames.sum()), latents_bytes)
