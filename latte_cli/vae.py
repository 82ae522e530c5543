"""Between pixels and latents: diffusers' autoencoders, one frame at a time."""

# Axes: b clips, f frames, c channels (3 of pixels, 4 of latents), h height, w width.

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from latte_cli.config import Config
from latte_cli.errors import CheckpointError, ShapeError
from latte_cli.locations import EMBEDDED, asset

_FRAMES_AT_A_TIME = 32


@dataclass(frozen=True)
class Moments:
    """The posterior of latents, unscaled: mean and standard deviation, each (b, f, c, h, w)."""

    mean: Tensor
    std: Tensor


class LatentCodec:
    """An autoencoder with the scale that makes its latents fit for diffusion.

    Attributes:
        scaling_factor: diffusion sees latents times this.
        latent_channels: channels of the latents.
        downsample: pixels per latent along a side.
        fingerprint: hash of the weights and the scale, 16 hex digits.
    """

    def __init__(self, vae: Any, device: torch.device | str = "cpu") -> None:
        self.vae = vae.to(device).eval().requires_grad_(False)
        self.device = torch.device(device)
        self.scaling_factor = float(vae.config.scaling_factor)
        self.latent_channels = int(vae.config.latent_channels)
        self.downsample = 2 ** (len(vae.config.block_out_channels) - 1)
        self.fingerprint = _fingerprint(vae)

    @classmethod
    def load(cls, path: str, device: torch.device | str = "cpu") -> "LatentCodec":
        """Load an `AutoencoderKL`.

        Args:
            path: `embedded`, a local folder in diffusers' layout, or a hub id.
            device: where it runs.

        Raises:
            CheckpointError: if there is no such folder and the hub cannot be reached, or the folder
                holds no autoencoder.
        """
        from diffusers import AutoencoderKL
        from diffusers.utils import logging

        folder = asset("autoencoder") if path == EMBEDDED else Path(path)
        logging.set_verbosity_error()
        if not folder.is_dir() and (path.startswith((".", "/", "~")) or path.count("/") != 1):
            raise CheckpointError(
                f"{path}: no such folder of an autoencoder",
                hint="vae.path is `embedded`, a folder in diffusers' layout or a hub id",
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the libraries among themselves
                vae = AutoencoderKL.from_pretrained(
                    folder if folder.is_dir() else path, torch_dtype=torch.float32
                )
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
            raise _cannot_load(path, local=folder.is_dir()) from error
        return cls(vae, device)

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Moments:
        """Encode frames into posterior parameters, without sampling.

        Args:
            frames: (b, f, 3, h, w) float in [-1, 1]; h and w multiples of `downsample`.

        Returns:
            Mean and standard deviation, each (b, f, c, h / downsample, w / downsample) float32 on
            the codec's device, unscaled.

        Raises:
            ShapeError: if h or w is not a multiple of `downsample`.
        """
        b, _, _, height, width = frames.shape
        if height % self.downsample or width % self.downsample:
            raise ShapeError(
                f"frames of {width}x{height} pixels, the autoencoder takes multiples of "
                f"{self.downsample}",
                hint="choose another data.size",
            )
        means, stds = [], []
        for part in rearrange(frames, "b f c h w -> (b f) c h w").split(_FRAMES_AT_A_TIME):
            posterior = self.vae.encode(part.to(self.device, torch.float32)).latent_dist
            means.append(posterior.mean)
            stds.append(posterior.std)
        mean, std = (
            rearrange(torch.cat(p), "(b f) c h w -> b f c h w", b=b) for p in (means, stds)
        )
        return Moments(mean, std)

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Decode unscaled latents, a few frames at a time.

        Args:
            latents: (b, f, c, h, w) float, as a posterior's mean or a sample of it.

        Returns:
            Frames, (b, f, 3, h * downsample, w * downsample) float32 in [-1, 1].
        """
        b = latents.shape[0]
        frames = [
            self.vae.decode(part.to(self.device, torch.float32)).sample.clamp(-1, 1)
            for part in rearrange(latents, "b f c h w -> (b f) c h w").split(_FRAMES_AT_A_TIME)
        ]
        return rearrange(torch.cat(frames), "(b f) c h w -> b f c h w", b=b)


def load_codec(config: Config, device: torch.device | str = "cpu") -> LatentCodec:
    """The configured autoencoder.

    Raises:
        CheckpointError: if it cannot be loaded, or its latents are not as configured.
    """
    codec = LatentCodec.load(config.vae.path, device)
    stated = (config.vae.latent_channels, config.vae.downsample)
    if stated != (codec.latent_channels, codec.downsample):
        raise CheckpointError(
            f"{config.vae.path} has {codec.latent_channels} latent channels, {codec.downsample} "
            f"times down; the configuration says {stated[0]} and {stated[1]}",
            hint=f"-o vae.latent_channels={codec.latent_channels} "
            f"-o vae.downsample={codec.downsample}",
        )
    return codec


def to_signal(frames: Tensor) -> Tensor:
    """(…, h, w, 3) uint8 to (…, 3, h, w) float32 in [-1, 1]."""
    return rearrange(frames.float() / 127.5 - 1, "... h w c -> ... c h w")


def to_pixels(signal: Tensor) -> Tensor:
    """(…, 3, h, w) float in [-1, 1] to (…, h, w, 3) uint8, rounded."""
    pixels = ((signal + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return rearrange(pixels, "... c h w -> ... h w c").contiguous()


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio of two uint8 tensors of one shape, in dB; infinite if equal."""
    error = (a.double() - b.double()).square().mean()
    return float(10 * torch.log10(255**2 / error))


def _fingerprint(vae: Any) -> str:
    digest = hashlib.sha256(str(vae.config.scaling_factor).encode())
    for name, value in sorted(vae.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.float().contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _cannot_load(path: str, *, local: bool) -> CheckpointError:
    if local:
        return CheckpointError(
            f"{path}: this folder holds no AutoencoderKL",
            hint="it needs config.json and diffusion_pytorch_model.safetensors",
        )
    return CheckpointError(
        f"{path}: not found on this machine, and the hub cannot be reached",
        hint=f"put config.json and diffusion_pytorch_model.safetensors of huggingface.co/{path} "
        "into a folder for -o vae.path=FOLDER; vae.path=embedded is the small built-in one",
    )
