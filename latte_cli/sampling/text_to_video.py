"""From prompts to pixels: a text-to-video pipeline, loaded and ready to sample."""

# Axes: b clips, f frames, c latent channels, h w latent size, l tokens of text, d their width.

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latte_cli.config import Config
from latte_cli.config.locations import EMBEDDED
from latte_cli.diffusion import Diffusion, Sampler, build_sampler, guided
from latte_cli.models import LatteT2V, load_latte_t2v
from latte_cli.models.kernels.choice import use_kernels
from latte_cli.models.lora.adapters import merge_adapter, read_adapter
from latte_cli.runtime.console import Console
from latte_cli.runtime.devices import pick_device, resolve_precision
from latte_cli.runtime.errors import CheckpointError, ConfigError
from latte_cli.runtime.randomness import seeded
from latte_cli.sampling.long_plan import LongClipPlan
from latte_cli.sampling.long_video import SamplingLoop
from latte_cli.sampling.pipelines.files import DECODERS, PipelineFiles
from latte_cli.sampling.pipelines.scheduler import load_sampler
from latte_cli.sampling.pipelines.trained import CheckpointFiles, pipeline_files
from latte_cli.sampling.text_requests import T2VOptions, TextClipRequest
from latte_cli.text.encoder import MAX_TOKENS, EncodedText, TextEncoder
from latte_cli.vae import LatentCodec, decode_pieces, to_pixels

_MAX_SHOWN = 60  # characters of a prompt in a message
_MAX_WORDS = 20  # in a message
_FRAMES_DECODED = 14  # at a time, as the published pipeline does


