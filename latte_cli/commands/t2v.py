"""`latte t2v`: a sentence becomes a video."""

import gc
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from latte_cli.clip_folder import ClipFolder
from latte_cli.console import Console
from latte_cli.devices import pick_device, resolve_precision
from latte_cli.distributed import is_main
from latte_cli.drawing import OnStep, draw_missing
from latte_cli.errors import CheckpointError, ConfigError
from latte_cli.evaluation.vbench import check_folder, raise_if_incomplete
from latte_cli.evaluation.vbench_prompts import LIST, read_suites
from latte_cli.files import write_text
from latte_cli.first_frame import first_frame_latents
from latte_cli.models import load_latte_t2v
from latte_cli.pipeline_files import PipelineFiles
from latte_cli.sample_plan import folder_of
from latte_cli.step_caching import Policy, drawing_with
from latte_cli.text_encoder import MAX_TOKENS, EncodedText, TextEncoder
from latte_cli.text_plan import (
    AskedClip,
    T2VOptions,
    cache_policy,
    is_one_clip,
    list_clips,
    long_plan,
    settings_of,
)
from latte_cli.text_to_video import TextClip, TextGenerator, load_sampler
from latte_cli.vae import LatentCodec
from latte_cli.video_io import Frame, write_clip

__all__ = ["T2VOptions", "T2VResult", "run"]

_DECODERS = {"frame": "vae", "temporal": "vae_temporal_decoder"}
_FRAMES_DECODED = 14  # at a time, as the published pipeline does


@dataclass(frozen=True)
class T2VResult:
    """What came of it."""

    out: Path
    clips: int
    drawn_now: int
    seconds: float
    paths: tuple[Path, ...]


def run(options: T2VOptions, console: Console) -> T2VResult | None:
    """Encode the prompts, let go of the text encoder, draw what is missing.

    Any number of processes that see the same folder may do this at once; others give None.

    Raises:
        CheckpointError: if a part of the pipeline is missing, broken or does not fit the others.
        ConfigError: if a value cannot be used.
        DataError: if the folder holds other clips, or a picture or VBench's list cannot be read.
    """
    started = time.monotonic()
    if options.vae_decoder not in _DECODERS:
        raise ConfigError(
            f"--vae-decoder {options.vae_decoder} is unknown", hint=f"known: {', '.join(_DECODERS)}"
        )
    clips = list_clips(options)
    policy = cache_policy(options)
    folder = None
    if not is_one_clip(options, len(clips)):
        entries, about = [clip.entry for clip in clips], settings_of(options, policy)
        folder = folder_of(options.out, options.fmt, entries, about, options.fps)
    missing = {entry.name for entry in folder.missing()} if folder else None
    todo = [clip for clip in clips if missing is None or clip.entry.name in missing]
    if is_main() and len(todo) < len(clips):
        console.say(f"{len(clips) - len(todo)} of {len(clips)} clips are there")
    if todo and (folder is not None or is_main()):
        _draw(options, policy, clips, todo, folder, console)
    if not is_main():
        return None
    if folder is not None:
        folder.finish()
    if options.vbench is not None:
        # The list stays with its videos: `latte eval --vbench` finds it there.
        write_text(options.out / LIST, options.vbench.read_text(encoding="utf-8"))
        raise_if_incomplete(check_folder(options.out, read_suites(options.vbench)))
    return T2VResult(
        out=options.out,
        clips=len(clips),
        drawn_now=len(todo),
        seconds=time.monotonic() - started,
        paths=folder.paths if folder else (options.out,),
    )


def _draw(
    options: T2VOptions,
    policy: Policy | None,
    clips: Sequence[AskedClip],
    todo: Sequence[AskedClip],
    folder: ClipFolder | None,
    console: Console,
) -> None:
    """Draw what is to do, and write each clip as it is done."""
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
    drawer = _Drawer(generator, options, options.size or (trained, trained), texts)
    with drawing_with(generator.model, policy, console):
        if folder is not None:
            batches = [[clip.entry] for clip in clips]
            draw_missing(
                folder, batches, lambda n, step: drawer.draw(clips[n], step), console, drawer.steps
            )
            return
        with console.progress("drawing", drawer.steps, "steps") as bar:
            for frames in drawer.draw(todo[0], bar.advance):
                about = {**settings_of(options, policy), **todo[0].entry.about}
                write_clip(options.out, frames, options.fps, about)


class _Drawer:
    """Draws clips as the options say.

    Attributes:
        steps: calls of the network for a clip.

    Raises:
        ConfigError: if the network and the autoencoder cannot make frames of that size.
        DataError: if the first frame cannot be read.
    """

    def __init__(
        self,
        generator: TextGenerator,
        options: T2VOptions,
        size: tuple[int, int],
        texts: Mapping[str, EncodedText],
    ) -> None:
        generator.check_size(*size)
        self._generator, self._texts, self._size = generator, texts, size
        self._frames, self._plan = options.frames, long_plan(options)
        self.steps = self._plan.steps(options.steps) if self._plan else options.steps
        self._known = None
        if options.image is not None:
            self._known = first_frame_latents(options.image, generator.codec, *size)

    def draw(self, clip: AskedClip, on_step: OnStep) -> Iterator[Iterable[Frame]]:
        """The frames of one clip."""
        asked, generator = _text_clip(clip, self._texts), self._generator
        noise = generator.noise(asked, self._frames, *self._size)

        def one() -> None:
            on_step(1)

        if self._plan is not None:
            yield generator.draw_long(asked, noise, self._plan, one, self._known)
        else:
            yield generator.draw(asked, noise, one, self._known)


def _encode(
    options: T2VOptions,
    files: PipelineFiles,
    todo: Sequence[AskedClip],
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


def _text_clip(clip: AskedClip, texts: Mapping[str, EncodedText]) -> TextClip:
    asked = clip.prompt
    assert asked.seed is not None
    assert asked.negative is not None
    assert asked.guidance is not None
    return TextClip(
        texts[asked.prompt], texts[asked.negative], asked.seed, clip.number, asked.guidance
    )
