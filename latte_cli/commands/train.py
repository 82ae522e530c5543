"""`latte train`: from latents to a network, resumable at any moment, on one device or several."""

import time
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from latte_cli.checkpoints.remote_runs import RunUploader
from latte_cli.checkpoints.writer import CheckpointWriter
from latte_cli.config import Config
from latte_cli.config.locations import Locations
from latte_cli.diffusion import Diffusion
from latte_cli.evaluation.evaluating import EvalContext
from latte_cli.models import shape_from_config
from latte_cli.reporting.run_report import RunReport
from latte_cli.reporting.writing import REPORT
from latte_cli.runtime.console import Console
from latte_cli.runtime.devices import (
    pick_device,
    resolve_precision,
)
from latte_cli.runtime.distributed import (
    RequestSync,
    barrier,
    is_distributed,
    is_main,
    process_group,
)
from latte_cli.runtime.errors import RemoteError
from latte_cli.runtime.files import lock_folder
from latte_cli.runtime.signals import SAVE, Interrupted, Stopped, listen_for_requests
from latte_cli.training.bad_steps import BadStepHandler
from latte_cli.training.batches import BatchLoader, latents_elsewhere, micro_batches
from latte_cli.training.monitoring.checks import NetworkChecks, is_due
from latte_cli.training.monitoring.metrics_log import MetricsLog
from latte_cli.training.monitoring.panel import TrainingPanel
from latte_cli.training.monitoring.tracker_runs import check_library
from latte_cli.training.monitoring.validation import open_validation
from latte_cli.training.saving import CheckpointSaver
from latte_cli.training.starting.setup import TrainingSetup, machine_facts, set_up
from latte_cli.training.state import TrainState
from latte_cli.training.step import train_step


@dataclass(frozen=True)
class TrainOptions:
    """Options of `latte train` in addition to the configuration."""

    run: str | None = None
    resume: str = "auto"  # auto, never, or a checkpoint's path
    features: Path = Path("features")  # where `train.eval_every` keeps them
    weights: Path | None = None  # of the metrics' networks
    download: bool = False  # such weights, if they are missing


@dataclass(frozen=True)
class TrainResult:
    """Result of `latte train`."""

    run: Path
    checkpoint: Path
    step: int
    bad_steps: int
    loss_first_tenth: float | None
    loss_last_tenth: float | None
    clips_per_s: float | None
    seconds: float
    parameters: int
    report: Path | None = None  # None if it could not be written


def run(
    config: Config, locations: Locations, console: Console, options: TrainOptions
) -> TrainResult:
    """Train to `train.steps`, resuming from the newest whole checkpoint.

    Under torchrun every process calls this; the main one prints and writes for all.

    Raises:
        ConfigError: if the batch does not divide among devices and micro-batches, or the library of
            `train.tracker` is missing.
        DataError: if the latents are missing, do not fit, or hold no clip that is long enough.
        CheckpointError: if the checkpoint to resume from does not fit.
        TrainingError: if the run has diverged twice, or another process has ended.
        Stopped: after saving, when a signal or a file requests it.
    """
    micro_batches(config.train)  # these raise before anything is made
    if is_main():
        check_library(config.train.tracker)
    if config.train.route is not None:
        config.train.route.blocks(shape_from_config(config).depth)
    device, folder = pick_device(), locations.run(config, options.run)
    if not is_main():
        console = replace(console, quiet=True)
    with process_group(device.type), lock_folder(folder) if is_main() else nullcontext():
        context = EvalContext(
            options.features, options.weights, download=options.download, locations=locations
        )
        setup = set_up(config, locations, console, options.resume, context, folder, device)
        return _train(console, folder, setup)


