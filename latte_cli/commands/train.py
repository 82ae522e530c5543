"""`latte train`: from latents to a network, resumable at any moment, on one device or several."""

import time
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import torch

from latte_cli.checkpoints.folder import CheckpointMeta, remove_unfinished_checkpoints
from latte_cli.checkpoints.writer import CheckpointWriter
from latte_cli.config import Config
from latte_cli.config.locations import Locations
from latte_cli.data.clips import ClipSampler
from latte_cli.diffusion import Diffusion
from latte_cli.evaluation.evaluating import EvalContext
from latte_cli.runtime.console import Console
from latte_cli.runtime.devices import pick_device, resolve_precision
from latte_cli.runtime.distributed import Agreement, barrier, is_main, process_group
from latte_cli.runtime.files import alone_in, write_text
from latte_cli.runtime.signals import SAVE, Stopped, listening
from latte_cli.training.bad_steps import BadSteps
from latte_cli.training.loader import Loader
from latte_cli.training.monitoring.evaluating import Evaluating, evaluating_of
from latte_cli.training.monitoring.monitor import MetricsLog, Row, write_preview
from latte_cli.training.monitoring.panel import RunView
from latte_cli.training.monitoring.validation import validation_of
from latte_cli.training.parallel import micro_batches, wrap_ddp_or_fsdp
from latte_cli.training.resuming import describe, how_to_go_on, resume
from latte_cli.training.saving import Saver
from latte_cli.training.state import TrainState, initialize_from, new_state
from latte_cli.training.step import train_step
from latte_cli.training.stores import open_store
from latte_cli.vae import LatentCodec


@dataclass(frozen=True)
class TrainOptions:
    """What `latte train` was asked for beside the configuration."""

    run: str | None = None
    resume: str = "auto"  # auto, never, or a checkpoint's path
    features: Path = Path("features")  # where those of `train.eval_every` are kept
    weights: Path | None = None  # of its networks


@dataclass(frozen=True)
class TrainResult:
    """What came of it."""

    run: Path
    checkpoint: Path
    step: int
    bad_steps: int
    loss_first_tenth: float | None
    loss_last_tenth: float | None
    clips_per_s: float | None
    seconds: float
    parameters: int


def run(
    config: Config, locations: Locations, console: Console, options: TrainOptions
) -> TrainResult:
    """Train to `train.steps`, going on from the newest whole checkpoint.

    Under torchrun every process calls this, and the main one speaks and writes for all.

    Raises:
        ConfigError: if the batch does not divide among devices and portions.
        DataError: if the latents are missing, do not fit, or hold no clip that is long enough.
        CheckpointError: if the checkpoint to go on from does not fit.
        TrainingError: if the run has diverged twice, or another process has ended.
        Stopped: after saving, when a signal or a file asked for it.
    """
    micro_batches(config.train)  # told before anything is waited for
    device, folder = pick_device(), locations.run(config, options.run)
    if not is_main():
        console = replace(console, quiet=True)
    with process_group(device.type), alone_in(folder) if is_main() else nullcontext():
        start = _start(config, locations, console, options, folder, device)
        return _train(config, console, folder, start)


@dataclass(frozen=True)
class _Start:
    """What training begins with: its state, its clips, what checkpoints say of them, judges.

    `how_to_go_on` is told when it is stopped.
    """

    device: torch.device
    codec: LatentCodec
    sampler: ClipSampler
    state: TrainState
    meta: CheckpointMeta
    newest: Path | None
    how_to_go_on: str
    evaluating: Evaluating | None


def _start(
    config: Config,
    locations: Locations,
    console: Console,
    options: TrainOptions,
    folder: Path,
    device: torch.device,
) -> _Start:
    """Open the data and make the network, or read it from a checkpoint: all that can be refused."""
    store, classes, codec = open_store(config, locations, device)
    sampler = ClipSampler(store, config, codec.scaling_factor)
    if sampler.too_short:
        console.warn(f"left out, shorter than a clip: {sampler.too_short} of the videos")
    context = EvalContext(options.features, options.weights)
    evaluating = evaluating_of(config, locations.data(config), folder, context, console)
    state = new_state(config, device)
    meta = describe(sampler, codec, classes)
    newest = resume(state, folder, config, options.resume, meta, console)
    if newest is None and config.train.init is not None:
        console.say("\n".join(initialize_from(state, config.train.init, config).lines()))
    state.network = wrap_ddp_or_fsdp(state.model)
    if is_main():
        remove_unfinished_checkpoints(folder)
        write_text(folder / "config.yaml", config.to_yaml())
    again = how_to_go_on(folder, options.resume)
    return _Start(device, codec, sampler, state, meta, newest, again, evaluating)


