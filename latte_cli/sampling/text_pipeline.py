"""A text-to-video pipeline made ready to draw, in the order that its memory asks for."""

import gc
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from latte_cli.models import load_latte_t2v
from latte_cli.runtime.console import Console
from latte_cli.runtime.devices import PRECISIONS, pick_device, resolve_precision
from latte_cli.runtime.errors import CheckpointError, ConfigError
from latte_cli.sampling.pipeline_files import DECODERS, PipelineFiles
from latte_cli.sampling.text_plan import AskedClip, T2VOptions
from latte_cli.sampling.text_to_video import TextClip, TextGenerator, load_sampler
from latte_cli.text.encoder import MAX_TOKENS, EncodedText, TextEncoder
from latte_cli.vae import LatentCodec
from latte_cli.video_io import FORMATS

_TEXT_DEVICES = ("auto", "cpu")
_FRAMES_DECODED = 14  # at a time, as the published pipeline does


@dataclass(frozen=True)
class OpenPipeline:
    """A pipeline's network, and texts as it is told them.

    Attributes:
        generator: all that turns noise into frames.
        texts: every text of the clips to draw, encoded, by its words.
        size: height and width of a frame, pixels; as asked for, or as trained.
    """

    generator: TextGenerator
    texts: Mapping[str, EncodedText]
    size: tuple[int, int]

    def clip(self, asked: AskedClip) -> TextClip:
        """A clip of the list, its texts encoded."""
        prompt = asked.prompt
        assert prompt.seed is not None
        assert prompt.negative is not None
        assert prompt.guidance is not None
        texts = self.texts[prompt.prompt], self.texts[prompt.negative]
        return TextClip(*texts, prompt.seed, asked.number, prompt.guidance)


def refuse_unknown(options: T2VOptions) -> None:
    """Raise ConfigError on a word or number that cannot be, before anything is loaded."""
    for option, word, known in (
        ("--vae-decoder", options.vae_decoder, DECODERS),
        ("--precision", options.precision, PRECISIONS),
        ("--text-encoder", options.text_device, _TEXT_DEVICES),
        ("--format", options.fmt, FORMATS),
    ):
        if word not in known:
            raise ConfigError(f"{option} {word} is unknown", hint=f"known: {', '.join(known)}")
    for option, number in (
        ("--guidance", options.guidance),
        ("--eta", options.eta),
        ("--fps", options.fps),
    ):
        if not math.isfinite(number):
            raise ConfigError(f"{option} {number} is no finite number", hint="give one as 7.5")


def open_pipeline(
    options: T2VOptions, clips: Sequence[AskedClip], console: Console
) -> OpenPipeline:
    """Encode the texts of some clips, let go of the text encoder, then load the network.

    Args:
        options: which pipeline, and how it is to draw.
        clips: what is to be drawn.
        console: told what of a text did not fit.

    Raises:
        CheckpointError: if a part of the pipeline is missing, broken or does not fit the others.
        ConfigError: if a value cannot be used.
    """
    device = pick_device()
    dtype = resolve_precision(options.precision, device)
    files = PipelineFiles(options.model)
    texts = _encode(options, files, clips, device, dtype, console)
    generator = _load_generator(options, files, device, dtype)
    width = next(iter(texts.values())).tokens.shape[-1]
    if width != generator.model.shape.text_width:
        raise CheckpointError(
            f"{options.model}: its text encoder gives embeddings of width {width}, its network "
            f"takes {generator.model.shape.text_width}",
            hint="are both parts of the same pipeline?",
        )
    trained = generator.model.shape.latent_size * generator.codec.downsample
    size = options.size or (trained, trained)
    generator.check_size(*size)
    return OpenPipeline(generator, texts, size)


def _encode(
    options: T2VOptions,
    files: PipelineFiles,
    clips: Sequence[AskedClip],
    device: torch.device,
    dtype: torch.dtype,
    console: Console,
) -> dict[str, EncodedText]:
    """Every text once. The text encoder is the largest part and gone before the network comes."""
    device = torch.device("cpu") if options.text_device == "cpu" else device
    texts = sorted({text for c in clips for text in (c.prompt.prompt, c.prompt.negative or "")})
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
    codec = LatentCodec.load(str(files.part(DECODERS[options.vae_decoder])), device)
    codec.frames_at_a_time = _FRAMES_DECODED
    model = load_latte_t2v(files.part("transformer")).to(device)
    if model.shape.in_channels != codec.latent_channels:
        raise CheckpointError(
            f"{options.model}: its autoencoder has {codec.latent_channels} latent channels, its "
            f"network takes {model.shape.in_channels}",
            hint="are both parts of the same pipeline?",
        )
    return TextGenerator(model, codec, sampler, dtype)
