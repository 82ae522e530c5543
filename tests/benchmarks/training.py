"""Training: what the loop adds to a step, how long a checkpoint holds it up, what latents save.

    python tests/benchmarks/training.py [overhead checkpoint latents] [--size S] [--pixels 256]

overhead    seconds of a step of `latte train` over those of forward, backward and optimizer alone,
            in turn; loader, average, guard and metrics are the loop's, previews are left out
checkpoint  seconds that a checkpoint blocks the loop, for each GB of it, and the longest that the
            loop's thread waits for its turn while the checkpoint is written
latents     clips a second from encoded latents, against decoding videos and encoding them with an
            autoencoder of Stable Diffusion's size at each step, in float32 (the published way)

Videos are procedural and weights random: neither changes the time. The autoencoder that makes the
latents is the embedded one, whose latents have the same size.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import AutoencoderKL

from latte_cli.checkpoints.folder import CheckpointMeta
from latte_cli.checkpoints.writer import CheckpointWriter
from latte_cli.commands import encode_latents, prepare, train
from latte_cli.config import Config, load_config
from latte_cli.config.locations import Locations
from latte_cli.data.clips import ClipSampler
from latte_cli.data.pixels import PixelStore
from latte_cli.diffusion import Diffusion
from latte_cli.runtime.console import Console
from latte_cli.runtime.devices import (
    device_name,
    pick_device,
    resolve_precision,
    synchronize,
)
from latte_cli.training.batches import BatchLoader, open_store
from latte_cli.training.planning.measuring import synthetic_batch
from latte_cli.training.saving import CheckpointSaver
from latte_cli.training.state import TrainState, new_state
from latte_cli.training.step import clip_losses, train_step
from latte_cli.vae import LatentCodec

QUIET = Console(quiet=True)
# Stable Diffusion's autoencoder: 83.65 M parameters.
SD_SIZE = {
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
}


def configured(options: argparse.Namespace, folder: Path, *words: str) -> Config:
    places = [f"data.root={folder / 'data'}", f"data.latents={folder / 'latents'}"]
    clip = [f"data.size={options.pixels}", "data.interval=2", "data.flip=false", "data.split=all"]
    rest = ["vae.path=embedded", f"model.size={options.size}", "data.num_images=0"]
    batch = [f"train.batch_size={options.clips}", "train.validate_clips=0"]
    return load_config(None, [*places, *clip, *rest, *batch, *words])


def make_latents(options: argparse.Namespace, folder: Path) -> None:
    """Eight videos of 32 frames, prepared and encoded."""
    if (folder / "latents").exists():
        return
    prepare.run(
        prepare.PrepareOptions("shapes", folder / "data", count=8, size=options.pixels), QUIET
    )
    encode_latents.run(
        configured(options, folder), Locations(), QUIET, encode_latents.EncodeOptions()
    )


def seconds(device: torch.device, run: Callable[[], object], count: int = 1) -> float:
    synchronize(device)
    started = time.perf_counter()
    for _ in range(count):
        run()
    synchronize(device)
    return (time.perf_counter() - started) / count


def overhead(options: argparse.Namespace, folder: Path) -> None:
    make_latents(options, folder)
    train.write_preview = lambda *_: folder  # drawn once in thousands of steps
    device = pick_device()
    words = [f"train.log_every={options.steps}", "train.keep=1", "train.save_every=1000000"]
    config = configured(options, folder, *words)
    dtype = resolve_precision(config.train.precision, device)
    state, diffusion = new_state(config, device), Diffusion()
    batch = synthetic_batch(config, options.clips).to(device)

    def core() -> None:
        clip_losses(state.model, batch, diffusion, config.train, dtype).total.mean().backward()
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)

    core()
    alone, looped = [], []
    for number in range(1, options.rounds + 1):
        alone.append(seconds(device, core, options.steps))
        # Of the lines of each run the first has its start in it, and is left out.
        longer = {"steps": 2 * options.steps * number}
        config = config.model_copy(update={"train": config.train.model_copy(update=longer)})
        run = train.run(config, Locations(runs_root=folder), QUIET, train.TrainOptions("loop"))
        last = json.loads((run.run / "metrics.jsonl").read_text().splitlines()[-1])
        looped.append(options.clips / last["clips_per_s"])
    added = statistics.median(b / a - 1 for a, b in zip(alone, looped, strict=True))
    print(
        f"overhead: a step of {options.clips} clips takes {statistics.median(looped):.3f} s in the "
        f"loop and {statistics.median(alone):.3f} s without it: {added:+.1%} (wanted: 5 % at most)"
    )


def checkpoint(options: argparse.Namespace, folder: Path) -> None:
    device = pick_device()
    config = configured(options, folder, "train.keep=1")
    state = new_state(config, device)
    batch = synthetic_batch(config, 1).to(device)
    dtype = resolve_precision(config.train.precision, device)
    blocked, waits, written = [], [], []
    with CheckpointWriter(print) as writer:
        saver = CheckpointSaver(folder / "saved", config, CheckpointMeta(0, "", 1.0), writer)
        for _ in range(options.rounds + 1):
            train_step(state, [batch], Diffusion(), config.train, dtype)
            saver.save_if_due(state)
            writer.wait()
            started = time.perf_counter()
            place = saver.save(state)
            blocked.append(time.perf_counter() - started)
            waits.append(longest_wait(place))
            writer.wait()
            written.append(time.perf_counter() - started)
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) / 1e9
    print(
        f"checkpoint: {size:.2f} GB block the loop for {statistics.median(blocked[1:]):.2f} s, "
        f"{statistics.median(blocked[1:]) / size:.2f} s a GB (wanted: 1 at most); on disk after "
        f"{statistics.median(written[1:]):.1f} s, the loop waited {max(waits[1:]):.2f} s at most"
    )


def longest_wait(place: Path) -> float:
    """The longest that small operations of this thread took until a checkpoint stood there."""
    longest, value = 0.0, torch.zeros(1)
    while not place.exists():
        started = time.perf_counter()
        value += 1
        longest = max(longest, time.perf_counter() - started)
    return longest


def latents(options: argparse.Namespace, folder: Path) -> None:
    make_latents(options, folder)
    device = pick_device()
    plain = configured(options, folder, "train.precision=float32", "data.source=pixels")
    ours = configured(options, folder)
    big = LatentCodec(AutoencoderKL(**SD_SIZE, latent_channels=4), device)
    pixels = PixelStore(Locations().data(plain), big, plain)
    videos = ClipSampler(pixels, plain, big.scaling_factor)
    store, _, codec = open_store(ours, Locations(), device)
    encoded = ClipSampler(store, ours, codec.scaling_factor)
    first, second = new_state(plain, device), new_state(ours, device)
    dtype = resolve_precision(ours.train.precision, device)
    clips, diffusion = range(options.clips), Diffusion()
    encoding, learning, looped = [], [], []
    with BatchLoader(encoded, [clips], device) as loader:
        for number in range(options.rounds + 1):
            started = time.perf_counter()
            batch = videos.batch(number, clips).to(device)
            encoding.append(time.perf_counter() - started)
            step(first, [batch], diffusion, plain, torch.float32, learning)
            started = time.perf_counter()
            for more in range(options.steps):
                batches = loader.load(number * options.steps + more, last=10**6)
                step(second, batches, diffusion, ours, dtype, [])
            looped.append((time.perf_counter() - started) / options.steps)
    published = [a + b for a, b in zip(encoding, learning, strict=True)][1:]  # the first warms up
    ratio = statistics.median(a / b for a, b in zip(published, looped[1:], strict=True))
    ours_took, theirs_took = statistics.median(looped[1:]), statistics.median(published)
    parts = f"{statistics.median(encoding[1:]):.1f} s + {statistics.median(learning[1:]):.1f} s"
    print(
        f"latents: {options.clips / ours_took:.3f} clips/s; with encoding at each step "
        f"{options.clips / theirs_took:.4f} clips/s ({parts} a step to encode and to learn): "
        f"{ratio:.1f} times as fast (wanted: 12 at least)"
    )


def step(
    state: TrainState,
    batches: list,
    diffusion: Diffusion,
    config: Config,
    dtype: torch.dtype,
    times: list[float],
) -> None:
    took = seconds(
        pick_device(), lambda: train_step(state, batches, diffusion, config.train, dtype)
    )
    times.append(took)


PARTS = {
    "overhead": overhead,
    "checkpoint": checkpoint,
    "latents": latents,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--size", default="S")
    parser.add_argument("--pixels", type=int, default=256)
    parser.add_argument("--clips", type=int, default=2, help="in a step")
    parser.add_argument("--steps", type=int, default=5, help="timed together")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"Latte-{options.size}/2 at {options.pixels} px on {device_name(pick_device())}")
    with tempfile.TemporaryDirectory() as name:
        for part in options.parts or PARTS:
            PARTS[part](options, Path(name))


if __name__ == "__main__":
    main()
