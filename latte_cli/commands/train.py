"""`latte train`: from latents to a network, resumable at any checkpoint."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from latte_cli.checkpoint import (
    CheckpointMeta,
    list_checkpoints,
    read_checkpoint_config,
    read_checkpoint_meta,
    remove_old_checkpoints,
    what_is_broken,
)
from latte_cli.config import Config, flatten
from latte_cli.console import Console
from latte_cli.data.clips import ClipSampler, ClipStore
from latte_cli.data.latents import LatentSet
from latte_cli.data.pixels import PixelStore
from latte_cli.devices import pick_device, resolve_precision
from latte_cli.diffusion import Diffusion
from latte_cli.errors import CheckpointError, DataError
from latte_cli.files import write_text
from latte_cli.locations import Locations
from latte_cli.prefetch import ahead
from latte_cli.signals import Stopped, listening
from latte_cli.training.monitor import MetricsLog, refuse_not_finite, write_preview
from latte_cli.training.step import (
    TrainState,
    begin_from,
    load_state,
    new_state,
    save_state,
    train_step,
)
from latte_cli.vae import LatentCodec, load_codec


@dataclass(frozen=True)
class TrainOptions:
    """What `latte train` was asked for beside the configuration."""

    run: str | None = None
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
    codec = load_codec(config, device)
    store, classes = open_store(config, locations, codec)
    sampler = ClipSampler(store, config, codec.scaling_factor)
    if sampler.too_short:
        console.warn(f"left out, shorter than a clip: {sampler.too_short} of the videos")
    state = new_state(config, device)
    folder = locations.run(config, options.run)
    checkpoint = resume(state, folder, config, options.resume, console)
    if config.train.init is not None and checkpoint is None:
        console.say("\n".join(begin_from(state, config.train.init, config).lines()))
    write_text(folder / "config.yaml", config.to_yaml())
    diffusion = Diffusion(**config.diffusion.model_dump())
    log = MetricsLog(folder / "metrics.jsonl", state.step)
    train = config.train
    started = time.monotonic()

    def save() -> Path:
        refuse_not_finite(state.step, metrics)
        meta = CheckpointMeta(state.step, codec.fingerprint, codec.scaling_factor, classes)
        path = save_state(state, folder, config, meta)
        remove_old_checkpoints(folder, train.keep)
        return path

    with listening() as request, console.progress("training", train.steps, "steps") as bar:
        bar.start(state.step)
        for _, batch in ahead(sampler.batch, range(state.step, train.steps)):
            metrics = train_step(state, batch.to(device), diffusion, config, dtype)
            log.count(train.batch_size)

            if state.step % train.log_every == 0 or state.step == train.steps:
                row = log.write(state.step, metrics, state.optimizer.param_groups[0]["lr"])
                refuse_not_finite(state.step, metrics)
                bar.advance(0, f"loss {row['loss']:.4f}  {row['clips_per_s']:.1f} clips/s")
            bar.advance()

            if state.step % train.save_every == 0 or state.step == train.steps:
                checkpoint = save()
            if state.step % train.preview_every == 0 or state.step == train.steps:
                console.detail(f"preview: {write_preview(state, codec, config, folder)}")
            if request.exit_code is not None:
                if checkpoint is None or read_checkpoint_meta(checkpoint).step < state.step:
                    checkpoint = save()
                said = f"saved {checkpoint}; the same command goes on from there"
                raise Stopped(request.exit_code, said)
    assert checkpoint is not None  # gone on from, or saved at the last step
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


def open_store(
    config: Config, locations: Locations, codec: LatentCodec
) -> tuple[ClipStore, tuple[str, ...]]:
    """What clips are cut from, and the names of its labels.

    Raises:
        DataError: if it is missing, or the configured network or autoencoder do not fit it.
    """
    if config.data.source == "pixels":
        pixels = PixelStore(locations.data(config), codec, config)
        return pixels, pixels.dataset.classes
    latents = LatentSet.open(locations.latents(config))
    meta, stated = latents.meta, (config.data.size, config.vae.latent_channels, config.data.crop)
    if stated != (meta.size, meta.latent_channels, meta.crop):
        raise DataError(
            f"{latents.folder} holds latents of {meta.size} px with {meta.latent_channels} "
            f"channels ({meta.crop}), the configuration says {stated[0]} px with {stated[1]} "
            f"({stated[2]})",
            hint=f"-o data.size={meta.size} -o vae.latent_channels={meta.latent_channels} "
            f"-o data.crop={meta.crop}, or encode again",
        )
    if codec.fingerprint != meta.vae_fingerprint:
        raise DataError(
            f"{latents.folder} holds latents of another autoencoder than {config.vae.path}",
            hint=f"-o vae.path={meta.vae}, or encode again",
        )
    return latents, meta.classes


def resume(
    state: TrainState, folder: Path, config: Config, how: str, console: Console
) -> Path | None:
    """Put a checkpoint into the state: the newest whole one, none, or the one named.

    Returns:
        The checkpoint gone on from, or None for a run that begins.

    Raises:
        CheckpointError: if it is broken or of another network, or is there and must not be.
    """
    there = list_checkpoints(folder)
    if how not in ("auto", "never"):
        _refuse_newer(Path(how), there)
    if how == "never":
        if there:
            raise CheckpointError(
                f"{folder} holds a run already", hint="give another --run, or delete that folder"
            )
        return None
    if how != "auto":
        there = [Path(how)]
    for checkpoint in reversed(there):
        broken = what_is_broken(checkpoint)
        if broken is None:
            _refuse_other_network(checkpoint, config)
            load_state(state, checkpoint, read_checkpoint_meta(checkpoint).step)
            console.say(f"going on from {checkpoint}")
            return checkpoint
        if how != "auto":
            raise CheckpointError(f"{checkpoint}: {broken}", hint="--resume auto finds a whole one")
        console.warn(f"{broken}; trying the checkpoint before it")
    return None


def _refuse_newer(checkpoint: Path, there: Sequence[Path]) -> None:
    """Going back would leave newer checkpoints of an abandoned branch to be taken for the run's."""
    step = read_checkpoint_meta(checkpoint).step
    newer = [path.name for path in there if read_checkpoint_meta(path).step > step]
    if newer:
        raise CheckpointError(
            f"the run has newer checkpoints than {checkpoint}: {', '.join(newer)}",
            hint="delete them to go back, or give another --run",
        )


def _refuse_other_network(checkpoint: Path, config: Config) -> None:
    """A run is gone on with under the same network, clips and noise; the rest may change."""
    theirs = flatten(read_checkpoint_config(checkpoint).model_dump())
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
