"""Resuming a run: choose the checkpoint; check that network, settings and videos are the same."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latte_cli import __version__
from latte_cli.checkpoints.folder import (
    CheckpointMeta,
    find_corruption,
    list_checkpoints,
    read_checkpoint_config,
    read_checkpoint_meta,
    set_aside,
    step_of,
)
from latte_cli.checkpoints.state import OPTIMIZER
from latte_cli.config import Config, flatten
from latte_cli.data.clips import ClipSampler
from latte_cli.runtime.console import Console
from latte_cli.runtime.distributed import broadcast_from_main
from latte_cli.runtime.errors import CheckpointError, DataError, LatteError
from latte_cli.training.state import TrainState, load_state
from latte_cli.vae import LatentCodec

_MUST_MATCH = (
    "model.",
    "diffusion.",
    "train.optimizer",
    "train.trainable",
    "train.lora",
    "train.lora.",
    "train.ema",
    "vae.latent_channels",
    "vae.downsample",
    "data.size",
    "data.frames",
    "data.interval",
)
"""Settings whose change makes it another run; names that end in a dot are of sections."""

_WARN_IF_CHANGED = (
    "name",
    "data.source",
    "data.split",
    "data.crop",
    "data.short",
    "data.flip",
    "data.num_images",
    "train.batch_size",
    "train.lr",
    "train.adamw_lr",
    "train.lr_schedule",
    "train.warmup_steps",
    "train.weight_decay",
    "train.snr_floor",
    "train.min_snr_gamma",
    "train.condition_dropout",
    "train.position_warmup",
    "train.route.",
    "train.guidance_target",
    "train.guidance_target_interval",
    "train.guidance_target_from",
    "train.teacher",
    "train.teacher_guidance",
    "train.teacher_steps",
    "train.teacher_reuse",
    "train.clip_grad_norm",
    "train.clip_from_step",
    "train.spike_factor",
    "train.ema_decay",
    "train.ema_warmup",
    "train.seed",
    "text.",
)
"""Settings whose change alters the loss curve, which may be intended; likewise."""

_BY_AUTO = "`--resume auto`, the default, resumes"
_OTHER_RUN = "give another --run, or the -o values that the run was started with"


def config_to_resume(run: Path, how: str) -> Config | None:
    """The configuration of the checkpoint that a run resumes from; None if there is none.

    All checkpoints of a run have the same network, so damaged ones are passed over.

    Args:
        run: the run's folder.
        how: `--resume`.
    """
    named = [] if how in ("auto", "never") else [Path(how)]

    def newest() -> Config | None:
        for checkpoint in (*reversed(list_checkpoints(run)), *named):
            with suppress(LatteError):
                return read_checkpoint_config(checkpoint)
        return None

    return broadcast_from_main(newest)


def run_meta(sampler: ClipSampler, codec: LatentCodec, classes: Sequence[str]) -> CheckpointMeta:
    """What the checkpoints of a run record of its videos and code; their step is 0 here."""
    table = sampler.store.table
    return CheckpointMeta(
        step=0,
        vae_fingerprint=codec.fingerprint,
        scaling_factor=codec.scaling_factor,
        classes=tuple(classes),
        made_by=f"latte {__version__}, torch {torch.__version__}",  # numbers depend on both
        videos=len(sampler.videos),
        data_digest=_digest(sampler.videos, table.frames, table.labels),
        contents_digest=_digest(table.contents),
    )


def _digest(*columns: NDArray[np.integer[Any]]) -> str:
    digest = hashlib.sha256()
    for column in columns:
        digest.update(column.astype(np.int64).tobytes())
    return digest.hexdigest()[:16]


def resume(
    state: TrainState, run: Path, config: Config, how: str, meta: CheckpointMeta, console: Console
) -> Path | None:
    """Load a checkpoint into the state: the newest whole one, or the one named, or none.

    If the named checkpoint is of another run, this run begins there; once it has checkpoints of its
    own it resumes from those, so that the same command can be repeated.

    Args:
        state: fresh.
        run: the run's folder.
        config: of the run.
        how: `auto`, `never` or a checkpoint's path.
        meta: of the run's next checkpoints, from `run_meta`.
        console: shows warnings.

    Returns:
        The checkpoint that was loaded, or None for a new run.

    Raises:
        CheckpointError: if it is broken or of another run, or exists although `how` is `never`.
        DataError: if the run learned from other videos.
    """

    def choose() -> Path | None:
        checkpoint = _choose_checkpoint(run, how, console)
        if checkpoint is not None:
            _check_settings(checkpoint, config, console)
            is_named = checkpoint == Path(how)
            _check_videos(checkpoint, config.name, meta, console, is_named=is_named)
        return checkpoint

    checkpoint = broadcast_from_main(choose)
    if checkpoint is not None:
        load_state(state, checkpoint)
        console.info(f"resuming from {checkpoint}")
    return checkpoint


def resume_hint(run: Path, how: str) -> str:
    """How to resume a run that is being stopped, and was started with `--resume` as `how`."""
    if how == "auto" or _names_another_run(how, run):
        return "the same command resumes from there"
    return f"the same command with {_BY_AUTO} from there"


def _names_another_run(how: str, run: Path) -> bool:
    """Whether `--resume` names a checkpoint outside the run's folder."""
    return how not in ("auto", "never") and run.resolve() not in Path(how).resolve().parents


