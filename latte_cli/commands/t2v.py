"""`latte t2v`: a sentence becomes a video."""

import gc
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from latte_cli.clip_folder import ClipEntry, ClipFolder
from latte_cli.console import Console
from latte_cli.devices import pick_device, resolve_precision
from latte_cli.errors import CheckpointError, ConfigError
from latte_cli.models import load_latte_t2v
from latte_cli.pipeline_files import PipelineFiles
from latte_cli.prompts import Prompt
from latte_cli.text_encoder import MAX_TOKENS, EncodedText, TextEncoder
from latte_cli.text_to_video import TextClip, TextGenerator, load_sampler
from latte_cli.vae import LatentCodec
from latte_cli.video_io import format_of, write_clip

_DECODERS = {"frame": "vae", "temporal": "vae_temporal_decoder"}
_NOT_OF_CLIPS = {"prompts", "out", "count", "negative", "guidance", "seed", "fmt", "text_device"}
_FRAMES_DECODED = 14  # at a time, as the published pipeline does


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
    """

    prompts: tuple[Prompt, ...]
    out: Path
    model: str
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


@dataclass(frozen=True)
class T2VResult:
    """What came of it."""

    out: Path
    clips: int
    drawn_now: int
    seconds: float
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class _Clip:
    """A clip of the list: its prompt with nothing left open."""

    entry: ClipEntry
    prompt: Prompt
    number: int


def run(options: T2VOptions, console: Console) -> T2VResult:
    """Encode the prompts, let go of the text encoder, draw what is missing.

    Raises:
        CheckpointError: if a part of the pipeline is missing, broken or does not fit the others.
        ConfigError: if a value cannot be used.
        DataError: if the folder holds clips drawn with other settings.
    """
    started = time.monotonic()
    if options.vae_decoder not in _DECODERS:
        raise ConfigError(
            f"--vae-decoder {options.vae_decoder} is unknown", hint=f"known: {', '.join(_DECODERS)}"
        )
    clips = _list_clips(options)
    folder = None
    if not _is_one_file(options):
        folder = ClipFolder(options.out, _settings(options), options.fmt, options.fps)
    missing = {entry.name for entry in folder.missing(c.entry for c in clips)} if folder else None
    todo = [clip for clip in clips if missing is None or clip.entry.name in missing]
    if len(todo) < len(clips):
        console.say(f"{len(clips) - len(todo)} of {len(clips)} clips are there")
    if todo:
        _draw(options, todo, folder, console)
    if folder is not None:
        folder.write_list(clip.entry for clip in clips)
    return T2VResult(
        out=options.out,
        clips=len(clips),
        drawn_now=len(todo),
        seconds=time.monotonic() - started,
        paths=tuple(folder.path_of(c.entry) for c in clips) if folder else (options.out,),
    )


def _draw(
    options: T2VOptions, todo: Sequence[_Clip], folder: ClipFolder | None, console: Console
) -> None:
    """Draw clips and write each as it is done."""
    device = pick_device()
    dtype = resolve_precision(options.precision, device)
    files = PipelineFiles(options.model)
    texts = _encode(options, files, todo, device, dtype, console)
    generator = _load_generator(options, files, device, dtype)
    width = next(iter(texts.values())).tokens.shape[-1]
    if width != generator.model.shape.text_width:
        raise CheckpointError(
            f"{options.model}: its text encoder gives embeddings of width {width}, its network "
            f"takes {generator.model.shape.text_width}",
            hint="are both parts of the same pipeline?",
        )
    trained = generator.model.shape.latent_size * generator.codec.downsample
    height, width = options.size or (trained, trained)
    with console.progress("drawing", len(todo) * options.steps, "steps") as bar:
        for done, clip in enumerate(todo, start=1):
            bar.advance(0, f"clip {done} of {len(todo)}")
            asked = _text_clip(clip, texts)
            noise = generator.noise(asked, options.frames, height, width)
            frames = generator.draw(asked, noise, bar.advance)
            if folder is None:
                about = {**_settings(options), **clip.entry.about}
                write_clip(options.out, frames, options.fps, about)
            else:
                folder.write(clip.entry, frames)


def _encode(
    options: T2VOptions,
    files: PipelineFiles,
    todo: Sequence[_Clip],
    device: torch.device,
    dtype: torch.dtype,
    console: Console,
) -> dict[str, EncodedText]:
    """Every text once. The text encoder is the largest part and gone before the network comes."""
    device = torch.device("cpu") if options.text_device == "cpu" else device
    texts = sorted({text for c in todo for text in (c.prompt.prompt, c.prompt.negative or "")})
    encoder = TextEncoder.load(
        files.part("tokenizer"), files.part("text_encoder"), device, dtype, options.text_bits
    )
    encoded = dict(zip(texts, encoder.encode(texts, clean=options.clean), strict=True))
    for text in encoded.values():
        if text.cut:
            console.warn(f"longer than {MAX_TOKENS} tokens, left out: {text.cut}")
    del encoder
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return encoded


def _load_generator(
    options: T2VOptions, files: PipelineFiles, device: torch.device, dtype: torch.dtype
) -> TextGenerator:
    sampler = load_sampler(files.part("scheduler"), options.sampler, options.steps, options.eta)
    codec = LatentCodec.load(str(files.part(_DECODERS[options.vae_decoder])), device)
    codec.frames_at_a_time = _FRAMES_DECODED
    model = load_latte_t2v(files.part("transformer")).to(device)
    if model.shape.in_channels != codec.latent_channels:
        raise CheckpointError(
            f"{options.model}: its autoencoder has {codec.latent_channels} latent channels, its "
            f"network takes {model.shape.in_channels}",
            hint="are both parts of the same pipeline?",
        )
    return TextGenerator(model, codec, sampler, dtype)


def _list_clips(options: T2VOptions) -> list[_Clip]:
    """Every clip that is asked for, nothing left open."""
    clips: list[_Clip] = []
    for prompt in options.prompts:
        whole = Prompt(
            prompt.prompt,
            options.seed if prompt.seed is None else prompt.seed,
            options.negative if prompt.negative is None else prompt.negative,
            options.guidance if prompt.guidance is None else prompt.guidance,
        )
        for number in range(options.count):
            about = {"index": len(clips), **asdict(whole), "number": number}
            entry = ClipEntry(f"{len(clips):05d}-seed{whole.seed}", about)
            clips.append(_Clip(entry, whole, number))
    return clips


def _text_clip(clip: _Clip, texts: Mapping[str, EncodedText]) -> TextClip:
    asked = clip.prompt
    assert asked.seed is not None
    assert asked.negative is not None
    assert asked.guidance is not None
    return TextClip(
        texts[asked.prompt], texts[asked.negative], asked.seed, clip.number, asked.guidance
    )


def _is_one_file(options: T2VOptions) -> bool:
    """Whether `out` is a file to write rather than a folder.

    Raises:
        ConfigError: if it is a file, but there are several clips, or its ending is not known.
    """
    if not options.out.suffix or options.out.is_dir():
        return False
    format_of(options.out)
    clips = len(options.prompts) * options.count
    if clips > 1:
        raise ConfigError(
            f"{options.out} is one file, but there are {clips} clips", hint="give a folder to -o"
        )
    return True


def _settings(options: T2VOptions) -> dict[str, Any]:
    """All that clips depend on beside their prompt and seed."""
    return {key: value for key, value in asdict(options).items() if key not in _NOT_OF_CLIPS}
