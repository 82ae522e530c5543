"""`latte init`: a preset of one's own, from a base and from what `latte prepare` found."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from latte_cli.config import Config, load_config, preset_folder, to_yaml
from latte_cli.config.locations import Locations
from latte_cli.config.preset_files import find_preset
from latte_cli.config.views.commented_yaml import commented_preset
from latte_cli.data.survey import DataSurvey, survey
from latte_cli.runtime.console import Console, format_bytes
from latte_cli.runtime.devices import memory_limit, pick_device, resolve_precision
from latte_cli.runtime.errors import ExistsError
from latte_cli.runtime.files import cache_folder, write_text
from latte_cli.sources import DATASETS
from latte_cli.training.planning.measurement import USABLE, measurement_path, read_measurement
from latte_cli.training.planning.measuring import bytes_without_clips, measure_memory
from latte_cli.training.planning.parameters import count_trained
from latte_cli.training.planning.plan import least_accumulate

_MOST_STEPS = 4  # that `measure_memory` takes
_NAMES_SHOWN = 6
_LONG_ENOUGH = 0.9  # share of the videos that a clip should fit into
_FEW = 0.5


@dataclass(frozen=True)
class InitOptions:
    """Options of `latte init`.

    Attributes:
        name: of the preset.
        base: the preset that it builds on.
        data: the prepared data set; None: there is none yet.
        out: the file to write.
        overrides: `KEY=VALUE`, which win over what is found.
        overwrite: whether a file that is there may be replaced.
    """

    name: str
    base: str
    data: Path | None
    out: Path
    overrides: Sequence[str] = ()
    overwrite: bool = False


@dataclass(frozen=True)
class InitResult:
    """What was written.

    Attributes:
        out: the file of the preset.
        base: the preset that it builds on.
        data: what is known of the data set.
        classes: number of classes of the network; None: unconditional.
        batch: what fits into this machine's memory.
    """

    out: Path
    base: str
    data: str
    classes: int | None
    batch: str


@dataclass(frozen=True)
class _Findings:
    """Values that follow from data and machine, and what there is to say of a key."""

    overrides: list[str]
    notes: dict[str, str]


def run(options: InitOptions, locations: Locations, console: Console) -> InitResult:
    """Choose the values that data and machine decide, and write the preset.

    Raises:
        ConfigError: on an unknown preset or key, or values that do not go together.
        DataError: if the prepared data set is damaged.
        ExistsError: if the file is there.
    """
    if options.out.exists() and not options.overwrite:
        raise ExistsError(f"{options.out} is there already", options.out)
    found = None if options.data is None else survey(options.data)
    chosen = _from_data(options, found, locations)
    given = [*chosen.overrides, *options.overrides]
    config = load_config(options.base, given)
    accumulate, batch = _fit_memory(config, console)
    if accumulate != config.train.accumulate:
        given.append(f"train.accumulate={accumulate}")
    notes = chosen.notes | {"train.batch_size": batch}
    what = f"no prepared data set yet; `latte {shlex.join(_prepare(options, locations))}` makes it"
    if found is not None:
        what = _in_words(found)
        passes = config.train.steps * config.train.batch_size / found.videos
        notes["train.steps"] = f"each video is seen {passes:,.0f} times"
    header = (
        f"{options.name}: a preset for {options.data or locations.data_root / options.name} "
        f"({what}).\nUse it from this folder: latte train -p {options.name}\n"
        "Lines that are commented out show the values that hold."
    )
    named = _base_beside(options)
    text = commented_preset(options.base, given, named=named, header=header, notes=notes)
    write_text(options.out, text)
    return InitResult(options.out, options.base, what, config.model.num_classes, batch)


def _base_beside(options: InitOptions) -> str:
    """The base as the new file names it: a path is relative to the file's folder."""
    path = find_preset(options.base)
    if path.is_relative_to(preset_folder()) or (path.stem, options.out.parent) == (
        options.base,
        path.parent,
    ):
        return options.base
    return Path(os.path.relpath(path, options.out.parent)).as_posix()


