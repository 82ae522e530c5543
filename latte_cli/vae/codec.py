"""Between pixels and latents: diffusers' autoencoders, one frame at a time."""

# Axes: b clips, f frames, c channels (3 of pixels, 4 of latents), h height, w width.

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from latte_cli.config import Config
from latte_cli.runtime.errors import CheckpointError, ShapeError
from latte_cli.runtime.finite import check_clips_finite
from latte_cli.vae.autoencoders import load_autoencoder

_FRAMES_AT_A_TIME = 32
_FRAMES_TOGETHER = 14  # of a clip in a temporal decoder's training


@dataclass(frozen=True)
class Moments:
    """The posterior of latents, unscaled: mean and standard deviation, each (b, f, c, h, w)."""

    mean: Tensor
    std: Tensor


class LatentCodec:
    """An autoencoder with the scale of its latents for diffusion.

    Latents are centered: the `shift_factor` of the autoencoder's configuration is subtracted from
    each mean and added again before decoding, so diffusion needs only the scale.

    Args:
        vae: diffusers' AutoencoderKL, AutoencoderTiny or AutoencoderKLTemporalDecoder.
        device: where it runs.

    Attributes:
        scaling_factor: diffusion sees latents times this.
        latent_channels: channels of the latents.
        downsample: pixels per latent along a side.
        fingerprint: hash of the weights, the scale and the shift, 16 hex digits.
        frames_at_a_time: the most frames in one call of the autoencoder.
        frames_together: frames of a clip that the decoder sees at once; 1 if each is independent.
    """

    def __init__(self, vae: Any, device: torch.device | str = "cpu") -> None:
        self.vae = vae.to(device).eval().requires_grad_(False)
        self.device = torch.device(device)
        config = vae.config
        self.scaling_factor = float(config.scaling_factor)
        self.latent_channels = int(config.latent_channels)
        # Tiny autoencoders have one list for the encoder and one for the decoder.
        levels = config.get("encoder_block_out_channels") or config.block_out_channels
        self.downsample = 2 ** (len(levels) - 1)
        self.fingerprint = _fingerprint(vae)
        self.frames_at_a_time = _FRAMES_AT_A_TIME
        self._shift = _shift_of(vae)
        self._temporal = type(vae).__name__ == "AutoencoderKLTemporalDecoder"
        self.frames_together = _FRAMES_TOGETHER if self._temporal else 1

    @classmethod
    def load(cls, path: str, device: torch.device | str = "cpu") -> "LatentCodec":
        """Load an autoencoder of any of the three classes.

        Args:
            path: `embedded`, a local folder in diffusers' layout, or a hub id.
            device: where it runs.

        Raises:
            CheckpointError: if there is no such folder and the hub cannot be reached, or the folder
                holds no autoencoder.
        """
        return cls(load_autoencoder(path), device)

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Moments:
        """Encode frames into posterior parameters, without sampling.

        Args:
            frames: (b, f, 3, h, w) float in [-1, 1]; h and w multiples of `downsample`.

        Returns:
            Mean and standard deviation, each (b, f, c, h / downsample, w / downsample) float32 on
            the codec's device, centered, unscaled. The deviation is 0 if the autoencoder has none.

        Raises:
            ShapeError: if h or w is not a multiple of `downsample`.
            NumericalError: if latents are not finite.
        """
        b, _, _, height, width = frames.shape
        if height % self.downsample or width % self.downsample:
            raise ShapeError(
                f"frames of {width}x{height} pixels, but the autoencoder needs multiples of "
                f"{self.downsample}",
                hint=f"choose a data.size that is a multiple of {self.downsample}",
            )
        flat = rearrange(frames, "b f c h w -> (b f) c h w").split(self.frames_at_a_time)
        parts = [self._posterior(part.to(self.device, torch.float32)) for part in flat]
        mean, std = (
            rearrange(torch.cat(part), "(b f) c h w -> b f c h w", b=b)
            for part in zip(*parts, strict=True)
        )
        check_clips_finite(mean, "the autoencoder's latents", ())
        check_clips_finite(std, "the deviations of the autoencoder's latents", ())
        return Moments(mean - self._shift, std)

    def _posterior(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of (n, 3, h, w) frames; tiny autoencoders have deviation 0."""
        encoded = self.vae.encode(frames)
        if hasattr(encoded, "latent_dist"):
            return encoded.latent_dist.mean, encoded.latent_dist.std
        return encoded.latents, torch.zeros_like(encoded.latents)

    @torch.no_grad()
    def decode(self, latents: Tensor, names: Sequence[str] = ()) -> Tensor:
        """Decode unscaled latents, a few frames at a time.

        Args:
            latents: (b, f, c, h, w) float, centered: a posterior's mean or a sample of it.
            names: of the clips, for messages.

        Returns:
            Frames, (b, f, 3, h * downsample, w * downsample) float32 in [-1, 1].

        Raises:
            NumericalError: if frames are not finite; names the clips.
        """
        if self._temporal:  # it sees frames of one clip only
            parts = [part for clip in latents for part in clip.split(self.frames_together)]
        else:
            flat = rearrange(latents, "b f c h w -> (b f) c h w")
            parts = list(flat.split(self.frames_at_a_time))
        flat = torch.cat([self._frames(part) for part in parts])
        frames = rearrange(flat, "(b f) c h w -> b f c h w", b=len(latents))
        check_clips_finite(frames, "the frames from the autoencoder", names)
        return frames.clamp_(-1, 1)  # here, since infinite numbers would become white

    def _frames(self, latents: Tensor) -> Tensor:
        """Frames of (n, c, h, w) latents."""
        options = {"num_frames": len(latents)} if self._temporal else {}
        shifted = latents.to(self.device, torch.float32) + self._shift
        decoded: Tensor = self.vae.decode(shifted, **options).sample
        return decoded


def load_codec(config: Config, device: torch.device | str = "cpu") -> LatentCodec:
    """Load the configured autoencoder.

    Raises:
        CheckpointError: if it cannot be loaded, or its latents are not as configured.
    """
    codec = LatentCodec.load(config.vae.path, device)
    configured = (config.vae.latent_channels, config.vae.downsample)
    if configured != (codec.latent_channels, codec.downsample):
        raise CheckpointError(
            f"{config.vae.path} has {codec.latent_channels} latent channels and downsamples by "
            f"{codec.downsample}; the configuration says {configured[0]} and {configured[1]}",
            hint=f"-o vae.latent_channels={codec.latent_channels} "
            f"-o vae.downsample={codec.downsample}",
        )
    return codec


def decode_pieces(
    codec: LatentCodec, pieces: Iterable[Tensor], name: str
) -> Iterator[NDArray[np.uint8]]:
    """Decode one clip, a piece of its latents at a time.

    Small pieces are joined for a temporal decoder, which removes flicker among frames it sees at
    once.

    Args:
        codec: decodes the latents.
        pieces: scaled latents in order, (1, n, c, h, w) each.
        name: of the clip, for messages.

    Yields:
        (h, w, 3) uint8 RGB each.
    """
    for latents in _joined(pieces, codec.frames_together):
        yield from to_pixels(codec.decode(latents / codec.scaling_factor, [name]))[0].cpu().numpy()


def _joined(pieces: Iterable[Tensor], max_frames: int) -> Iterator[Tensor]:
    """Pieces, (1, n, c, h, w) each; small ones joined, up to a number of frames."""
    held: list[Tensor] = []
    for piece in pieces:
        if held and sum(each.shape[1] for each in (*held, piece)) > max_frames:
            yield torch.cat(held, dim=1)
            held = []
        held.append(piece)
        if sum(each.shape[1] for each in held) >= max_frames:
            yield torch.cat(held, dim=1)
            held = []
    if held:
        yield torch.cat(held, dim=1)


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


def _shift_of(vae: Any) -> float:
    """What is subtracted from latents to center them; 0 if the configuration has none."""
    return float(vae.config.get("shift_factor") or 0)


def _fingerprint(vae: Any) -> str:
    digest = hashlib.sha256(str(vae.config.scaling_factor).encode())
    if shift := _shift_of(vae):  # without one, fingerprints of older versions stay valid
        digest.update(f" {shift}".encode())
    for name, value in sorted(vae.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.float().contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
