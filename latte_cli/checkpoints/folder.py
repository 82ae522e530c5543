"""Checkpoint folders: written whole or not at all, found by listing, verified by checksums."""

import json
import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latte_cli.config import Config, config_from_tree, read_tree
from latte_cli.runtime.errors import CheckpointError
from latte_cli.runtime.files import PART, atomic_folder, sha256_of, write_tensors, write_text
from latte_cli.runtime.records import record_from

if TYPE_CHECKING:
    from torch import Tensor

FOR_SAMPLING = ("ema.safetensors", "config.yaml")
"""The files of a checkpoint that sampling reads."""

NARROW_AVERAGE = "ema-0.05.safetensors"
"""The file of the second average that a run with `train.ema` power keeps."""

BEST = "best.json"
"""The file in a run's folder that names its best checkpoint, by an evaluation."""

_WEIGHTS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
_META = "meta.json"
_CONFIG = "config.yaml"
_NAME = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class CheckpointMeta:
    """What meta.json records of a checkpoint.

    Attributes:
        step: optimizer steps taken.
        vae_fingerprint: of the autoencoder whose latents it learned; empty if unknown.
        scaling_factor: of those latents.
        classes: names of the labels, if they have names.
        made_by: versions of the code; empty if unknown.
        videos: how many it learned from; 0 if unknown.
        data_digest: of their order, lengths and labels, which decide the batches; empty if unknown.
        contents_digest: of the checksums of their files, in the same order; empty if unknown.
        compiled: whether it was trained with compiled blocks; None if unknown.
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
    compiled: bool | None = None
    files: Mapping[str, str] = field(default_factory=dict)


def save_checkpoint(
    run: Path,
    config: Config,
    meta: CheckpointMeta,
    *,
    ema: Mapping[str, "Tensor"],
    model: Mapping[str, "Tensor"],
    optimizer: Mapping[str, Any],
    guard: Mapping[str, "Tensor"],
    progress: Mapping[str, int],
    narrow: Mapping[str, "Tensor"] | None = None,
) -> Path:
    """Write a checkpoint under a temporary name, then rename it.

    Args:
        run: the run's folder.
        config: resolved, to make the network again.
        meta: `files` is filled in here.
        ema: averaged weights, to sample with.
        model: raw weights, to resume from.
        optimizer: its `state_dict`.
        guard: the spike guard's `state_dict`.
        progress: position in the data, and counts of bad steps and rollbacks, by name.
        narrow: parameters of a second average.

    Returns:
        The checkpoint's folder.
    """
    from latte_cli.checkpoints.state import write_state

    folder = checkpoint_folder(run, meta.step)
    with atomic_folder(folder) as part:
        write_tensors(part / "model.safetensors", model)
        write_state(part, optimizer, guard, progress)
        _write_for_sampling(part, config, meta, ema, narrow)
    return folder


def checkpoint_folder(run: Path, step: int) -> Path:
    """The path of a run's checkpoint of a step, which may not exist yet."""
    return run / "checkpoints" / f"step-{step:08d}"


def ema_snapshot_folder(run: Path, step: int) -> Path:
    """The path of a run's EMA snapshot of a step, which may not exist yet."""
    return run / "ema" / f"step-{step:08d}"


def save_for_sampling(
    folder: Path,
    config: Config,
    meta: CheckpointMeta,
    weights: Mapping[str, "Tensor"],
    narrow: Mapping[str, "Tensor"] | None = None,
) -> None:
    """Write the network and its configuration without optimizer state: enough to sample from.

    Args:
        folder: written whole, or not at all.
        config: resolved, to make the network again.
        meta: `files` is filled in here.
        weights: of the network.
        narrow: parameters of a second average.
    """
    with atomic_folder(folder) as part:
        _write_for_sampling(part, config, meta, weights, narrow)


def _write_for_sampling(
    folder: Path,
    config: Config,
    meta: CheckpointMeta,
    weights: Mapping[str, "Tensor"],
    narrow: Mapping[str, "Tensor"] | None,
) -> None:
    write_tensors(folder / "ema.safetensors", weights)
    if narrow is not None:
        write_tensors(folder / NARROW_AVERAGE, narrow)
    write_text(folder / _CONFIG, config.to_yaml())
    write_meta(folder, meta)


