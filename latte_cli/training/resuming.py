"""Going on with a run: which checkpoint, and whether network, settings and videos are still its."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
from latte_cli.runtime.errors import CheckpointError, DataError
from latte_cli.training.saving import versions
from latte_cli.training.state import TrainState, load_state
from latte_cli.vae import LatentCodec

_FIXED = (
    "model.",
    "diffusion.",
    "vae.latent_channels",
    "vae.downsample",
    "data.size",
    "data.frames",
    "data.interval",
)
"""Under other values of these it would be another run."""

_TOLD = (
    "name",
    "data.source",
    "data.split",
    "data.crop",
    "data.short",
    "data.flip",
    "data.num_images",
    "train.batch_size",
    "train.lr",
    "train.lr_schedule",
    "train.warmup_steps",
    "train.weight_decay",
    "train.snr_floor",
    "train.min_snr_gamma",
    "train.class_dropout",
    "train.clip_grad_norm",
    "train.clip_from_step",
    "train.spike_factor",
    "train.ema_decay",
    "train.seed",
)
"""Other values of these bend its curve, which may be meant."""

_BY_AUTO = "`--resume auto`, the default, goes on"
_OTHER_RUN = "give another --run, or the -o values that the run was begun with"


def describe(sampler: ClipSampler, codec: LatentCodec, classes: Sequence[str]) -> CheckpointMeta:
    """What the checkpoints of a run say of its videos and code; their step is 0."""
    table = sampler.store.table
    return CheckpointMeta(
        step=0,
        vae_fingerprint=codec.fingerprint,
        scaling_factor=codec.scaling_factor,
        classes=tuple(classes),
        made_by=versions(),
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
    """Put a checkpoint into the state: the newest whole one, none, or the one named.

    A named one of another run is where this one begins: once it has its own, those are gone on
    from, so that the same command does.

    Args:
        state: fresh.
        run: the run's folder.
        config: of the run.
        how: `auto`, `never` or a checkpoint's path.
        meta: what the run's next checkpoints will say, from `describe`.
        console: told what is odd.

    Returns:
        The checkpoint gone on from, or None for a run that begins.

    Raises:
        CheckpointError: if it is broken or of another run, or is there and must not be.
        DataError: if the videos are not those that it learned from.
    """

    def choose() -> Path | None:
        checkpoint = _choose(run, how, console)
        if checkpoint is not None:
            _refuse_other_run(checkpoint, config, console)
            meant = checkpoint == Path(how)
            _refuse_other_videos(checkpoint, config.name, meta, console, meant=meant)
        return checkpoint

    checkpoint = broadcast_from_main(choose)
    if checkpoint is not None:
        load_state(state, checkpoint)
        console.say(f"going on from {checkpoint}")
    return checkpoint


def how_to_go_on(run: Path, how: str) -> str:
    """What to tell who has stopped a run that was begun, or gone on with, as `resume` was told."""
    if how == "auto" or _is_another_runs(run, how):
        return "the same command goes on from there"
    return f"the same command with {_BY_AUTO} from there"


def _is_another_runs(run: Path, how: str) -> bool:
    """Whether a checkpoint is named, and lies outside the run's folder."""
    return how not in ("auto", "never") and run.resolve() not in Path(how).resolve().parents


def _choose(run: Path, how: str, console: Console) -> Path | None:
    there = list_checkpoints(run)
    if there and _is_another_runs(run, how):
        console.say(f"{run} has checkpoints of its own: it goes on from these, not from {how}")
        how = "auto"
    if how == "never":
        if there:
            raise CheckpointError(
                f"{run} holds a run already",
                hint=f"{_BY_AUTO} with it; another --run begins anew",
            )
        return None
    if how != "auto":
        _refuse_newer(Path(how), there)
        if (broken := find_corruption(Path(how))) is not None:
            raise CheckpointError(f"{how}: {broken}", hint="--resume auto finds a whole one")
        if not (Path(how) / OPTIMIZER).is_file():
            raise CheckpointError(
                f"{how}: averaged weights alone, there is no state to go on from",
                hint=f"--init {how} begins a new run with them",
            )
        return Path(how)
    broken_ones: list[Path] = []
    for checkpoint in reversed(there):
        broken = find_corruption(checkpoint)
        if broken is None:
            for path in broken_ones:  # else they would be the newest again, next time
                console.warn(f"kept for you to look at: {set_aside(path)}")
            return checkpoint
        console.warn(f"{broken}; trying the checkpoint before it")
        broken_ones.append(checkpoint)
    if broken_ones:
        raise CheckpointError(
            f"{run}: none of its {len(there)} checkpoints is whole",
            hint="give another --run to begin anew, or delete that folder",
        )
    return None


def _refuse_newer(checkpoint: Path, there: Sequence[Path]) -> None:
    """Going back would leave newer checkpoints of an abandoned branch to be taken for the run's."""
    step = read_checkpoint_meta(checkpoint).step
    newer = [path.name for path in there if step_of(path) > step]
    if newer:
        raise CheckpointError(
            f"the run has newer checkpoints than {checkpoint}: {', '.join(newer)}",
            hint=f"{_BY_AUTO} from the newest; another --run goes on from this one",
        )


def _refuse_other_run(checkpoint: Path, config: Config, console: Console) -> None:
    """A run is gone on with under the same network, clips and noise; the rest may change."""
    theirs = flatten(read_checkpoint_config(checkpoint).model_dump())
    ours = flatten(config.model_dump())
    changed = {
        key: f"{key} was {theirs.get(key)!r}, is {ours[key]!r}"
        for key in ours
        if theirs.get(key) != ours[key]
    }
    fixed = [words for key, words in changed.items() if key.startswith(_FIXED)]
    if fixed:
        raise CheckpointError(
            f"{checkpoint} was trained with other settings: {'; '.join(fixed)}", hint=_OTHER_RUN
        )
    bends = (*_TOLD, "train.steps") if config.train.lr_schedule == "cosine" else _TOLD
    told = [words for key, words in changed.items() if key in bends]
    if told:
        console.warn(f"the run goes on with other settings than before: {'; '.join(told)}")


def _refuse_other_videos(
    checkpoint: Path, name: str, ours: CheckpointMeta, console: Console, *, meant: bool
) -> None:
    """Batches follow from the videos' order, lengths and labels; who names a checkpoint means it.

    More videos than before are taken to be meant, too.
    """
    theirs, their_name = read_checkpoint_meta(checkpoint), read_checkpoint_config(checkpoint).name
    if theirs.vae_fingerprint not in ("", ours.vae_fingerprint):
        raise DataError(
            f"{checkpoint} learned from the latents of another autoencoder",
            hint="set vae.path to the one that the run was begun with, or give another --run",
        )
    as_they_were = theirs.data_digest in ("", ours.data_digest)
    if not (as_they_were and theirs.contents_digest in ("", ours.contents_digest)):
        told = f"{checkpoint} learned from {theirs.videos} videos of `{their_name}`, "
        if their_name != name:
            raise DataError(f"{told}these are of `{name}`", hint=_OTHER_RUN)
        same = ours.videos == theirs.videos
        told += "now they are others" if same else f"now there are {ours.videos}"
        if ours.videos <= theirs.videos and not meant:
            raise DataError(
                told,
                hint=f"encode what is missing, or give another --run; `--resume {checkpoint}` goes "
                "on with these",
            )
        console.warn(f"{told}: the run goes on, but not as it would have")
    if theirs.made_by not in ("", ours.made_by):
        console.warn(
            f"{checkpoint} was made by {theirs.made_by}, this is {ours.made_by}: losses may differ "
            "in their last digits"
        )
