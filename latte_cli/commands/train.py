"""`latte train`: from latents to a network, resumable at any checkpoint."""

import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from latte_cli.checkpoint import (
    CheckpointMeta,
    list_checkpoints,
    read_checkpoint_meta,
    remove_old_checkpoints,
    what_is_broken,
)
from latte_cli.config import Config, Locations, flatten, read_tree
from latte_cli.console import Console
from latte_cli.data.clips import Batch, ClipSampler
from latte_cli.data.latents import LatentSet
from latte_cli.devices import pick_device, resolve_precision
from latte_cli.diffusion import Diffusion
from latte_cli.errors import CheckpointError, DataError
from latte_cli.files import read_json_lines, write_json_lines, write_text
from latte_cli.generation import ClipRequest, Generator, tile
from latte_cli.signals import Stopped, listening
from latte_cli.training import (
    StepMetrics,
    TrainState,
    load_state,
    new_state,
    save_state,
    train_step,
)
from latte_cli.vae import load_codec
from latte_cli.video_io import write_video

_PREVIEW_CLIPS = 8
_PREVIEW_STEPS = 25


@dataclass(frozen=True)
class TrainOptions:
    """What `latte train` was asked for beside the configuration."""

    run: str | None = None
    init: Path | None = None
    resume: str = "auto"  # auto, never, or a checkpoint's path


@dataclass(frozen=True)
class TrainResult:
    """What came of it."""

    run: Path
    checkpoint: Path
    step: int
    loss_first_tenth: float | None
    loss_last_tenth: float | None
    clips_per_s: float | None
    seconds: float
    parameters: int


def run(
    config: Config, locations: Locations, console: Console, options: TrainOptions
) -> TrainResult:
    """Train to `train.steps`, going on from the newest whole checkpoint.

    Raises:
        DataError: if the latents are missing, do not fit, or hold no clip that is long enough.
        CheckpointError: if the checkpoint to go on from does not fit.
        Stopped: after saving, when a signal asked for it.
    """
    device = pick_device()
    dtype = resolve_precision(config.train.precision, device)
    latents = LatentSet.open(locations.latents(config))
    check_latents(latents, config)
    sampler = ClipSampler(latents, config)
    if sampler.too_short:
        console.warn(f"{sampler.too_short} videos are shorter than a clip and are left out")
    state = new_state(config, device, options.init)
    folder = locations.run(config, options.run)
    resume(state, folder, config, options.resume, console)
    write_text(folder / "config.yaml", config.to_yaml())
    diffusion = Diffusion(**config.diffusion.model_dump())
    log = _MetricsLog(folder / "metrics.jsonl", state.step)
    train = config.train
    started, saved = time.monotonic(), None

    def save() -> Path:
        meta = CheckpointMeta(
            state.step,
            latents.meta.vae_fingerprint,
            latents.meta.scaling_factor,
            latents.meta.classes,
        )
        path = save_state(state, folder, config, meta)
        remove_old_checkpoints(folder, train.keep)
        return path

    with listening() as request, console.progress("training", train.steps, "steps") as bar:
        bar.start(state.step)
        for batch in _batches_ahead(sampler, state.step, train.steps):
            metrics = train_step(state, batch.to(device), diffusion, config, dtype)
            log.count(train.batch_size)
            saved = None

            if state.step % train.log_every == 0 or state.step == train.steps:
                row = log.write(state.step, metrics, state.optimizer.param_groups[0]["lr"])
                _refuse_not_finite(row)
                note = f"loss {row['loss']:.4f}  {row['clips_per_s']:.1f} clips/s"
                bar.advance(0, note)
            bar.advance()

            if state.step % train.save_every == 0 or state.step == train.steps:
                saved = save()
            if state.step % train.preview_every == 0 or state.step == train.steps:
                _write_preview(state, config, folder, console)
            if request.exit_code is not None:
                saved = saved or save()
                raise Stopped(
                    request.exit_code, f"saved {saved}; the same command goes on from there"
                )
    checkpoint = saved or list_checkpoints(folder)[-1]
    return TrainResult(
        run=folder,
        checkpoint=checkpoint,
        step=state.step,
        loss_first_tenth=log.loss_first_tenth,
        loss_last_tenth=log.loss_last_tenth,
        clips_per_s=log.clips_per_s,
        seconds=time.monotonic() - started,
        parameters=sum(p.numel() for p in state.model.parameters()),
    )


def check_latents(latents: LatentSet, config: Config) -> None:
    """Refuse latents that the configured network cannot take, before anything is built."""
    meta, stated = latents.meta, (config.data.size, config.vae.latent_channels)
    if stated != (meta.size, meta.latent_channels):
        raise DataError(
            f"{latents.folder} holds latents of {meta.size} px with {meta.latent_channels} "
            f"channels, the configuration says {stated[0]} px with {stated[1]}",
            hint=f"-o data.size={meta.size} -o vae.latent_channels={meta.latent_channels}, "
            "or encode again",
        )


