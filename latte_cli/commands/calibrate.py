"""`latte calibrate`: which steps a trained network can skip parts of, found on a few clips."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latte_cli.config import Config
from latte_cli.console import Console
from latte_cli.devices import pick_device, resolve_precision
from latte_cli.diffusion import Diffusion, build_sampler
from latte_cli.generation import ClipRequest, Generator
from latte_cli.step_caching import (
    CacheKey,
    Calibrated,
    CalibratedCache,
    calibrate,
    parse_speed,
    write_cache,
)
from latte_cli.trained import load_trained, place_of, weights_checksum
from latte_cli.vae import load_codec

_APART = 1_000_000  # index of the first clip, so that they are not those that are drawn later
_DRAWINGS_A_SPEED = 2


@dataclass(frozen=True)
class CalibrateOptions:
    """What `latte calibrate` was asked for beside the configuration.

    Attributes:
        checkpoint: a folder, or a file of weights.
        speeds: such as 2x.
        count: clips to look at.
        out: folder of the files; None: beside the weights.
    """

    checkpoint: Path
    speeds: tuple[str, ...] = ("2x", "3x")
    count: int = 8
    out: Path | None = None


@dataclass(frozen=True)
class Speed:
    """What came of one speed.

    Attributes:
        path: of the stored schedule.
        fewer_blocks: how many times fewer blocks were computed.
        psnr_db: against clips drawn without it.
    """

    path: Path
    fewer_blocks: float
    psnr_db: float


@dataclass(frozen=True)
class CalibrateResult:
    """What came of it."""

    checkpoint: Path
    sampler: str
    steps: int
    clips: int
    speeds: tuple[Speed, ...]
    seconds: float


def run(config: Config, console: Console, options: CalibrateOptions) -> CalibrateResult:
    """Draw a few clips with nothing skipped, plan what to skip for each speed, try it, store it.

    Raises:
        CheckpointError: if the checkpoint is broken or holds another network than configured.
        ConfigError: on a text model, or a speed that cannot be.
    """
    started, sample = time.monotonic(), config.sample
    speeds = [parse_speed(text) for text in options.speeds]
    device = pick_device()
    model = load_trained(options.checkpoint, config).to(device)
    codec = load_codec(config, device)
    dtype = resolve_precision(sample.precision, device)
    generator = Generator(model, codec, config, dtype)
    diffusion = Diffusion(**config.diffusion.model_dump())
    sampler = build_sampler(sample.sampler, diffusion, sample.steps, sample.eta)
    key = CacheKey(weights_checksum(options.checkpoint), sample.sampler, sample.steps)
    requests = _requests(options.count, sample.seed, model.shape.num_classes)

    drawings = 1 + _DRAWINGS_A_SPEED * len(speeds)
    stored = []
    with console.progress("calibrating", drawings * len(requests) * sample.steps, "steps") as bar:

        def draw() -> Sequence[NDArray[np.uint8]]:
            return [clip.frames for clip in generator.clips(requests, on_step=bar.advance)]

        for found in calibrate(model, sampler, speeds, draw):
            cache = _as_stored(found, key, sample.guidance, len(requests))
            path = write_cache(options.out or place_of(options.checkpoint), cache)
            stored.append(Speed(path, found.tally.fewer_blocks, found.psnr_db))
    seconds = time.monotonic() - started
    return CalibrateResult(
        options.checkpoint, sample.sampler, sample.steps, len(requests), tuple(stored), seconds
    )


def _requests(count: int, seed: int, num_classes: int | None) -> list[ClipRequest]:
    """A few clips, of all labels in turn."""
    labels = range(num_classes) if num_classes else [None]
    return [ClipRequest(_APART + i, seed, labels[i % len(labels)]) for i in range(count)]


def _as_stored(found: Calibrated, key: CacheKey, guidance: float, clips: int) -> CalibratedCache:
    return CalibratedCache(
        key,
        found.schedule,
        speed=found.speed,
        guidance=guidance,
        psnr_db=round(found.psnr_db, 2),
        blocks=found.tally.blocks,
        blocks_in_all=found.tally.blocks_in_all,
        clips=clips,
    )
