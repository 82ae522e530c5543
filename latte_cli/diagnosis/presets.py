"""Which presets could be trained and sampled from now, and what each still lacks."""

from collections.abc import Iterator
from dataclasses import dataclass

from latte_cli.checkpoints.folder import list_checkpoints
from latte_cli.checkpoints.names import last_stage
from latte_cli.config import Config, load_config, preset_names
from latte_cli.config.locations import EMBEDDED, Locations, shipped_network
from latte_cli.config.preset_files import own_presets
from latte_cli.data.manifest import MANIFEST
from latte_cli.diagnosis.finding import Finding
from latte_cli.diagnosis.weights import autoencoder_problem
from latte_cli.runtime.console import format_bytes
from latte_cli.runtime.devices import memory_limit, pick_device
from latte_cli.runtime.errors import LatteError
from latte_cli.sources import DATASETS
from latte_cli.training.planning.measurement import USABLE
from latte_cli.training.planning.measuring import bytes_without_clips
from latte_cli.training.planning.parameters import count_trained

PART = "presets"


@dataclass(frozen=True)
class _Lack:
    """What a preset lacks before it can be trained, and the command or change that mends it."""

    what: str
    mend: str


def check_presets(locations: Locations) -> Iterator[Finding]:
    """Presets of data sets, and those in the current folder; studies are of one data set."""
    for name in [name for name in preset_names() if "/" not in name] + own_presets():
        try:
            config = load_config(name)
        except LatteError as error:
            yield Finding(PART, name, "error", str(error), error.hint)
            continue
        yield _check(name, config, locations)


def _check(name: str, config: Config, locations: Locations) -> Finding:
    lacks = list(_lacks(name, config, locations))
    can = [] if lacks else ["can be trained"]
    can += [_can_sample(config, locations)] if _can_sample(config, locations) else []
    text = "; ".join(can)
    if lacks:
        needs = f"lacks {', '.join(lack.what for lack in lacks)}"
        text = f"{text}; {needs}" if text else needs
    return Finding(PART, name, "warning" if lacks else "ok", text, lacks[0].mend if lacks else "")


def _can_sample(config: Config, locations: Locations) -> str:
    """What can be sampled from; empty if there is nothing."""
    run = last_stage(locations.run(config))
    if checkpoints := list_checkpoints(run):
        return f"can be sampled from {checkpoints[-1]}"
    return (
        "can be sampled from the network that ships"
        if shipped_network(config.name).is_dir()
        else ""
    )


def _lacks(name: str, config: Config, locations: Locations) -> Iterator[_Lack]:
    data, latents = locations.data(config), locations.latents(config)
    if not (latents / "meta.json").is_file():
        if not (data / MANIFEST).is_file():
            own = "captions" if config.model.condition == "text" else "folder"
            dataset = data.name if data.name in DATASETS else own
            source = {"shapes": "", "captions": " --source TABLE"}.get(dataset, " --source VIDEOS")
            prepare = f"latte prepare {dataset}{source} --out {data}"
            yield _Lack("prepared videos", prepare)
        yield _Lack("latents", f"latte encode-latents -p {name}")
    if config.vae.path != EMBEDDED and (problem := autoencoder_problem(config.vae.path)):
        yield _Lack(problem, "it is downloaded at first use; or -o vae.path=FOLDER")
    if config.model.condition == "class" and config.model.num_classes is None:
        return  # which the videos decide
    device = pick_device()
    needed = bytes_without_clips(config.train, count_trained(config), device)
    limit = memory_limit(device)
    if needed > USABLE * limit:
        text = f"memory ({format_bytes(needed)}, here {format_bytes(limit)})"
        yield _Lack(text, "-o model.size=S, or another device; `latte train --plan` shows more")