def _train(config: Config, console: Console, folder: Path, start: _Start) -> TrainResult:
    """The loop: batch, step, average; every so often a word, a checkpoint, previews, measures."""
    train, started = config.train, time.monotonic()
    state, sampler, device, codec = start.state, start.sampler, start.device, start.codec
    dtype = resolve_precision(train.precision, device)
    diffusion = Diffusion(**config.diffusion.model_dump())
    log = MetricsLog(folder, state.step, config, device, dtype)
    bad_steps = BadSteps(folder, state.step, sampler, console)
    scale = codec.scaling_factor
    validation = validation_of(sampler.store, config, scale, device, dtype, console)
    view = RunView(console, folder.name, train.steps, state.step, log.losses, start.newest)
    evaluating, agreement, asked = start.evaluating, Agreement(), 0

    def every(span: int) -> bool:
        return state.step % span == 0 or state.step == train.steps

    with (
        closing(log),
        Loader(sampler, micro_batches(train), device) as loader,
        CheckpointWriter(console.warn) as writer,
        console.live(view),
        listening(folder if is_main() else None) as request,
    ):
        saver = Saver(folder, config, start.meta, writer, start.newest)
        while True:
            weights = saver.weights_of(state.step)
            if evaluating and weights and asked <= SAVE and evaluating.owes(state.step):
                writer.wait()
                view.measuring()
                found = evaluating.measure(weights, request)
                log.add(state.step, found.row)
                view.measured(found.row, best=found.best)
                asked = max(asked, found.asked)
            if asked:
                bad_steps.take(state)
                view.saved(saver.save(state))
                request.done()
                if asked > SAVE:
                    _stop(asked, saver, writer, console, start.how_to_go_on)
                asked = 0
            if state.step >= train.steps:
                break

            batches = loader.take(state.data_step, last=state.data_offset + train.steps - 1)
            metrics = train_step(state, batches, diffusion, config, dtype)
            log.count(metrics)
            view.advance()

            held_out: Row = {}
            if validation and every(train.validate_every):
                held_out = validation.losses(state.ema)
            due = evaluating is not None and evaluating.owes(state.step)
            if held_out or due or every(train.log_every):
                lr = state.optimizer.param_groups[0]["lr"]
                view.show(log.write(state.step, metrics, lr, held_out))

            # What the guard has skipped: told now and then, since asking waits for the device.
            if state.guard.is_full or every(train.log_every) or saver.owes(state):
                bad_steps.take(state)
            if state.guard.steps_since_gone is not None:
                bad_steps.go_back(state, config, writer)
                log.go_back(state.step)
                view.go_back(state.step)
                continue

            if (written := saver.keep_up(state)) is not None:
                view.saved(written)
            if every(train.preview_every):
                console.detail(f"preview: {write_preview(state, codec, config, folder)}")

            asked = agreement.on(request.asked())
    assert saver.newest is not None  # gone on from, or saved at the last step
    return _result(folder, saver.newest, state, log, time.monotonic() - started)


def _stop(
    asked: int, saver: Saver, writer: CheckpointWriter, console: Console, how_to_go_on: str
) -> NoReturn:
    """End the run, once what was saved is whole."""
    console.say("stopping, once the checkpoint is written")
    writer.wait()
    barrier()
    raise Stopped(asked, f"saved {saver.newest}; {how_to_go_on}")


def _result(
    folder: Path, checkpoint: Path, state: TrainState, log: MetricsLog, seconds: float
) -> TrainResult:
    return TrainResult(
        run=folder,
        checkpoint=checkpoint,
        step=state.step,
        bad_steps=state.guard.skipped,
        loss_first_tenth=log.loss_first_tenth,
        loss_last_tenth=log.loss_last_tenth,
        clips_per_s=log.clips_per_s,
        seconds=seconds,
        parameters=sum(p.numel() for p in state.model.parameters()),
    )
