"""A network written in any format that can hold it, and whether a place holds it already."""

from pathlib import Path

import torch

from latte_cli.checkpoints.folder import (
    CheckpointMeta,
    read_checkpoint_config,
    read_checkpoint_meta,
    save_for_sampling,
)
from latte_cli.checkpoints.formats import FOLDERS, Format
from latte_cli.config import Config
from latte_cli.models import Latte, LatteT2V
from latte_cli.models.exporting import (
    config_for_shape,
    write_diffusers,
    write_published,
    write_safetensors,
)
from latte_cli.models.loading import load_network
from latte_cli.models.reading import DIFFUSERS_CONFIG, WeightsFile, is_latte_folder, read_weights
from latte_cli.runtime.errors import ConfigError, ExistsError, LatteError
from latte_cli.sampling.existing import require_replaceable
from latte_cli.sampling.pipelines.files import is_pipeline
from latte_cli.sampling.pipelines.writing import write_pipeline


def check_is_replaceable(target: Path, form: Format, *, overwrite: bool) -> None:
    """Raise ExistsError if a target exists and may not be replaced."""
    if not target.exists():
        return
    if target.is_file() == (form in FOLDERS):
        kinds = ("a folder", "a file") if target.is_dir() else ("a file", "a folder")
        problem = f"is {kinds[0]}, where {form} is {kinds[1]}"
        raise ExistsError(f"{target} {problem}", target, replaceable=False)
    problem = "holds other weights, another configuration or another format"
    require_replaceable(target, problem, overwrite=overwrite)


def holds_network(
    target: Path, model: Latte | LatteT2V, form: Format, config: Config, source: WeightsFile
) -> bool:
    """Whether a file or folder holds what `write_network` would write."""
    is_form = {
        "latte": is_latte_folder(target),
        "diffusers": (target / DIFFUSERS_CONFIG).is_file() and not is_latte_folder(target),
        "pipeline": is_pipeline(target),
    }
    if not is_form.get(form, target.is_file()):
        return False
    try:
        heads = None if form == "latte" else model.shape.heads
        existing = load_network(read_weights(target), heads)
        if form == "latte" and read_checkpoint_config(target) != _config_of(model, config, source):
            return False
    except (LatteError, OSError):
        return False
    ours, theirs = model.state_dict(), existing.state_dict()
    return existing.shape == model.shape and all(
        torch.equal(value, theirs[name]) for name, value in ours.items()
    )


def write_network(
    model: Latte | LatteT2V, form: Format, config: Config, source: WeightsFile, target: Path
) -> None:
    """Write a network.

    Args:
        model: the network.
        form: any but adapters, which are no network.
        config: of the command: what weights without a configuration do not say.
        source: that the network was read from.
        target: file or folder.

    Raises:
        ConfigError: if the format cannot hold the network.
    """
    if form == "latte":
        is_ours = is_latte_folder(source.path)
        meta = read_checkpoint_meta(source.path) if is_ours else CheckpointMeta(0, "", 1.0)
        save_for_sampling(target, _config_of(model, config, source), meta, model.state_dict())
    elif (form in ("diffusers", "pipeline")) != isinstance(model, LatteT2V):
        is_text = isinstance(model, LatteT2V)
        raise ConfigError(
            f"{form} has no {'text-to-video' if is_text else 'class-conditional'} Latte network",
            hint=f"--to latte, or --to {'diffusers' if is_text else 'pt'}",
        )
    elif isinstance(model, LatteT2V) and form == "pipeline":
        write_pipeline(model, _config_of_pipeline(source), target)
    elif isinstance(model, LatteT2V):
        write_diffusers(model, target)
    else:
        (write_published if form == "pt" else write_safetensors)(model, target)


def _config_of(model: Latte | LatteT2V, config: Config, source: WeightsFile) -> Config:
    """The source's own configuration, or the command's with the network's shape."""
    if is_latte_folder(source.path):
        return read_checkpoint_config(source.path)
    return config_for_shape(model.shape, config)


def _config_of_pipeline(source: WeightsFile) -> Config:
    """The configuration that names the other parts of a network's pipeline."""
    if is_latte_folder(source.path):
        return read_checkpoint_config(source.path)
    raise ConfigError(
        f"{source.path}: does not say with which text encoder and autoencoder it was trained",
        hint="--to pipeline takes a checkpoint of `latte train`; --to diffusers, its network alone",
    )
