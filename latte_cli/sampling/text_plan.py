"""What `latte t2v` is to draw: which clips, from what, and where they go."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from latte_cli.caching import (
    NO_CACHE,
    CacheKey,
    CacheOptions,
    Conditions,
    Policy,
    SamplingSetup,
    choose_policy,
    policy_name,
    trained_size,
)
from latte_cli.runtime.devices import pick_device, resolve_precision
from latte_cli.runtime.errors import ConfigError
from latte_cli.sampling.clip_folder import ClipEntry
from latte_cli.sampling.first_frame import picture_checksum
from latte_cli.sampling.long_video import LongClip, long_clip
from latte_cli.sampling.pipeline_files import DECODERS, PipelineFiles
from latte_cli.sampling.sample_plan import check_cache_with_fifo, is_file, is_stack
from latte_cli.sampling.text_to_video import OBJECTIVES, load_sampler, read_scheduler
from latte_cli.text.prompts import Prompt
from latte_cli.text.vbench import read_suites, video_name, videos_per_prompt

_NOT_OF_CLIPS = {
    *("prompts", "out", "count", "negative", "guidance", "seed", "fmt", "text_device"),
    *("long", "long_method", "overlap", "image", "vbench", "cache"),
}


@dataclass(frozen=True)
class T2VOptions:
    """What `latte t2v` was asked for.

    Attributes:
        prompts: what to draw.
        out: a file for one clip, by its ending; else a folder.
        model: a pipeline's folder in diffusers' layout, or its hub id.
        count: clips of each prompt.
        negative: what guidance leads away from, where a prompt does not say.
        guidance: scale, where a prompt does not say; 1 is off.
        seed: of the noise, where a prompt does not say.
        sampler: None: the scheduler that the pipeline was published with.
        size: height and width of a frame, pixels; None: as the network was trained.
        vae_decoder: `frame`, or `temporal` for several frames at a time.
        fmt: format of the clips of a folder.
        text_device: where the text encoder runs: `auto` or `cpu`.
        text_bits: 8 or 4: quantize the text encoder.
        clean: clean prompts as the captions of the training set were.
        long: frames of a clip that is longer than the `frames` that are drawn at once.
        long_method: how, see `LongClip`.
        overlap: see `LongClip`; None: half a window.
        image: picture that each clip begins with.
        vbench: VBench's list of prompts, vbench_full_info.json, in place of `prompts`.
        cache: what is used again from step to step.
    """

    prompts: tuple[Prompt, ...]
    out: Path = Path("out.mp4")
    model: str = "maxin-cn/Latte-1"
    count: int = 1
    negative: str = ""
    guidance: float = 7.5
    seed: int = 0
    steps: int = 50
    sampler: str | None = None
    eta: float = 0.0
    frames: int = 16
    size: tuple[int, int] | None = None
    fps: float = 8.0
    vae_decoder: str = "frame"
    fmt: str = "mp4"
    precision: str = "auto"
    text_device: str = "auto"
    text_bits: int | None = None
    clean: bool = True
    long: int | None = None
    long_method: str = "window"
    overlap: int | None = None
    image: Path | None = None
    vbench: Path | None = None
    cache: CacheOptions = NO_CACHE


@dataclass(frozen=True)
class AskedClip:
    """A clip of the list: its prompt with nothing left open."""

    entry: ClipEntry
    prompt: Prompt
    number: int


def list_clips(options: T2VOptions) -> list[AskedClip]:
    """Every clip that is asked for, nothing left open.

    Raises:
        DataError: if VBench's list cannot be read.
    """
    if options.vbench is not None:
        return list(_of_vbench(options, options.vbench))
    clips: list[AskedClip] = []
    for prompt in options.prompts:
        whole = _whole(options, prompt)
        for number in range(options.count):
            name = f"{len(clips):05d}-seed{whole.seed}"
            clips.append(_clip(name, len(clips), whole, number))
    return clips


def _of_vbench(options: T2VOptions, path: Path) -> Iterator[AskedClip]:
    index = 0
    for suite, prompts in read_suites(path).items():
        for prompt in prompts:
            for number in range(videos_per_prompt(suite)):
                name = f"{suite}/{video_name(prompt, number, suffix='')}"
                yield _clip(name, index, _whole(options, Prompt(prompt)), number)
                index += 1


def _whole(options: T2VOptions, prompt: Prompt) -> Prompt:
    return Prompt(
        prompt.prompt,
        options.seed if prompt.seed is None else prompt.seed,
        options.negative if prompt.negative is None else prompt.negative,
        options.guidance if prompt.guidance is None else prompt.guidance,
    )


def _clip(name: str, index: int, prompt: Prompt, number: int) -> AskedClip:
    about = {"index": index, **asdict(prompt), "number": number}
    return AskedClip(ClipEntry(name, about), prompt, number)


def long_plan(options: T2VOptions) -> LongClip | None:
    """How clips are put together that are longer than what is drawn at once; None for others.

    Raises:
        ConfigError: if they cannot be.
    """
    return long_clip(options.long, options.frames, options.overlap, options.long_method)


def cache_policy(options: T2VOptions, clips: Sequence[AskedClip]) -> Policy | None:
    """What drawing these clips uses again from step to step; None: nothing.

    Raises:
        CheckpointError: if a calibrated cache is missing, or for something else.
        ConfigError: if it cannot be, or not together with the other options.
    """
    check_cache_with_fifo(options.cache, long_plan(options))
    if not options.cache.is_on:
        return None
    network = PipelineFiles(options.model).part("transformer")
    return choose_policy(options.cache, network, lambda: text_cache_use(options, clips))


def text_cache_use(options: T2VOptions, clips: Sequence[AskedClip]) -> SamplingSetup:
    """What drawing these clips asks of a calibrated schedule.

    Raises:
        CheckpointError: if the pipeline has no network, or no scheduler that is known.
        ConfigError: if there is no such sampler, or not so many steps.
    """
    files = PipelineFiles(options.model)
    sampler = load_sampler(files.part("scheduler"), options.sampler, options.steps, options.eta)
    config = read_scheduler(files.part("scheduler"))
    predicted = str(config.get("prediction_type", "epsilon"))
    key = CacheKey(
        files.checksum("transformer"),
        options.sampler or str(config["_class_name"]),
        OBJECTIVES.get(predicted, predicted),
        tuple(sampler.timesteps),
    )
    scales = {clip.prompt.guidance: None for clip in clips}  # each once, in their order
    conditions = (
        Conditions(scale, options.frames, options.size, options.eta)
        for scale in scales
        if scale is not None
    )
    trained = trained_size(files.part("transformer"), files.part(DECODERS[options.vae_decoder]))
    return SamplingSetup(key, tuple(conditions), trained)


def settings_of(options: T2VOptions, policy: Policy | None) -> dict[str, Any]:
    """All that clips depend on beside their prompt and seed; `model` is but a name of it.

    Raises:
        CheckpointError: if a part of the pipeline is missing.
        ConfigError: if a clip cannot be so long.
        DataError: if the picture cannot be read.
    """
    settings = {key: value for key, value in asdict(options).items() if key not in _NOT_OF_CLIPS}
    dtype = resolve_precision(options.precision, pick_device())
    settings["precision"] = str(dtype).removeprefix("torch.")
    settings["cache"] = policy_name(policy)
    if (plan := long_plan(options)) is not None:
        settings["long"] = vars(plan)
    if options.image is not None:
        settings["image_sha256"] = picture_checksum(options.image)
    # Last, for parts that are on the hub are fetched for it.
    return settings | _weights_of(PipelineFiles(options.model), options.vae_decoder)


def _weights_of(files: PipelineFiles, decoder: str) -> dict[str, str]:
    """What tells the parts of a pipeline from those of another, whatever that is called."""
    scheduler = read_scheduler(files.part("scheduler"))
    scheduler.pop("_diffusers_version", None)  # which wrote it, and changes nothing
    return {
        "weights_sha256": files.checksum("transformer"),
        "vae_sha256": files.checksum(DECODERS[decoder]),
        "scheduler_sha256": hashlib.sha256(repr(sorted(scheduler.items())).encode()).hexdigest(),
        "text_encoder_fingerprint": files.fingerprint("text_encoder"),
    }


def is_one_clip(options: T2VOptions, clips: int) -> bool:
    """Whether `out` is the file of one clip.

    Raises:
        ConfigError: if it is such a file, but several clips or frames do not fit it, or its ending
            is not known; or if VBench's videos cannot go there.
    """
    if options.vbench is not None:
        if options.count > 1 or is_file(options.out) or options.fmt not in ("mp4", "gif"):
            raise ConfigError(
                "--vbench draws 5 mp4 or gif files of each prompt (25 for flickering) in a folder",
                hint="give a folder to -o, and neither -n nor another --format",
            )
        return False
    if not is_file(options.out) or is_stack(options.out):
        return False
    if clips > 1:
        raise ConfigError(
            f"{options.out} is one file, but there are {clips} clips",
            hint="give a folder, or NAME.npz, to -o",
        )
    if options.out.suffix.lower() == ".png" and (options.long or options.frames > 1):
        raise ConfigError(
            f"{options.out} is one picture, but a clip has {options.long or options.frames} frames",
            hint="--frames 1, or a name without an ending for a folder of pictures",
        )
    return True