def write_meta(folder: Path, meta: CheckpointMeta) -> None:
    """Write meta.json with the checksums of all files in the folder."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != _META)
    files = {path.relative_to(folder).as_posix(): sha256_of(path) for path in paths}
    text = json.dumps({**asdict(meta), "files": files}, indent=2, ensure_ascii=False)
    write_text(folder / _META, text + "\n")


def list_checkpoints(run: Path) -> list[Path]:
    """A run's checkpoint folders, oldest first, corrupt ones included."""
    return list_steps(run / "checkpoints")


def list_steps(folder: Path) -> list[Path]:
    """The folders of steps in a folder, oldest first, corrupt ones included."""
    found = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=step_of)


def is_checkpoint(path: Path) -> bool:
    """Whether a path is a checkpoint, from which clips are generated, rather than clips."""
    return path.suffix.lower() in _WEIGHTS or (path / "ema.safetensors").is_file()


def step_of(checkpoint: Path) -> int:
    """The step in a checkpoint folder's name."""
    return int(checkpoint.name.removeprefix("step-"))


def remove_old_checkpoints(run: Path, keep: int, keep_every: int | None = None) -> None:
    """Delete a run's checkpoints except the latest and the best one.

    Args:
        run: the run's folder.
        keep: how many of the latest to keep.
        keep_every: also keep those whose step is a multiple of it; None for none.
    """
    best = best_step(run)
    folders = {step_of(folder): folder for folder in list_checkpoints(run)}
    for step in removable_steps(list(folders), keep, keep_every, best):
        remove_checkpoint(folders[step])


def removable_steps(
    steps: Sequence[int], keep: int, keep_every: int | None, best: int | None
) -> list[int]:
    """Of the steps of all checkpoints, in order, those that need not be kept.

    Args:
        steps: of the checkpoints.
        keep: how many of the latest to keep.
        keep_every: also keep multiples of it; None for none.
        best: also keep this one.
    """
    return [n for n in steps[:-keep] if n != best and (keep_every is None or n % keep_every)]


def best_checkpoint(run: Path) -> Path | None:
    """The folder that a run's best.json names; None if there is no such file."""
    try:
        best = json.loads((run / BEST).read_text(encoding="utf-8"))
        return run / str(best["checkpoint"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def best_step(run: Path) -> int | None:
    """The step of the checkpoint that a run's best.json names; None if it names none."""
    best = best_checkpoint(run)
    is_one = best is not None and best.parent.name == "checkpoints" and _NAME.fullmatch(best.name)
    return step_of(best) if best is not None and is_one else None


def remove_checkpoint(folder: Path) -> None:
    """Delete a checkpoint: renamed first, so that an interruption leaves no half of one."""
    going = folder.with_name(f"{PART}{os.getpid()}-{folder.name}")
    shutil.rmtree(going, ignore_errors=True)
    shutil.rmtree(folder.rename(going))


def remove_unfinished_checkpoints(run: Path) -> None:
    """Delete what killed processes left half written or half deleted."""
    for name in ("checkpoints", "ema"):
        for folder in (run / name).glob(f"{PART}*"):
            shutil.rmtree(folder)


def set_aside(checkpoint: Path) -> Path:
    """Rename a corrupt checkpoint so that it is no longer listed; return its new path."""
    aside = checkpoint.with_name(f"{checkpoint.name}-broken")
    shutil.rmtree(aside, ignore_errors=True)
    return checkpoint.rename(aside)


def find_corruption(folder: Path, names: Collection[str] | None = None) -> str | None:
    """A message on the first missing or changed file; None if the checkpoint is whole.

    Args:
        folder: the checkpoint.
        names: files to check; by default all, which reads gigabytes of a large network.
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
        CheckpointError: if the folder is not a checkpoint.
    """
    try:
        values = json.loads((folder / _META).read_text(encoding="utf-8"))
        return record_from(CheckpointMeta, values)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{folder}: not a checkpoint folder",
            hint="checkpoints are the folders runs/NAME/checkpoints/step-…",
        ) from error


def read_checkpoint_config(folder: Path) -> Config:
    """The configuration that a checkpoint was trained with."""
    return config_from_tree(read_checkpoint_tree(folder), origin=str(folder / _CONFIG))


def read_checkpoint_tree(folder: Path) -> dict[str, Any]:
    """A checkpoint's configuration as a nested mapping, not validated.

    Raises:
        CheckpointError: if the folder is not a checkpoint.
    """
    path = folder / _CONFIG
    if not path.is_file():
        raise CheckpointError(
            f"{folder}: not a checkpoint folder, it holds no {_CONFIG}",
            hint="checkpoints are the folders runs/NAME/checkpoints/step-…",
        )
    return read_tree(path)