def _train(console: Console, folder: Path, setup: TrainingSetup) -> TrainResult:
    """The loop: batch, step, EMA; now and then log, validate, save, preview, evaluate."""
    config, train, started = setup.config, setup.config.train, time.monotonic()
    state, sampler, device, codec = setup.state, setup.sampler, setup.device, setup.codec
    evaluator, scale = setup.evaluator, codec.scaling_factor
    dtype = resolve_precision(train.precision, device)
    diffusion = Diffusion(**config.diffusion.model_dump())
    log = MetricsLog(folder, state.step, config, device, dtype)
    bad_steps = BadStepHandler(folder, state.step, sampler, console, setup.newest)
    validation = open_validation(sampler.store, config, scale, device, dtype, console)
    panel = TrainingPanel(console, folder.name, train.steps, state.step, log.losses, setup.newest)
    sync, report = RequestSync(), RunReport(folder, console)
    report.record_start(state.step, machine_facts(device, dtype))
    with (
        listen_for_requests(folder if is_main() else None) as requests,
        closing(log),
        BatchLoader(
            sampler,
            micro_batches(train),
            device,
            latents_elsewhere(sampler.store),
            train.drawn_batch,
        ) as loader,
        CheckpointWriter(console.warning) as writer,
        console.live(panel),
    ):
        # Several processes wait for one another in a step, so they finish it together.
        interruptible = nullcontext if is_distributed() else requests.interruptible
        uploader = RunUploader(folder, train, console.warning)
        saver = CheckpointSaver(folder, config, setup.meta, writer, setup.newest, uploader)
        checks = NetworkChecks(
            config, folder, codec, sampler.store, validation, log, console, requests
        )
        is_ours = setup.newest is not None and folder in setup.newest.parents
        requested = checks.catch_up(state) if is_ours else 0  # see `RunRequests.poll`
        while True:
            weights = saver.saved_ema(state.step)
            if evaluator and weights and requested <= SAVE and evaluator.is_due(state.step):
                writer.wait()
                panel.start_evaluation()
                with log.paused():
                    outcome = evaluator.evaluate(weights, requests)
                log.add(state.step, outcome.row)
                panel.show_evaluation(outcome.row, best=outcome.best)
                requested = max(requested, outcome.requested)
            if requested:
                if requested > SAVE:
                    sampler.cancel()
                if not state.step:
                    requests.clear()
                    raise Stopped(requested, "stopped before the first step, with nothing to save")
                bad_steps.report(state)
                panel.show_saved(saver.save(state))
                requests.clear()
                if requested > SAVE:
                    _stop(requested, saver, writer, uploader, report, console, setup.resume_hint)
                requested = 0
            if state.step >= train.steps:
                break

            last = state.data_offset + train.steps - 1
            try:
                with interruptible():
                    batches = loader.load(state.batch_number, last)
                metrics = train_step(state, batches, diffusion, train, dtype, interruptible)
            except Interrupted:  # the step is taken when the run resumes
                requested = requests.poll()
                continue
            except RemoteError:  # the latents are gone, or out of reach
                if state.step and not is_distributed():  # other processes would wait for this one
                    bad_steps.report(state)
                    panel.show_saved(saver.save(state))
                raise
            log.count(metrics)
            panel.advance()

            validation_due = checks.validation_is_due(state.step)
            held_out = checks.validate(state) if validation_due else {}
            evaluation_due = evaluator is not None and evaluator.is_due(state.step)
            logged = is_due(config, "log_every", state.step)
            if validation_due or evaluation_due or logged:
                lr = state.optimizer.param_groups[0]["lr"]
                panel.show(log.write(state.step, metrics, lr, held_out))

            # Bad steps are reported only now and then, since that waits for the device.
            if state.guard.is_full or logged or saver.is_due(state):
                bad_steps.report(state)
            if state.guard.steps_past_limit is not None:
                bad_steps.roll_back(state, config, writer)
                log.roll_back(state.step)
                panel.roll_back(state.step)
                continue

            if (checkpoint := saver.save_if_due(state)) is not None:
                panel.show_saved(checkpoint)
            checks.write_preview_if_due(state)
            if checkpoint is not None:
                with log.paused():
                    report.refresh()
            requested = sync.exchange(requests.poll())
    bad_steps.check_any_good(state)
    assert saver.newest is not None  # resumed from, or saved at the last step
    report.refresh(last=True)
    if is_main():
        uploader.finish()
    return _result(folder, saver.newest, state, log, time.monotonic() - started)


def _stop(
    exit_code: int,
    saver: CheckpointSaver,
    writer: CheckpointWriter,
    uploader: RunUploader,
    report: RunReport,
    console: Console,
    hint: str,
) -> NoReturn:
    """End the run once its last checkpoint is written."""
    console.info("stopping, once the checkpoint is written")
    writer.wait()
    report.refresh(last=True)
    if is_main():
        uploader.upload(remove_old=False)
    barrier()
    raise Stopped(exit_code, f"saved {saver.newest}; {hint}")


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
        report=page if (page := folder / REPORT).is_file() else None,
    )
