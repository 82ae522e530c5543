"""From encoded text to frames: what drawing from text needs beside the text encoder."""

# Axes: b clips, f frames, c latent channels, h w latent size, l tokens of text, d their width.

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latte_cli.diffusion import (
    Diffusion,
    Sampler,
    build_sampler,
    guided,
    published_sampler,
)
from latte_cli.models import LatteT2V
from latte_cli.runtime.errors import CheckpointError, ConfigError
from latte_cli.runtime.randomness import seeded
from latte_cli.sampling.long_video import LongClip, SamplingLoop
from latte_cli.text.encoder import EncodedText
from latte_cli.vae import LatentCodec, decode_pieces, to_pixels

OBJECTIVES: dict[str, Literal["eps", "v"]] = {"epsilon": "eps", "v_prediction": "v"}
"""What networks predict, by diffusers' names."""

_ITS_OWN = "leave --sampler out to use the scheduler that it was published with"


@dataclass(frozen=True)
class TextClip:
    """A clip to draw; it depends on these values alone.

    Attributes:
        text: what it is to show.
        negative: what guidance leads away from.
        seed: of its noise.
        number: of the clips of one text and seed, from 0.
        guidance: scale; 1 is off.
    """

    text: EncodedText
    negative: EncodedText
    seed: int
    number: int = 0
    guidance: float = 7.5


@dataclass(frozen=True)
class TextGenerator:
    """A text-to-video network with all that turns its output into pixels.

    Attributes:
        model: in evaluation mode, on the codec's device.
        codec: the autoencoder whose latents it learned.
        sampler: how its noise is taken off.
        dtype: of the products: float32, or bfloat16 by autocast.
    """

    model: LatteT2V
    codec: LatentCodec
    sampler: Sampler
    dtype: torch.dtype = torch.float32

    def noise(self, clip: TextClip, frames: int, height: int, width: int) -> Tensor:
        """What a clip begins as: (1, f, c, h, w) float32 standard normal, of its seed alone.

        Args:
            clip: whose noise it is.
            frames: of the clip.
            height: of a frame, pixels.
            width: of a frame, pixels.

        Raises:
            ConfigError: if the network and the autoencoder cannot make frames of that size.
        """
        self.check_size(height, width)
        side = self.codec.downsample
        size = frames, self.model.shape.in_channels, height // side, width // side
        generator = seeded(clip.seed, clip.number)
        return torch.randn(1, *size, generator=generator).to(self.codec.device)

    def check_size(self, height: int, width: int) -> None:
        """Refuse frames that the network and the autoencoder cannot make.

        Raises:
            ConfigError: with the nearest size that they can.
        """
        multiple = self.codec.downsample * self.model.shape.patch
        if height % multiple or width % multiple:
            raise ConfigError(
                f"frames of {height}x{width} pixels: this model makes multiples of {multiple}",
                hint=f"--size {_nearest(height, multiple)}x{_nearest(width, multiple)}",
            )

    @torch.no_grad()
    def draw(
        self,
        clip: TextClip,
        noise: Tensor,
        on_step: Callable[[], None] = lambda: None,
        known: Tensor | None = None,
    ) -> NDArray[np.uint8]:
        """A clip's frames.

        Args:
            clip: what to draw.
            noise: from `noise`.
            on_step: called after each denoising step.
            known: latents that it begins with, (1, k, c, h, w).

        Returns:
            (f, h, w, 3) uint8 RGB.
        """
        latents = self._sampling_loop(clip, on_step).clip(noise, known)
        pixels = to_pixels(self.codec.decode(latents / self.codec.scaling_factor))[0]
        return np.asarray(pixels.cpu())

    @torch.no_grad()
    def draw_long(
        self,
        clip: TextClip,
        noise: Tensor,
        plan: LongClip,
        on_step: Callable[[], None] = lambda: None,
        known: Tensor | None = None,
    ) -> Iterator[NDArray[np.uint8]]:
        """A long clip's frames as they are done, (h, w, 3) uint8 RGB each.

        Args:
            clip: what to draw.
            noise: of the first window, from `noise`.
            plan: how it is put together.
            on_step: as for `draw`.
            known: as for `draw`.

        Raises:
            ConfigError: if the sampler cannot do it so.
        """
        further = seeded(clip.seed, clip.number, 2)
        first = [noise]

        def noise_of(frames: int) -> Tensor:
            if first:
                return first.pop()
            size = (1, frames, *noise.shape[2:])
            return torch.randn(size, generator=further).to(noise.device)

        latents = self._sampling_loop(clip, on_step).long(plan, noise_of, known)
        yield from decode_pieces(self.codec, latents)

    def _sampling_loop(self, clip: TextClip, on_step: Callable[[], None]) -> SamplingLoop:
        device = self.codec.device
        # Text and negative text are cut to the text's length, as the published pipeline does.
        text, negative = (
            told.tokens[None, : clip.text.length].to(device, torch.float32)
            for told in (clip.text, clip.negative)
        )
        model = guided(self.model, {"text": text}, {"text": negative}, clip.guidance)
        generator = seeded(clip.seed, clip.number, 1)  # apart from the one that drew the noise
        return SamplingLoop(model, self.sampler, [generator], on_step, self.dtype)


def load_sampler(folder: Path, name: str | None, steps: int, eta: float = 0.0) -> Sampler:
    """How a pipeline takes noise off: by the scheduler that it was published with, or another.

    Args:
        folder: the pipeline's folder `scheduler`.
        name: a sampler of ours over the pipeline's noise schedule; None: the published scheduler.
        steps: denoising steps.
        eta: noise that `ddim` adds at each step.

    Raises:
        CheckpointError: if the folder holds no scheduler that is known.
        ConfigError: if there is no such sampler, or not so many steps.
    """
    config = read_scheduler(folder)
    if name is None:
        return published_sampler(config, steps, eta)
    if (other := _other_schedule(config)) is not None:
        raise ConfigError(
            f"{folder}: its noise schedule {other}, samplers by name are for a linear one",
            hint=_ITS_OWN,
        )
    predicted = config.get("prediction_type", "epsilon")
    if predicted not in OBJECTIVES:
        raise ConfigError(
            f"{folder}: its network predicts {predicted}, samplers by name are for one of "
            f"{' and '.join(OBJECTIVES)}",
            hint=_ITS_OWN,
        )
    diffusion = Diffusion(
        # Where the file leaves one out, it is as in diffusers' classes.
        num_timesteps=int(config.get("num_train_timesteps", 1000)),
        beta_start=float(config.get("beta_start", 1e-4)),
        beta_end=float(config.get("beta_end", 0.02)),
        objective=OBJECTIVES[predicted],
    )
    return build_sampler(name, diffusion, steps, eta)


def read_scheduler(folder: Path) -> dict[str, Any]:
    """The configuration of a pipeline's scheduler, as diffusers wrote it.

    Raises:
        CheckpointError: if the folder holds none.
    """
    path = folder / "scheduler_config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return dict(config)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{folder}: holds no scheduler", hint="it needs scheduler_config.json"
        ) from error


def _other_schedule(config: Mapping[str, Any]) -> str | None:
    """In words, that a scheduler's noise schedule is not a plain linear one; None where it is."""
    if config.get("trained_betas") is not None:
        return "has betas of its own"
    if (name := config.get("beta_schedule", "linear")) != "linear":
        return f"is {name}"
    if config.get("rescale_betas_zero_snr"):
        return "is rescaled to end in pure noise"
    return None


def _nearest(pixels: int, multiple: int) -> int:
    return max(multiple, round(pixels / multiple) * multiple)
