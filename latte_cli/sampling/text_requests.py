"""What `latte t2v` generates: its options, and the clips of its prompts."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from latte_cli.config.cache_options import NO_CACHE, CacheOptions, check_cache_with_fifo
from latte_cli.config.sections import SampleConfig
from latte_cli.runtime.errors import ConfigError
from latte_cli.runtime.weight_files.hub import LATTE_1
from latte_cli.sampling.clip_folder import ClipEntry
from latte_cli.sampling.long_plan import LongClipPlan, plan_long_clip
from latte_cli.sampling.output import is_file, is_one_clip
from latte_cli.sampling.pipelines.files import DECODERS
from latte_cli.sampling.pipelines.scheduler import OBJECTIVES, load_sampler
from latte_cli.sampling.pipelines.trained import pipeline_files
from latte_cli.text.prompts import Prompt
from latte_cli.text.vbench import read_suites, video_name, videos_per_prompt
from latte_cli.video_io import FORMATS

# torch is imported where it is needed: an error before that is shown at once.
if TYPE_CHECKING:
    from latte_cli.caching import Policy, SamplingSetup
    from latte_cli.diffusion import Sampler

_TEXT_DEVICES = ("auto", "cpu")
_PRECISIONS: tuple[str, ...] = get_args(SampleConfig.model_fields["precision"].annotation)


@dataclass(frozen=True)
class T2VOptions:
    """The options of `latte t2v`.

    Attributes:
        prompts: what the clips show.
        out: a file for one clip, by its suffix; else a folder.
        model: a pipeline's folder in diffusers' layout, or its hub id.
        count: clips of each prompt.
        negative: negative prompt, where a prompt has none of its own.
        guidance: scale, where a prompt has none of its own; up to 1 is off.
        seed: of the noise, where a prompt has none of its own.
        steps: denoising steps.
        sampler: None: the scheduler that the pipeline was published with.
        eta: noise that `ddim` adds at each step.
        frames: of a clip, or of a window of a long one.
        size: height and width of a frame, pixels; None: as the network was trained.
        fps: of the clips.
        vae_decoder: `frame`, or `temporal` for several frames at a time.
        fmt: format of the clips of a folder.
        precision: of the network and the text encoder.
        sequence_parallel: processes that share each clip.
        text_device: where the text encoder runs: `auto` or `cpu`.
        text_bits: 8 or 4: quantize the text encoder.
        clean: clean prompts as the captions of the training set were.
        long: frames of a clip that is longer than a window.
        long_method: see `LongClipPlan`.
        overlap: see `LongClipPlan`; None: half a window.
        image: picture that each clip begins with.
        lora: adapters of the network, and how strongly each is felt.
        vbench: VBench's list of prompts, vbench_full_info.json, in place of `prompts`.
        cache: what is reused from step to step.
        overwrite: whether clips of another request may be replaced.

    Raises:
        ConfigError: if a value is not known, or not finite.
    """

    prompts: tuple[Prompt, ...]
    out: Path = Path("out.mp4")
    model: str = LATTE_1
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
    sequence_parallel: int = 1
    text_device: str = "auto"
    text_bits: int | None = None
    clean: bool = True
    long: int | None = None
    long_method: str = "window"
    overlap: int | None = None
    image: Path | None = None
    lora: tuple[tuple[Path, float], ...] = ()
    vbench: Path | None = None
    cache: CacheOptions = NO_CACHE
    overwrite: bool = False

    def __post_init__(self) -> None:
        for option, value, known in (
            ("--vae-decoder", self.vae_decoder, DECODERS),
            ("--precision", self.precision, _PRECISIONS),
            ("--text-encoder", self.text_device, _TEXT_DEVICES),
            ("--format", self.fmt, FORMATS),
        ):
            if value not in known:
                raise ConfigError(f"{option} {value} is unknown", hint=f"known: {', '.join(known)}")
        for option, number in (
            ("--guidance", self.guidance),
            ("--eta", self.eta),
            ("--fps", self.fps),
        ):
            if not math.isfinite(number):
                raise ConfigError(f"{option} {number} is not finite", hint="a number such as 7.5")


@dataclass(frozen=True)
class TextClipRequest:
    """A clip to generate from text: it depends on these values alone.

    Attributes:
        entry: in its folder.
        prompt: what it shows.
        negative: what guidance leads away from.
        seed: of its noise.
        number: among the clips of one prompt and seed, from 0.
        guidance: scale; up to 1 is off.
    """

    entry: ClipEntry
    prompt: str
    negative: str
    seed: int
    number: int
    guidance: float


def text_clip_requests(options: T2VOptions) -> list[TextClipRequest]:
    """The clips to generate.

    Raises:
        DataError: if VBench's list cannot be read.
    """
    if options.vbench is not None:
        return list(_vbench_requests(options, options.vbench))
    numbered = [(prompt, number) for prompt in options.prompts for number in range(options.count)]
    return [
        _request(options, prompt, number, index, None)
        for index, (prompt, number) in enumerate(numbered)
    ]


def _vbench_requests(options: T2VOptions, path: Path) -> Iterator[TextClipRequest]:
    index = 0
    for suite, prompts in read_suites(path).items():
        for prompt in prompts:
            for number in range(videos_per_prompt(suite)):
                name = f"{suite}/{video_name(prompt, number, suffix='')}"
                yield _request(options, Prompt(prompt), number, index, name)
                index += 1


def _request(
    options: T2VOptions, prompt: Prompt, number: int, index: int, name: str | None
) -> TextClipRequest:
    """A clip of a prompt, with the options where it has no values of its own."""
    seed = options.seed if prompt.seed is None else prompt.seed
    negative = options.negative if prompt.negative is None else prompt.negative
    guidance = options.guidance if prompt.guidance is None else prompt.guidance
    metadata = {
        "index": index,
        "prompt": prompt.prompt,
        "seed": seed,
        "negative": negative,
        "guidance": guidance,
        "number": number,
    }
    name = name or f"{index:05d}-seed{seed}"
    entry = ClipEntry(name, metadata, caption=prompt.prompt)
    return TextClipRequest(entry, prompt.prompt, negative, seed, number, guidance)


def long_plan(options: T2VOptions) -> LongClipPlan | None:
    """How long clips are composed; None without `--long`.

    Raises:
        ConfigError: if the options do not go together.
    """
    return plan_long_clip(options.long, options.frames, options.overlap, options.long_method)


def cache_policy(options: T2VOptions, requests: Sequence[TextClipRequest]) -> "Policy | None":
    """What is reused from step to step; None: nothing.

    Raises:
        CheckpointError: if a calibrated cache is missing, or for another network or sampler.
        ConfigError: if the cache options have no meaning, or do not go with the others.
    """
    from latte_cli.caching import choose_policy

    check_cache_with_fifo(options.cache, options.long_method)
    if not options.cache.is_on:
        return None
    files = pipeline_files(options.model)
    _cacheable_sampler(options, files.scheduler_config())
    return choose_policy(
        options.cache, files.part("transformer"), lambda: pipeline_setup(options, requests)
    )


def pipeline_setup(options: T2VOptions, requests: Sequence[TextClipRequest]) -> "SamplingSetup":
    """The setup of sampling these clips from a pipeline, for a calibrated schedule.

    Raises:
        CheckpointError: if the pipeline has no network, or no known scheduler.
        ConfigError: if there is no such sampler, or not that many timesteps, or if the sampler
            calls the network more than once at a timestep, where nothing can be reused.
    """
    from latte_cli.caching import CacheKey, Conditions, SamplingSetup, trained_size

    files = pipeline_files(options.model)
    scheduler = files.scheduler_config()
    sampler = _cacheable_sampler(options, scheduler)
    predicted = str(scheduler.get("prediction_type", "epsilon"))
    key = CacheKey(
        files.checksum("transformer"),
        options.sampler or str(scheduler["_class_name"]),
        OBJECTIVES.get(predicted, predicted),
        tuple(sampler.timesteps),
    )
    scales = dict.fromkeys(request.guidance for request in requests)  # each once, in order
    conditions = [Conditions(scale, options.frames, options.size, options.eta) for scale in scales]
    trained = trained_size(files.part("transformer"), files.part(DECODERS[options.vae_decoder]))
    return SamplingSetup(key, tuple(conditions), trained)


def _cacheable_sampler(options: T2VOptions, scheduler: Mapping[str, Any]) -> "Sampler":
    """The sampler; ConfigError if it calls the network more than once at a timestep."""
    sampler = load_sampler(scheduler, options.sampler, options.steps, options.eta)
    if sampler.timesteps != sorted(set(sampler.timesteps)):
        raise ConfigError(
            f"{scheduler['_class_name']} calls the network several times per step, where nothing "
            "can be reused",
            hint="--cache off, or another --sampler",
        )
    return sampler


def writes_one_clip(options: T2VOptions, clips: int) -> bool:
    """Whether `out` is the file of one clip.

    Raises:
        ConfigError: if it is such a file, but there are several clips, or several frames for a
            picture; if its format is not written, or not read by VBench.
    """
    if options.vbench is None:
        return is_one_clip(options.out, clips, options.long or options.frames)
    if options.count > 1 or is_file(options.out) or options.fmt not in ("mp4", "gif"):
        raise ConfigError(
            "--vbench writes 5 mp4 or gif files of each prompt (25 for flickering) to a folder",
            hint="give a folder to -o, and neither -n nor another --format",
        )
    return False