@dataclass(frozen=True)
class TextGenerator:
    """A text-to-video network with all that turns requests into pixels.

    Attributes:
        model: in evaluation mode, on the codec's device.
        codec: the autoencoder whose latents it learned.
        sampler: takes the denoising steps.
        texts: the encoded texts of all requests, by text.
        size: height and width of a frame, pixels.
        dtype: of matmuls: float32, or bfloat16 by autocast.

    Raises:
        CheckpointError: if the text encoder or the autoencoder does not fit the network.
        ConfigError: if the size is not a multiple of what network and autoencoder make.
    """

    model: LatteT2V
    codec: LatentCodec
    sampler: Sampler
    texts: Mapping[str, EncodedText]
    size: tuple[int, int]
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        shape, hint = self.model.shape, "are both parts of the same pipeline?"
        width = next(iter(self.texts.values())).tokens.shape[-1]
        if width != shape.text_width:
            raise CheckpointError(
                f"the text encoder gives embeddings of width {width}, the network takes "
                f"{shape.text_width}",
                hint=hint,
            )
        if self.codec.latent_channels != shape.in_channels:
            raise CheckpointError(
                f"the autoencoder has {self.codec.latent_channels} latent channels, the network "
                f"takes {shape.in_channels}",
                hint=hint,
            )
        height, width = self.size
        multiple = self.codec.downsample * shape.patch
        if height % multiple or width % multiple:
            nearest = [max(multiple, round(n / multiple) * multiple) for n in self.size]
            raise ConfigError(
                f"frames of {height}x{width} pixels: this model makes multiples of {multiple}",
                hint=f"--size {nearest[0]}x{nearest[1]}",
            )

    def noise(self, request: TextClipRequest, num_frames: int) -> Tensor:
        """The noise that a clip begins as: (1, f, c, h, w) float32 standard normal."""
        height, width = (pixels // self.codec.downsample for pixels in self.size)
        shape = num_frames, self.model.shape.in_channels, height, width
        generator = seeded(request.seed, request.number)
        return torch.randn(1, *shape, generator=generator).to(self.codec.device)

    def conditioning(self, request: TextClipRequest) -> tuple[Tensor, Tensor]:
        """The embeddings of a clip's prompt and negative prompt, (1, l, d) float32 each.

        Both are cut to the prompt's length, as in the published pipeline.
        """
        prompt, negative = self.texts[request.prompt], self.texts[request.negative]
        device = self.codec.device
        return (
            prompt.tokens[None, : prompt.length].to(device, torch.float32),
            negative.tokens[None, : prompt.length].to(device, torch.float32),
        )

    @torch.no_grad()
    def clip(
        self,
        request: TextClipRequest,
        num_frames: int,
        on_step: Callable[[int], None] = lambda clips: None,
        first_frames: Tensor | None = None,
    ) -> NDArray[np.uint8]:
        """Sample a clip.

        Args:
            request: the clip.
            num_frames: of the clip.
            on_step: called after each denoising step with the number of clips in it, 1.
            first_frames: latents that it begins with, (1, k, c, h, w).

        Returns:
            (f, h, w, 3) uint8 RGB.
        """
        noise = self.noise(request, num_frames)
        loop = self._sampling_loop(request, on_step)
        latents = loop.clip(noise, first_frames)
        decoded = self.codec.decode(latents / self.codec.scaling_factor, loop.names)
        pixels = to_pixels(decoded)[0]
        return np.asarray(pixels.cpu())

    @torch.no_grad()
    def long_clip(
        self,
        request: TextClipRequest,
        plan: LongClipPlan,
        on_step: Callable[[int], None] = lambda clips: None,
        first_frames: Tensor | None = None,
    ) -> Iterator[NDArray[np.uint8]]:
        """Sample a long clip, its frames as they are done: (h, w, 3) uint8 RGB each.

        Args:
            request: the clip.
            plan: how it is composed.
            on_step: as for `clip`.
            first_frames: as for `clip`.

        Raises:
            ConfigError: if the sampler cannot be used with FIFO.
        """
        first = [self.noise(request, plan.window)]  # the noise of the clip of one window
        generator = seeded(request.seed, request.number, 2)

        def noise_source(frames: int) -> Tensor:
            if first:
                return first.pop()
            size = (1, frames, *noise_shape)
            return torch.randn(size, generator=generator).to(self.codec.device)

        noise_shape = first[0].shape[2:]
        loop = self._sampling_loop(request, on_step)
        latents = loop.long(plan, noise_source, first_frames)
        yield from decode_pieces(self.codec, latents, loop.names[0])

    def _sampling_loop(
        self, request: TextClipRequest, on_step: Callable[[int], None]
    ) -> SamplingLoop:
        prompt, negative = self.conditioning(request)
        # As the published pipeline: a scale below 1 does not guide either, and the covariance is
        # guided if the scheduler reads it.
        scale = max(1.0, request.guidance)
        channels = 2 * self.model.shape.in_channels if self.sampler.learns_covariance else None
        model = guided(self.model, {"text": prompt}, {"text": negative}, scale, channels=channels)
        generator = seeded(request.seed, request.number, 1)  # not the one of the initial noise
        name = f"clip {request.number} of seed {request.seed}, `{request.prompt[:_MAX_SHOWN]}`"
        after_step = partial(on_step, 1)
        return SamplingLoop(model, self.sampler, [generator], after_step, self.dtype, [name])


def configured_generator(
    config: Config,
    model: LatteT2V,
    codec: LatentCodec,
    texts: Mapping[str, EncodedText],
    dtype: torch.dtype = torch.float32,
) -> TextGenerator:
    """A generator that samples as a configuration says.

    Args:
        config: `sample` and `diffusion` are read, and the size of the frames.
        model: as for `TextGenerator`.
        codec: as for `TextGenerator`.
        texts: as for `TextGenerator`.
        dtype: as for `TextGenerator`.
    """
    sample, size = config.sample, config.data.size
    diffusion = Diffusion(**config.diffusion.model_dump())
    sampler = build_sampler(sample.sampler, diffusion, sample.steps, sample.eta)
    return TextGenerator(model, codec, sampler, texts, (size, size), dtype)


def load_generator(
    options: T2VOptions, requests: Sequence[TextClipRequest], console: Console
) -> TextGenerator:
    """Encode the texts of the requests, free the text encoder, then load the network.

    Args:
        options: which pipeline, and how it samples.
        requests: the clips to generate.
        console: for warnings on texts that are too long.

    Raises:
        CheckpointError: if a part of the pipeline is missing, broken or does not fit the others.
        ConfigError: if an option does not go with the pipeline.
    """
    device = pick_device()
    dtype = resolve_precision(options.precision, device)
    files = pipeline_files(options.model)
    texts = _encode_texts(options, files, requests, device, dtype, console)
    console.info(f"reading the network of {options.model}")
    sampler = load_sampler(files.scheduler_config(), options.sampler, options.steps, options.eta)
    codec = LatentCodec.load(str(files.part(DECODERS[options.vae_decoder])), device)
    codec.frames_at_a_time = _FRAMES_DECODED
    model = load_latte_t2v(files.part("transformer"))
    for path, scale in options.lora:
        merge_adapter(model, read_adapter(path), scale)
    model = model.to(device)
    use_kernels(model, device)
    trained = model.shape.latent_size * codec.downsample
    return TextGenerator(model, codec, sampler, texts, options.size or (trained, trained), dtype)


def _encode_texts(
    options: T2VOptions,
    files: PipelineFiles | CheckpointFiles,
    requests: Sequence[TextClipRequest],
    device: torch.device,
    dtype: torch.dtype,
    console: Console,
) -> dict[str, EncodedText]:
    """Every text once. The text encoder is the largest part, and freed before the network loads."""
    device = torch.device("cpu") if options.text_device == "cpu" else device
    texts = sorted({text for each in requests for text in (each.prompt, each.negative)})
    console.info(f"reading the text encoder of {options.model}")
    encoder = TextEncoder.load(
        files.part("tokenizer"), files.part("text_encoder"), device, dtype, options.text_bits
    )
    encoded = dict(zip(texts, encoder.encode(texts, clean=options.clean), strict=True))
    for found in encoded.values():
        if found.cut:
            console.warning(f"longer than {MAX_TOKENS} tokens, left out: {found.cut}")
    unknown = dict.fromkeys(word for found in encoded.values() for word in found.unknown_words)
    if unknown:
        console.warning(_of_unknown_words(options.model, list(unknown), encoder.known_words()))
    del encoder
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return encoded


def _of_unknown_words(model: str, unknown: Sequence[str], known: Sequence[str]) -> str:
    """A warning that a pipeline does not know some words, with those that it knows if it can tell.

    Args:
        model: as for `pipeline_files`.
        unknown: the words.
        known: all words of the vocabulary, if these are few.
    """
    name = "the embedded pipeline" if model == EMBEDDED else "the text encoder"
    more = f" and {len(unknown) - _MAX_WORDS} more" if len(unknown) > _MAX_WORDS else ""
    said = f"{name} does not know: {', '.join(unknown[:_MAX_WORDS])}{more}"
    if known:
        return f"{said}; it knows: {', '.join(known)}"
    return f"{said}; to the network they are all the same"
