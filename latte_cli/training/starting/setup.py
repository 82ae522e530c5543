"""The start of a run: its data, network, weights and evaluator, opened and checked."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from latte_cli.checkpoints.averages import remove_later_snapshots
from latte_cli.checkpoints.folder import CheckpointMeta, remove_unfinished_checkpoints
from latte_cli.config import Config
from latte_cli.config.locations import Locations
from latte_cli.data.clips import ClipSampler
from latte_cli.evaluation.evaluating import EvalContext
from latte_cli.runtime.console import Console
from latte_cli.runtime.devices import device_name
from latte_cli.runtime.distributed import is_main, world_size
from latte_cli.runtime.files import write_text
from latte_cli.training.batches import open_store
from latte_cli.training.compiling.choice import settle_compiling
from latte_cli.training.conditioning import with_conditioning
from latte_cli.training.monitoring.evaluating import RunEvaluator, open_run_evaluator
from latte_cli.training.monitoring.opening import describe_start
from latte_cli.training.parallel import wrap_ddp_or_fsdp
from latte_cli.training.resuming import resume, resume_hint, run_meta
from latte_cli.training.state import TrainState, initialize_from, new_state
from latte_cli.training.targets.conversion import with_output_of_init
from latte_cli.training.targets.teacher import check_autoencoder, check_labels
from latte_cli.vae import LatentCodec


@dataclass(frozen=True)
class TrainingSetup:
    """What the training loop begins with.

    Attributes:
        config: of the run, with the conditioning that follows from the data.
        device: that the network is on.
        codec: the autoencoder.
        sampler: cuts training clips.
        state: fresh, or from a checkpoint.
        meta: of the run's checkpoints.
        newest: the checkpoint resumed from; None for a new run.
        resume_hint: how to resume the run once it is stopped.
        evaluator: of `train.eval_every`, if that is set.
    """

    config: Config
    device: torch.device
    codec: LatentCodec
    sampler: ClipSampler
    state: TrainState
    meta: CheckpointMeta
    newest: Path | None
    resume_hint: str
    evaluator: RunEvaluator | None


def set_up(
    config: Config,
    locations: Locations,
    console: Console,
    resume_from: str,
    context: EvalContext,
    folder: Path,
    device: torch.device,
) -> TrainingSetup:
    """Open the data, make the network and load its weights: all that a user can get wrong.

    Args:
        config: of the run, as the user gave it.
        locations: of the data.
        console: shows what is opened.
        resume_from: auto, never, or a checkpoint's path.
        context: of `train.eval_every`.
        folder: of the run.
        device: to train on.

    Raises:
        ConfigError: if parts of the configuration do not go together, or do not fit the data.
        DataError: if the latents are missing, do not fit, or hold no clip that is long enough, or
            if a teacher does not know their labels.
        CheckpointError: if the checkpoint to resume from does not fit.
    """
    store, classes, codec = open_store(config, locations, device)
    config = with_output_of_init(config, folder, resume_from, console)
    config = with_conditioning(config, store.table, classes, folder, resume_from, console)
    sampler = ClipSampler(store, config, codec.scaling_factor)
    if sampler.too_short:
        console.warning(f"left out, shorter than a clip: {sampler.too_short} of the videos")
    evaluator = open_run_evaluator(config, locations.data(config), folder, context, console)

    state = new_state(config, device)
    check_autoencoder(config, codec.fingerprint)
    if config.model.condition == "text":
        check_labels(state.teacher, store.table.labels[sampler.videos], store.folder)
    meta = run_meta(sampler, codec, classes)
    newest = resume(state, folder, config, resume_from, meta, console)
    if newest is None and config.train.init is not None:
        console.info("\n".join(initialize_from(state, config.train.init, config).lines()))
    state.set_position_scale(config.train)
    state.network = wrap_ddp_or_fsdp(state.model, config.train.sequence_parallel)
    if is_main():
        remove_unfinished_checkpoints(folder)
        remove_later_snapshots(folder, state.step)
        write_text(folder / "config.yaml", config.to_yaml())
    hint = resume_hint(folder, resume_from)
    console.info(describe_start(folder.name, config, len(sampler.videos), state, device))
    compiled = settle_compiling(state, sampler, config, device, newest, console)
    meta = replace(meta, compiled=compiled)
    return TrainingSetup(config, device, codec, sampler, state, meta, newest, hint, evaluator)


def machine_facts(device: torch.device, dtype: torch.dtype) -> dict[str, object]:
    """Where the run trains, for its report."""
    return {
        "device": device_name(device),
        "devices": world_size(),
        "precision": str(dtype).removeprefix("torch."),
        "torch": torch.__version__,
    }