def _choose_checkpoint(run: Path, how: str, console: Console) -> Path | None:
    existing = list_checkpoints(run)
    if existing and _names_another_run(how, run):
        console.info(f"{run} has checkpoints of its own: it resumes from these, not from {how}")
        how = "auto"
    if how == "auto":
        return _newest_whole(run, existing, console)
    if how == "never":
        if existing:
            raise CheckpointError(
                f"{run} already holds a run",
                hint=f"{_BY_AUTO} it; another --run starts a new one",
            )
        return None
    _check_none_newer(Path(how), existing)
    if (broken := find_corruption(Path(how))) is not None:
        raise CheckpointError(f"{how}: {broken}", hint="--resume auto finds an undamaged one")
    if not (Path(how) / OPTIMIZER).is_file():
        raise CheckpointError(
            f"{how}: a snapshot of the EMA, without a state to resume from",
            hint=f"--init {how} starts a new run from it",
        )
    return Path(how)


def _newest_whole(run: Path, existing: Sequence[Path], console: Console) -> Path | None:
    broken_ones: list[Path] = []
    for checkpoint in reversed(existing):
        broken = find_corruption(checkpoint)
        if broken is None:
            for path in broken_ones:  # else they would be the newest again, next time
                console.warning(f"the damaged checkpoint is kept as {set_aside(path)}")
            return checkpoint
        console.warning(f"{broken}; trying the checkpoint before it")
        broken_ones.append(checkpoint)
    if broken_ones:
        raise CheckpointError(
            f"{run}: all of its {len(existing)} checkpoints are damaged",
            hint="give another --run to start a new one, or delete that folder",
        )
    return None


def _check_none_newer(checkpoint: Path, existing: Sequence[Path]) -> None:
    """Raise if newer checkpoints exist, since they would later be taken for this run's."""
    step = read_checkpoint_meta(checkpoint).step
    newer = [path.name for path in existing if step_of(path) > step]
    if newer:
        raise CheckpointError(
            f"the run has newer checkpoints than {checkpoint}: {', '.join(newer)}",
            hint=f"{_BY_AUTO} from the newest; another --run continues from this one",
        )


def _check_settings(checkpoint: Path, config: Config, console: Console) -> None:
    """Raise if network, clips or noise are other ones; warn if other settings have changed."""
    theirs = flatten(read_checkpoint_config(checkpoint).model_dump())
    ours = flatten(config.model_dump())
    changed = {  # a section that is null has no keys of its own
        key: f"{key} was {theirs.get(key)!r}, is {ours.get(key)!r}"
        for key in (*ours, *(key for key in theirs if key not in ours))
        if theirs.get(key) != ours.get(key)
    }
    forbidden = [change for key, change in changed.items() if _is_among(key, _MUST_MATCH)]
    if forbidden:
        raise CheckpointError(
            f"{checkpoint} was trained with other settings: {'; '.join(forbidden)}", hint=_OTHER_RUN
        )
    noted = [
        change
        for key, change in changed.items()
        if _is_among(key, _WARN_IF_CHANGED)
        or (key == "train.steps" and config.train.lr_schedule == "cosine")
    ]
    if noted:
        console.warning(f"the run resumes with other settings than before: {'; '.join(noted)}")


def _is_among(key: str, names: Sequence[str]) -> bool:
    """Whether a dotted key is one of these, or within one that ends in a dot."""
    return any(key == name or (name.endswith(".") and key.startswith(name)) for name in names)


def _check_videos(
    checkpoint: Path, name: str, ours: CheckpointMeta, console: Console, *, is_named: bool
) -> None:
    """Raise if the videos have changed: batches follow from their order, lengths and labels.

    If the user named the checkpoint, or there are more videos than before, a warning is enough.
    """
    theirs, their_name = read_checkpoint_meta(checkpoint), read_checkpoint_config(checkpoint).name
    if theirs.vae_fingerprint not in ("", ours.vae_fingerprint):
        raise DataError(
            f"{checkpoint} learned from the latents of another autoencoder",
            hint="set vae.path to the one that the run was started with, or give another --run",
        )
    same_order = theirs.data_digest in ("", ours.data_digest)
    if not (same_order and theirs.contents_digest in ("", ours.contents_digest)):
        message = f"{checkpoint} learned from {theirs.videos} videos of `{their_name}`, "
        if their_name != name:
            raise DataError(f"{message}these are of `{name}`", hint=_OTHER_RUN)
        same_count = ours.videos == theirs.videos
        message += "now they are others" if same_count else f"now there are {ours.videos}"
        if ours.videos <= theirs.videos and not is_named:
            raise DataError(
                message,
                hint=f"encode what is missing, or give another --run; `--resume {checkpoint}` "
                "continues with these",
            )
        console.warning(f"{message}: the run resumes, but not as it would have")
    if theirs.made_by not in ("", ours.made_by):
        console.warning(
            f"{checkpoint} was made by {theirs.made_by}, this is {ours.made_by}: losses may differ "
            "in their last digits"
        )
