"""Checkpoints: folders that appear whole, are found by listing and checked by their checksums."""

import json
import os
import re
import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from latte_cli.checkpoints.state import write_state
from latte_cli.config import Config, config_from_tree, read_tree
from latte_cli.runtime.errors import CheckpointError
from latte_cli.runtime.files import PART, sha256_of, whole_folder, write_tensors, write_text

FOR_SAMPLING = ("ema.safetensors", "config.yaml")
"""The files of a checkpoint that sampling reads."""

BEST = "best.json"
"""The file in a run's folder that names its best checkpoint, by an evaluation."""

_META = "meta.json"
_CONFIG = "config.yaml"
_NAME = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class CheckpointMeta:
    """What a checkpoint says of itself.

    Attributes:
        step: optimizer steps taken.
        vae_fingerprint: of the autoencoder whose latents it learned; empty where it is not known.
        scaling_factor: of those latents.
        classes: names of the labels, where they have names.
        made_by: versions of the code; empty where they are not known.
        videos: how many it learned from; 0 where that is not known.
        data_digest: of their order, lengths and labels, on which batches depend; empty as above.
        contents_digest: of the checksums of their files, in the same order; empty as above.
        files: checksum of each other file.
    """

    step: int
    vae_fingerprint: str
    scaling_factor: float
    classes: tuple[str, ...] = ()
    made_by: str = ""
    videos: int = 0
    data_digest: str = ""
    contents_digest: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


def save_checkpoint(
    run: Path,
    config: Config,
    meta: CheckpointMeta,
    *,
    ema: Mapping[str, Tensor],
    model: Mapping[str, Tensor],
    optimizer: Mapping[str, Any],
    guard: Mapping[str, Tensor],
    progress: Mapping[str, int],
) -> Path:
    """Write a checkpoint beside its place, then rename it into it.

    Args:
        run: the run's folder.
        config: resolved, to make the network again.
        meta: `files` is filled in here.
        ema: averaged weights, to sample with.
        model: raw weights, to resume from.
        optimizer: its `state_dict`.
        guard: the spike guard's `state_dict`.
        progress: where in the data the run stands, and what befell it, by name.

    Returns:
        The checkpoint's folder.
    """
    folder = checkpoint_folder(run, meta.step)
    with whole_folder(folder) as part:
        write_tensors(part / "model.safetensors", model)
        write_state(part, optimizer, guard, progress)
        _write_for_sampling(part, config, meta, ema)
    return folder


def checkpoint_folder(run: Path, step: int) -> Path:
    """Where a run's checkpoint of a step lies, or will lie."""
    return run / "checkpoints" / f"step-{step:08d}"


def average_folder(run: Path, step: int) -> Path:
    """Where a snapshot of the average alone lies, or will lie."""
    return run / "ema" / f"step-{step:08d}"


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
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """The step of a checkpoint's folder, by its name."""
    return int(checkpoint.name.removeprefix("step-"))


def remove_old_checkpoints(run: Path, keep: int, keep_every: int | None = None) -> None:
    """Delete all but those of the latest steps, and the best one.

    Args:
        run: the run's folder.
        keep: how many are left.
        keep_every: those of every so many steps are left in any case; None for no such.
    """
    best = best_of(run)
    for folder in list_checkpoints(run)[:-keep]:
        if folder != best and (keep_every is None or step_of(folder) % keep_every):
            remove_checkpoint(folder)


def best_of(run: Path) -> Path | None:
    """The folder that a run's best.json names; None where nothing names one."""
    try:
        told = json.loads((run / BEST).read_text(encoding="utf-8"))
        return run / str(told["checkpoint"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def remove_checkpoint(folder: Path) -> None:
    """Delete a checkpoint: it is gone at once, even if deleting its files is interrupted."""
    going = folder.with_name(f"{PART}{os.getpid()}-{folder.name}")
    shutil.rmtree(going, ignore_errors=True)
    shutil.rmtree(folder.rename(going))


def remove_unfinished_checkpoints(run: Path) -> None:
    """Delete what writing or deleting left behind when it was killed."""
    for name in ("checkpoints", "ema"):
        for folder in (run / name).glob(f"{PART}*"):
            shutil.rmtree(folder)


def set_aside(checkpoint: Path) -> Path:
    """Rename a broken checkpoint, so that it is not taken for one any more; its new path."""
    aside = checkpoint.with_name(f"{checkpoint.name}-broken")
    shutil.rmtree(aside, ignore_errors=True)
    return checkpoint.rename(aside)


def find_corruption(folder: Path, names: Collection[str] | None = None) -> str | None:
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
