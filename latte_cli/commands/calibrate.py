"""`latte calibrate`: which steps a trained network can skip parts of, found on a few clips."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latte_cli.caching import (
    Calibrated,
    CalibratedCache,
    Network,
    SamplingSetup,
    cache_location,
    calibrate,
    check_speeds,
    checkpoint_setup,
    parse_speed,
    write_cache,
)
from latte_cli.config import Config
from latte_cli.diffusion import Diffusion, Sampler, build_sampler
from latte_cli.models.weights.trained import load_trained, place_of
from latte_cli.runtime.console import Console
from latte_cli.runtime.devices import pick_device, resolve_precision
from latte_cli.runtime.errors import ConfigError
from latte_cli.sampling.generation import ClipRequest, Generator
from latte_cli.sampling.pipeline_files import PipelineFiles, is_pipeline
from latte_cli.sampling.text_pipeline import open_pipeline, refuse_unknown
from latte_cli.sampling.text_plan import AskedClip, T2VOptions, list_clips, text_cache_use
from latte_cli.text.prompts import Prompt
from latte_cli.vae import load_codec

__all__ = ["CalibrateOptions", "CalibrateResult", "T2VOptions", "run", "run_for_text"]

_APART = 1_000_000  # number of the first clip, so that they are not those that are drawn later
_CLIPS = 8
_DRAWINGS_A_SPEED = 2

# Things that move, a view that does, both, and hardly anything: where no prompts are given.
PROMPTS = (
    "a paper boat drifts down a street in the rain",
    "clouds gather over a yellow field, seen from a balloon",
    "a tram turns the corner of a sunny square while people cross it",
    "an old woman at a window looks up from her book",
)


@dataclass(frozen=True)
class CalibrateOptions:
    """What `latte calibrate` was asked for.

    Attributes:
        speeds: such as 2x.
        count: clips to look at; None: 8, or one of each prompt.
        out: folder of the files; None: beside the weights, or for a pipeline of the hub, or one
            that may not be written to, this user's cache folder.
    """

    speeds: tuple[str, ...] = ("2x", "3x")
    count: int | None = None
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
    """What came of it; the checkpoint may be a pipeline, by its folder or hub id."""

    checkpoint: str
    sampler: str
    steps: int
    guidance: float
    clips: int
    speeds: tuple[Speed, ...]
    seconds: float


def run(
    config: Config,
    console: Console,
    checkpoint: Path,
    options: CalibrateOptions,
    frames: int | None = None,
) -> CalibrateResult:
    """Draw a few clips with nothing skipped, plan what to skip for each speed, try it, store it.

    Raises:
        CheckpointError: if the checkpoint is broken or holds another network than configured.
        ConfigError: on a text model, or a speed that cannot be.
    """
    started, sample = time.monotonic(), config.sample
    if is_pipeline(checkpoint):
        raise ConfigError(
            f"{checkpoint} is a text-to-video pipeline",
            hint=f"calibrate it by --model {checkpoint}",
        )
    speeds = _speeds(options, sample.steps)
    device = pick_device()
    model = load_trained(checkpoint, config).to(device)
    codec = load_codec(config, device)
    dtype = resolve_precision(sample.precision, device)
    generator = Generator(model, codec, config, dtype)
    requests = _requests(options.count or _CLIPS, sample.seed, model.shape.num_classes)

    def draw(on_step: Callable[[int], None]) -> Sequence[NDArray[np.uint8]]:
        return [clip.frames for clip in generator.clips(requests, frames, on_step)]

    diffusion = Diffusion(**config.diffusion.model_dump())
    sampler = build_sampler(sample.sampler, diffusion, sample.steps, sample.eta)
    use = checkpoint_setup(checkpoint, config, frames)
    subject = _Subject(str(checkpoint), model, sampler, use, len(requests), draw)
    folder = options.out or cache_location(place_of(checkpoint), use.key)
    return _calibrate(subject, speeds, folder, console, started)


def run_for_text(
    drawing: T2VOptions, console: Console, options: CalibrateOptions
) -> CalibrateResult:
    """The same for a text-to-video pipeline, on clips of a few prompts.

    Args:
        drawing: the pipeline, the prompts, and how it is to draw; not where to.
        console: tells how it goes.
        options: what is asked for.

    Raises:
        CheckpointError: if a part of the pipeline is missing, broken or does not fit the others.
        ConfigError: on a value or a speed that cannot be, or prompts of several guidance scales.
    """
    started = time.monotonic()
    speeds = _speeds(options, drawing.steps)
    refuse_unknown(drawing)
    clips = _text_clips(drawing, options.count)
    use = text_cache_use(drawing, clips)
    _refuse_several(use)
    pipeline = open_pipeline(drawing, clips, console)
    generator = pipeline.generator

    def draw(on_step: Callable[[int], None]) -> Sequence[NDArray[np.uint8]]:
        drawn = []
        for clip in map(pipeline.clip, clips):
            noise = generator.noise(clip, drawing.frames, *pipeline.size)
            drawn.append(generator.draw(clip, noise, lambda: on_step(1)))
        return drawn

    files = PipelineFiles(drawing.model)
    own = None if files.is_hub_id else files.part("transformer")
    subject = _Subject(drawing.model, generator.model, generator.sampler, use, len(clips), draw)
    folder = options.out or cache_location(own, use.key)
    return _calibrate(subject, speeds, folder, console, started)


@dataclass(frozen=True)
class _Subject:
    """What is calibrated: a network, how it draws, and a way to draw the same few clips again."""

    name: str
    model: Network
    sampler: Sampler
    use: SamplingSetup
    clips: int
    draw: Callable[[Callable[[int], None]], Sequence[NDArray[np.uint8]]]


def _calibrate(
    subject: _Subject, speeds: Sequence[float], folder: Path, console: Console, started: float
) -> CalibrateResult:
    key, (conditions,) = subject.use.key, subject.use.conditions
    drawings = 1 + _DRAWINGS_A_SPEED * len(speeds)
    stored = []
    with console.progress("calibrating", drawings * subject.clips * key.steps, "steps") as bar:
        for found in calibrate(
            subject.model, subject.sampler, speeds, lambda: subject.draw(bar.advance)
        ):
            path = write_cache(folder, _as_stored(found, subject))
            stored.append(Speed(path, found.tally.fewer_blocks, found.psnr_db))
    return CalibrateResult(
        subject.name,
        key.sampler,
        key.steps,
        conditions.guidance,
        subject.clips,
        tuple(stored),
        time.monotonic() - started,
    )


def _speeds(options: CalibrateOptions, steps: int) -> list[float]:
    """The speeds as numbers; those that cannot be are told before anything is loaded."""
    speeds = [parse_speed(text) for text in options.speeds]
    check_speeds(speeds, steps)
    return speeds


def _refuse_several(use: SamplingSetup) -> None:
    """A schedule is for clips that are drawn alike."""
    if len(use.conditions) > 1:
        scales = " and ".join(f"{each.guidance:g}" for each in use.conditions)
        raise ConfigError(
            f"prompts of guidance {scales}, but a schedule is for one",
            hint="calibrate for each apart: leave guidance out of the file, and set --guidance",
        )


def _requests(count: int, seed: int, num_classes: int | None) -> list[ClipRequest]:
    """A few clips, of all labels in turn."""
    labels = range(num_classes) if num_classes else [None]
    return [ClipRequest(_APART + i, seed, labels[i % len(labels)]) for i in range(count)]


def _text_clips(drawing: T2VOptions, count: int | None) -> list[AskedClip]:
    """A few clips, of all prompts in turn."""
    if not drawing.prompts:
        drawing = replace(drawing, prompts=tuple(Prompt(words) for words in PROMPTS))
    listed = list_clips(drawing)
    turns = [divmod(number, len(listed)) for number in range(count or len(listed))]
    return [replace(listed[prompt], number=_APART + turn) for turn, prompt in turns]


def _as_stored(found: Calibrated, subject: _Subject) -> CalibratedCache:
    return CalibratedCache(
        subject.use.key,
        subject.use.conditions[0],
        found.schedule,
        speed=found.speed,
        psnr_db=round(found.psnr_db, 2),
        blocks=found.tally.blocks,
        blocks_in_all=found.tally.blocks_total,
        clips=subject.clips,
    )
