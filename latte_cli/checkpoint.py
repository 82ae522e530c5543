"""Checkpoints: folders that appear whole, are found by listing and checked by their checksums."""

import json
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from latte_cli.config import Config, config_from_tree, read_tree
from latte_cli.errors import CheckpointError
from latte_cli.files import sha256_of, whole_folder, write_tensors, write_text

FOR_SAMPLING = ("ema.safetensors", "config.yaml")
"""The files of a checkpoint that sampling reads."""

_META = "meta.json"
_CONFIG = "config.yaml"
_OPTIMIZER = "state/optimizer.safetensors"
_GROUPS = "state/optimizer.json"
_NAME = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class CheckpointMeta:
    """What a checkpoint says of itself.

    Attributes:
        step: optimizer steps taken.
        vae_fingerprint: of the autoencoder whose latents it learned; empty where it is not known.
        scaling_factor: of those latents.
        classes: names of the labels, where they have names.
        files: checksum of each other file.
    """

    step: int
    vae_fingerprint: str
    scaling_factor: float
    classes: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


def save_checkpoint(
    run: Path,
    config: Config,
    meta: CheckpointMeta,
    *,
    ema: Mapping[str, Tensor],
    model: Mapping[str, Tensor],
    optimizer: Mapping[str, Any],
) -> Path:
    """Write a checkpoint beside its place, then rename it into it.

    Args:
        run: the run's folder.
        config: resolved, to make the network again.
        meta: `files` is filled in here.
        ema: averaged weights, to sample with.
        model: raw weights, to resume from.
        optimizer: its `state_dict`.

    Returns:
        The checkpoint's folder.
    """
    folder = run / "checkpoints" / f"step-{meta.step:08d}"
    with whole_folder(folder) as part:
        (part / "state").mkdir()
        write_tensors(part / "model.safetensors", model)
        _write_optimizer(part, optimizer)
        _write_for_sampling(part, config, meta, ema)
    return folder


def save_for_sampling(
    folder: Path, config: Config, meta: CheckpointMeta, weights: Mapping[str, Tensor]
) -> None:
    """Write a folder that sampling, `train.init` and scripts read, without a state to resume from.

    Args:
        folder: appears whole, or not at all.
        config: resolved, to make the network again.
        meta: `files` is filled in here.
        weights: of the network.
    """
    with whole_folder(folder) as part:
        _write_for_sampling(part, config, meta, weights)


def _write_for_sampling(
    folder: Path, config: Config, meta: CheckpointMeta, weights: Mapping[str, Tensor]
) -> None:
    write_tensors(folder / "ema.safetensors", weights)
    write_text(folder / _CONFIG, config.to_yaml())
    write_meta(folder, meta)


def write_meta(folder: Path, meta: CheckpointMeta) -> None:
    """Write meta.json with the checksums of all that lies in the folder."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != _META)
    files = {str(path.relative_to(folder)): sha256_of(path) for path in paths}
    text = json.dumps({**asdict(meta), "files": files}, indent=2, ensure_ascii=False)
    write_text(folder / _META, text + "\n")


def list_checkpoints(run: Path) -> list[Path]:
    """A run's checkpoint folders, oldest first, whole or not."""
    found = [p for p in (run / "checkpoints").glob("step-*") if _NAME.fullmatch(p.name)]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def remove_old_checkpoints(run: Path, keep: int) -> None:
    """Delete all but those of the latest steps."""
    for folder in list_checkpoints(run)[:-keep]:
        shutil.rmtree(folder)


def what_is_broken(folder: Path, names: Collection[str] | None = None) -> str | None:
    """The first file that is missing or not what was written, or None for a whole checkpoint.

    Args:
        folder: the checkpoint.
        names: files to look at; all of them by default, which reads gigabytes of a large network.
    """
    try:
        meta = read_checkpoint_meta(folder)
    except CheckpointError as error:
        return str(error)
    for name, checksum in meta.files.items():
        path = folder / name
        if names is not None and name not in names:
            continue
        if not path.is_file():
            return f"{path} is missing"
        if sha256_of(path) != checksum:
            return f"{path} is not as it was written"
    return None


def read_checkpoint_meta(folder: Path) -> CheckpointMeta:
    """Read meta.json.

    Raises:
        CheckpointError: if the folder is no checkpoint.
    """
    try:
        values = json.loads((folder / _META).read_text(encoding="utf-8"))
        return CheckpointMeta(**{**values, "classes": tuple(values["classes"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{folder}: not a checkpoint folder",
            hint="checkpoints are the folders runs/NAME/checkpoints/step-…",
        ) from error


def read_checkpoint_config(folder: Path) -> Config:
    """The configuration that the checkpoint's network was trained with."""
    return config_from_tree(read_checkpoint_tree(folder), origin=str(folder / _CONFIG))


def read_checkpoint_tree(folder: Path) -> dict[str, Any]:
    """The same as a nested mapping, not yet validated."""
    path = folder / _CONFIG
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: not a checkpoint folder, it holds no {_CONFIG}",
            hint="checkpoints are the folders runs/NAME/checkpoints/step-…",
        )
    return read_tree(path)


def read_optimizer(folder: Path) -> dict[str, Any]:
    """The optimizer's state, as its `load_state_dict` takes it."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in load_file(folder / _OPTIMIZER).items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    groups = json.loads((folder / _GROUPS).read_text(encoding="utf-8"))
    return {"state": state, "param_groups": groups}


def _write_optimizer(folder: Path, state: Mapping[str, Any]) -> None:
    """An optimizer's tensors, named by parameter number, and its plain settings apart from them."""
    tensors = {
        f"{index}.{key}": value
        for index, values in state["state"].items()
        for key, value in values.items()
    }
    write_tensors(folder / _OPTIMIZER, tensors)
    write_text(folder / _GROUPS, json.dumps(state["param_groups"]) + "\n")