def _from_data(options: InitOptions, found: DataSurvey | None, locations: Locations) -> _Findings:
    """Values that the data set decides."""
    base = load_config(options.base, options.overrides)
    folder = locations.data_root / options.name if found is None else found.folder
    is_below = folder.parent == locations.data_root
    values: dict[str, object] = {"description": f"Made by `latte init` for {folder}."}
    values |= {"data.names": [folder.name]} if is_below else {"data.root": str(folder)}
    overrides = [f"{key}={to_yaml(value)}" for key, value in values.items()]
    if found is None:
        return _Findings(overrides, {})
    notes = {}
    step = base.vae.downsample * base.model.patch
    size = max(step, min(base.data.size, found.shorter_side // step * step))
    if size != base.data.size:
        overrides.append(f"data.size={size}")
    notes["data.size"] = f"most videos have {found.size[0]} x {found.size[1]}"
    frames, interval = _clip(base, found)
    overrides += [f"data.frames={frames}", f"data.interval={interval}"]
    share = found.share_of_length((frames - 1) * interval + 1)
    notes["data.frames"] = f"{share:.0%} of the videos are long enough"
    if found.fps:
        fps = min(1000.0, max(0.1, found.fps / interval))
        overrides.append(f"sample.fps={fps:.4g}")
        notes["sample.fps"] = f"the videos have {found.fps:g}, a clip lasts {frames / fps:.2g} s"
    classes, about = _classes(base, found)
    return _Findings(overrides + classes, notes | about)


def _clip(base: Config, found: DataSurvey) -> tuple[int, int]:
    """Frames and interval of a clip: those of the base, or fewer where videos are too short."""
    frames, interval = base.data.frames, base.data.interval
    if found.share_of_length(base.data.window) >= _FEW:
        return frames, interval
    if found.share_of_length(frames) >= _FEW:
        return frames, 1
    tube = base.model.tube if base.model.patch_embedding == "compression" else 1
    fits = [n for n in range(tube, frames, tube) if found.share_of_length(n) >= _LONG_ENOUGH]
    return max(fits, default=tube), 1


def _classes(base: Config, found: DataSurvey) -> tuple[list[str], dict[str, str]]:
    """Whether the network is class-conditional, as training would decide by the labels."""
    if base.model.condition == "text":
        return [], {}
    if not found.has_labels(base.data.split):
        why = {"model.condition": "not every video has a label"} if found.classes else {}
        return ["model.condition=none", "model.num_classes=null"], why
    names = ", ".join(found.classes[:_NAMES_SHOWN])
    more = ", …" if len(found.classes) > _NAMES_SHOWN else ""
    count = f"model.num_classes={len(found.classes)}"
    return ["model.condition=class", count], {"model.num_classes": f"{names}{more}"}


def _fit_memory(config: Config, console: Console) -> tuple[int, str]:
    """The micro-batches that a step needs on this machine, and how that is known."""
    train, device = config.train, pick_device()
    dtype = resolve_precision(train.precision, device)
    parameters = count_trained(config)
    limit = memory_limit(device)
    measured = read_measurement(measurement_path(cache_folder(), config, device, dtype))
    if measured is None:
        with console.progress("measuring memory", _MOST_STEPS, "steps") as bar:
            measured = measure_memory(config, parameters, device, dtype, bar.advance)
    if measured is None:
        least = format_bytes(bytes_without_clips(train, parameters, device))
        usable = format_bytes(USABLE * limit)
        text = f"does not fit: {least} without a single clip, {usable} can be counted on"
        console.warning(
            f"the network of {config.name} {text}; choose a smaller one, such as model.size=S"
        )
        return train.accumulate, text
    most = measured.largest_batch(limit)
    accumulate = least_accumulate(config, most, 1)
    if most == 0 or accumulate is None:
        console.warning("not one clip fits into the memory of this machine")
        return train.batch_size, f"not one clip fits into {format_bytes(limit)}"
    at_a_time = f"{most} clips fit" if most is not None else "all of them fit"
    return accumulate, f"{at_a_time} into {format_bytes(limit)} at a time, by a few trial steps"


def _in_words(found: DataSurvey) -> str:
    """A data set in a few words."""
    rate = f" at {found.fps:g} fps" if found.fps else ""
    classes = f", {len(found.classes)} classes" if found.classes else ""
    return f"{found.videos:,} videos of {found.size[0]} x {found.size[1]}{rate}{classes}"


def _prepare(options: InitOptions, locations: Locations) -> list[str]:
    """The command that makes the data set, without `latte`."""
    dataset = options.base if options.base in DATASETS else "folder"
    source = [] if dataset == "shapes" else ["--source", "VIDEOS"]
    return ["prepare", dataset, *source, "--out", str(locations.data_root / options.name)]


def next_steps(options: InitOptions, locations: Locations) -> list[list[str]]:
    """The three commands that follow, without `latte`; work that is done already is left out."""
    plain = options.out == Path(f"{options.name}.yaml")
    preset = ["-p", options.name if plain else str(options.out)]
    prepare = [] if options.data is not None else [_prepare(options, locations)]
    latents = locations.latents(load_config(str(options.out))) / "meta.json"
    encode = [] if latents.is_file() else [["encode-latents", *preset]]
    steps = [*prepare, *encode, ["train", *preset], ["sample", *preset]]
    return [*([["train", *preset, "--plan"]] if len(steps) < 3 else []), *steps][:3]
