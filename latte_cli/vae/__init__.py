"""Between pixels and latents: diffusers' autoencoders, one frame at a time."""

from latte_cli.vae.codec import (
    LatentCodec,
    Moments,
    decode_pieces,
    load_codec,
    psnr,
    to_pixels,
    to_signal,
)

__all__ = [
    "LatentCodec",
    "Moments",
    "decode_pieces",
    "load_codec",
    "psnr",
    "to_pixels",
    "to_signal",
]