def resume(state: TrainState, folder: Path, config: Config, how: str, console: Console) -> None:
    """Put a checkpoint into the state: the newest whole one, none, or the one named.

    Raises:
        CheckpointError: if it is broken or of another network, or is there and must not be.
    """
    there = list_checkpoints(folder)
    if how == "never":
        if there:
            raise CheckpointError(
                f"{folder} holds a run already", hint="give another --run, or delete that folder"
            )
        return
    if how != "auto":
        there = [Path(how)]
    for checkpoint in reversed(there):
        broken = what_is_broken(checkpoint)
        if broken is None:
            _refuse_other_network(checkpoint, config)
            load_state(state, checkpoint, read_checkpoint_meta(checkpoint).step)
            console.say(f"going on from {checkpoint}")
            return
        if how != "auto":
            raise CheckpointError(f"{checkpoint}: {broken}", hint="--resume auto finds a whole one")
        console.warn(f"{broken}; trying the checkpoint before it")


def _refuse_other_network(checkpoint: Path, config: Config) -> None:
    """A run is gone on with under the same network, clips and noise; the rest may change."""
    theirs = flatten(read_tree(checkpoint / "config.yaml"))
    ours = flatten(config.model_dump())
    fixed = ("model.", "diffusion.", "vae.", "data.size", "data.frames", "data.interval")
    other = [
        f"{key} was {theirs.get(key)!r}, is {ours[key]!r}"
        for key in ours
        if key.startswith(fixed) and theirs.get(key) != ours[key]
    ]
    if other:
        raise CheckpointError(
            f"{checkpoint} was trained with other settings: {'; '.join(other)}",
            hint="give another --run, or the -o values that the run was begun with",
        )


def _batches_ahead(sampler: ClipSampler, done: int, steps: int) -> Iterator[Batch]:
    """The batches of the steps to come, each made while the one before it is learned."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        upcoming = pool.submit(sampler.batch, done)
        for step in range(done, steps):
            batch = upcoming.result()
            if step + 1 < steps:
                upcoming = pool.submit(sampler.batch, step + 1)
            yield batch


class _MetricsLog:
    """metrics.jsonl: one object a logged step; steps that a resumed run takes again are dropped."""

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        rows = read_json_lines(path) if path.is_file() else []
        self._rows = [row for row in rows if row["step"] <= step]
        write_json_lines(path, self._rows)
        self._clips, self._since = 0, time.monotonic()

    def count(self, clips: int) -> None:
        """Count clips towards the rate."""
        self._clips += clips

    def write(self, step: int, metrics: StepMetrics, lr: float) -> dict[str, float]:
        """Fetch a step's metrics from the device and append them."""
        now = time.monotonic()
        row = {
            "step": step,
            "loss": metrics.loss.item(),
            "mse": metrics.mse.item(),
            "vlb": metrics.vlb.item(),
            "grad_norm": metrics.grad_norm.item(),
            "lr": lr,
            "clips_per_s": self._clips / (now - self._since),
        }
        self._clips, self._since = 0, now
        self._rows.append(row)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        return row

    @property
    def loss_first_tenth(self) -> float | None:
        """Mean loss over the first tenth of the logged steps."""
        return self._mean_loss(self._rows[: max(1, len(self._rows) // 10)])

    @property
    def loss_last_tenth(self) -> float | None:
        """Mean loss over the last tenth of the logged steps."""
        return self._mean_loss(self._rows[-max(1, len(self._rows) // 10) :])

    @property
    def clips_per_s(self) -> float | None:
        """Median rate over the logged steps."""
        rates = sorted(row["clips_per_s"] for row in self._rows)
        return rates[len(rates) // 2] if rates else None

    @staticmethod
    def _mean_loss(rows: list[dict[str, float]]) -> float | None:
        return sum(row["loss"] for row in rows) / len(rows) if rows else None


def _refuse_not_finite(row: dict[str, float]) -> None:
    if not math.isfinite(row["loss"]):
        raise CheckpointError(
            f"the loss is {row['loss']} at step {row['step']}: the run has diverged",
            hint="the same command goes on from the last checkpoint; a lower train.lr may help",
        )


def _write_preview(state: TrainState, config: Config, folder: Path, console: Console) -> None:
    """Eight clips of the averaged network at fixed seeds and labels, as one video."""
    codec = load_codec(config, next(state.model.parameters()).device)
    sample = config.sample.model_copy(
        update={"sampler": "ddim", "steps": min(_PREVIEW_STEPS, config.diffusion.num_timesteps)}
    )
    generator = Generator(state.ema, codec, config.model_copy(update={"sample": sample}))
    classes = config.model.num_classes
    requests = [
        ClipRequest(index, config.sample.seed, index % classes if classes else None)
        for index in range(_PREVIEW_CLIPS)
    ]
    clips = [clip.frames for clip in generator.clips(requests)]
    path = folder / "previews" / f"step-{state.step:08d}.mp4"
    write_video(path, tile(clips, columns=4), config.sample.fps)
    console.detail(f"preview: {path}")
