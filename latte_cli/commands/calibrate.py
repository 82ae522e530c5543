"""`latte calibrate`: find which steps can skip blocks of a trained network."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latte_cli.caching import (
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
from latte_cli.checkpoints.choice import refuse_diffusers_folder
from latte_cli.config import Config
from latte_cli.diffusion import Diffusion, Sampler, build_sampler
from latte_cli.models.trained import folder_of_weights, load_trained
from latte_cli.runtime.console import Console
from latte_cli.runtime.devices import pick_device, resolve_precision
from latte_cli.runtime.errors import ConfigError
from latte_cli.sampling.existing.schedules import find_schedules, schedule_request
from latte_cli.sampling.generation import Generator
from latte_cli.sampling.pipelines.files import is_pipeline
from latte_cli.sampling.pipelines.trained import pipeline_files
from latte_cli.sampling.sample_requests import ClipRequest
from latte_cli.sampling.text_requests import (
    T2VOptions,
    TextClipRequest,
    pipeline_setup,
    text_clip_requests,
)
from latte_cli.sampling.text_to_video import load_generator
from latte_cli.text.prompts import Prompt, check_cleaning
from latte_cli.vae import load_codec

__all__ = ["CalibrateOptions", "CalibrateResult", "T2VOptions", "run", "run_for_text"]

_FIRST_NUMBER = 1_000_000  # of the clips: others than those that are sampled later
_CLIPS = 8
_RUNS_PER_SPEED = 2  # of the clips, in `calibrate`

# Moving objects, a moving camera, both, and hardly any motion; used if no prompts are given.
PROMPTS = (
    "a paper boat drifts down a street in the rain",
    "clouds gather over a yellow field, seen from a balloon",
    "a tram turns the corner of a sunny square while people cross it",
    "an old woman at a window looks up from her book",
)


@dataclass(frozen=True)
class CalibrateOptions:
    """The options of `latte calibrate`.

    Attributes:
        speeds: such as 2x.
        count: clips to measure on; None: 8, or one of each prompt.
        out: folder of the files; None: beside the weights, or the user's cache folder for a
            pipeline of the hub and a folder that is not writable.
        overwrite: whether schedules of another request may be replaced.
    """

    speeds: tuple[str, ...] = ("2x", "3x")
    count: int | None = None
    out: Path | None = None
    overwrite: bool = False

    def parse_speeds(self, steps: int) -> list[float]:
        """The speeds as numbers.

        Raises:
            ConfigError: if one cannot be reached in this number of steps.
        """
        speeds = [parse_speed(text) for text in self.speeds]
        check_speeds(speeds, steps)
        return speeds


@dataclass(frozen=True)
class Speed:
    """The result of one speed.

    Attributes:
        path: of the stored schedule.
        fewer_blocks: how many times fewer blocks were computed.
        psnr_db: against clips without a cache.
    """

    path: Path
    fewer_blocks: float
    psnr_db: float


@dataclass(frozen=True)
class CalibrateResult:
    """The stored schedules; the checkpoint may be a pipeline, by its folder or hub id."""

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
    """Sample a few clips, search a schedule for each speed, measure it on the clips, store it.

    Raises:
        CheckpointError: if the checkpoint is broken or holds another network than configured.
        ConfigError: on a text model, or a speed that cannot be reached.
        ExistsError: if schedules of another request are there, which may not be replaced.
    """
    started, sample = time.monotonic(), config.sample
    if is_pipeline(checkpoint):
        raise ConfigError(
            f"{checkpoint} is a text-to-video pipeline",
            hint=f"calibrate it by --model {checkpoint}",
        )
    if config.model.condition == "text":
        raise ConfigError(
            f"{checkpoint} is a text-to-video network",
            hint=f"calibrate it by --model {checkpoint}",
        )
    refuse_diffusers_folder(checkpoint)
    speeds = options.parse_speeds(sample.steps)
    count, setup = options.count or _CLIPS, checkpoint_setup(checkpoint, config, frames)
    request = schedule_request(setup, count, {"checkpoint": str(checkpoint), "seed": sample.seed})
    folder = options.out or cache_location(folder_of_weights(checkpoint), setup.key)
    plan = _Plan(str(checkpoint), setup, count, request, folder, options)
    there = plan.find_existing(speeds, console)
    if len(there) == len(speeds):
        return plan.result(there, started)
    device = pick_device()
    model = load_trained(checkpoint, config).to(device)
    codec = load_codec(config, device)
    dtype = resolve_precision(sample.precision, device)
    generator = Generator(model, codec, config, dtype)
    num_classes = model.shape.num_classes
    requests = [
        ClipRequest(_FIRST_NUMBER + i, sample.seed, i % num_classes if num_classes else None)
        for i in range(count)
    ]

    def generate(on_step: Callable[[int], None]) -> Sequence[NDArray[np.uint8]]:
        return list(generator.clips(requests, frames, on_step))

    diffusion = Diffusion(**config.diffusion.model_dump())
    sampler = build_sampler(sample.sampler, diffusion, sample.steps, sample.eta)
    return _calibrate(_Subject(plan, model, sampler, generate), speeds, there, console, started)


def run_for_text(
    sampling: T2VOptions, console: Console, options: CalibrateOptions
) -> CalibrateResult:
    """The same for a text-to-video pipeline, on clips of a few prompts.

    Args:
        sampling: the pipeline, the prompts, and how it samples; `out` is not used.
        console: for progress.
        options: the speeds and clips.

    Raises:
        CheckpointError: if a part of the pipeline is missing, broken or does not fit the others.
        ConfigError: on a speed that cannot be reached, or prompts of several guidance scales.
        ExistsError: if schedules of another request are there, which may not be replaced.
    """
    started = time.monotonic()
    speeds = options.parse_speeds(sampling.steps)
    requests = _text_requests(sampling, options.count)
    setup = pipeline_setup(sampling, requests)
    if len(setup.conditions) > 1:
        scales = " and ".join(f"{each.guidance:g}" for each in setup.conditions)
        raise ConfigError(
            f"prompts of guidance {scales}, but a schedule is for one",
            hint="calibrate for each separately: no guidance in the file, and --guidance",
        )
    check_cleaning([text for each in requests for text in (each.prompt, each.negative)], console)
    files = pipeline_files(sampling.model)
    weights = None if files.is_hub_id else files.part("transformer")
    prompts = [[each.prompt, each.negative, each.seed] for each in requests]
    request = schedule_request(setup, len(requests), {"model": sampling.model, "prompts": prompts})
    folder = options.out or cache_location(weights, setup.key)
    plan = _Plan(sampling.model, setup, len(requests), request, folder, options)
    there = plan.find_existing(speeds, console)
    if len(there) == len(speeds):
        return plan.result(there, started)
    generator = load_generator(sampling, requests, console)

    def generate(on_step: Callable[[int], None]) -> Sequence[NDArray[np.uint8]]:
        return [generator.clip(request, sampling.frames, on_step) for request in requests]

    subject = _Subject(plan, generator.model, generator.sampler, generate)
    return _calibrate(subject, speeds, there, console, started)


@dataclass(frozen=True)
class _Plan:
    """What is calibrated, how, and where the schedules are stored.

    Attributes:
        name: of the checkpoint or pipeline.
        setup: of the sampling.
        clips: to measure on.
        request: all that the schedules depend on, beside their speeds.
        folder: of the schedules.
        options: of the command.
    """

    name: str
    setup: SamplingSetup
    clips: int
    request: Mapping[str, Any]
    folder: Path
    options: CalibrateOptions

    def find_existing(self, speeds: Sequence[float], console: Console) -> dict[float, Speed]:
        """The schedules that are stored already, by speed."""
        out, overwrite = self.options.out, self.options.overwrite
        found = find_schedules(
            self.folder, self.setup, speeds, self.request, console, out=out, overwrite=overwrite
        )
        return {
            each.speed: Speed(path, each.blocks_in_all / each.blocks, each.psnr_db)
            for path, each in found.items()
        }

    def result(self, stored: Mapping[float, Speed], started: float) -> CalibrateResult:
        """The result of the command, by the schedules of all speeds."""
        key, (conditions,) = self.setup.key, self.setup.conditions
        speeds = tuple(stored[speed] for speed in sorted(stored))
        seconds = time.monotonic() - started
        return CalibrateResult(
            self.name, key.sampler, key.steps, conditions.guidance, self.clips, speeds, seconds
        )


@dataclass(frozen=True)
class _Subject:
    """What is calibrated: a network, its sampling, and a function that samples the same clips."""

    plan: _Plan
    model: Network
    sampler: Sampler
    generate: Callable[[Callable[[int], None]], Sequence[NDArray[np.uint8]]]


def _calibrate(
    subject: _Subject,
    speeds: Sequence[float],
    there: Mapping[float, Speed],
    console: Console,
    started: float,
) -> CalibrateResult:
    """Find the schedules of the speeds for which there are none yet."""
    plan, stored = subject.plan, dict(there)
    key, (conditions,) = plan.setup.key, plan.setup.conditions
    missing = [speed for speed in speeds if speed not in there]
    runs = 1 + _RUNS_PER_SPEED * len(missing)
    with console.progress("calibrating", runs * plan.clips * key.steps, "steps") as bar:
        for found in calibrate(
            subject.model, subject.sampler, missing, lambda: subject.generate(bar.advance)
        ):
            cache = CalibratedCache(
                key,
                conditions,
                found.schedule,
                speed=found.speed,
                psnr_db=round(found.psnr_db, 2),
                blocks=found.tally.blocks,
                blocks_in_all=found.tally.blocks_total,
                clips=plan.clips,
                request=plan.request,
            )
            path = write_cache(plan.folder, cache)
            stored[found.speed] = Speed(path, found.tally.fewer_blocks, found.psnr_db)
    return plan.result(stored, started)


def _text_requests(sampling: T2VOptions, count: int | None) -> list[TextClipRequest]:
    """A few clips, of all prompts in turn."""
    if not sampling.prompts:
        sampling = replace(sampling, prompts=tuple(Prompt(prompt) for prompt in PROMPTS))
    listed = text_clip_requests(sampling)
    turns = [divmod(number, len(listed)) for number in range(count or len(listed))]
    return [replace(listed[prompt], number=_FIRST_NUMBER + turn) for turn, prompt in turns]
