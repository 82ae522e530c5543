"""A picture as the first frame of a clip."""

# Axes: b clips, f frames, c latent channels, h w latent size.

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from latte_cli.runtime.errors import DataError
from latte_cli.runtime.files import sha256_of
from latte_cli.vae import LatentCodec, to_signal

_DEEP_TO_PLAIN = 257  # 65535, white of 16 bits, is 255 times as much
_DEEP_GREY = ("PNG", "PPM")  # whose mode I has 16 bits; Pillow 10 reads PNG so
_NO_WHITE = {"I": "32-bit", "F": "float"}


def first_frame_latents(path: Path, codec: LatentCodec, height: int, width: int) -> Tensor:
    """What a clip that begins with a picture begins with, for `SamplingLoop`.

    The picture is resized to cover the frame, and what juts out is cut off on both sides. What is
    transparent shows white. Grey of 16 bits becomes the nearest of 8.

    Args:
        path: of the picture.
        codec: the network's autoencoder.
        height: of a frame, pixels.
        width: of a frame, pixels.

    Returns:
        The posterior's mean, as diffusion sees it, (1, 1, c, h, w) float32 on the codec's device.

    Raises:
        DataError: if it cannot be read, or does not tell which value is white.
    """
    try:
        with Image.open(path) as picture:
            upright = _as_rgb(ImageOps.exif_transpose(picture), path, picture.format)
        frame = ImageOps.fit(upright, (width, height), Image.Resampling.LANCZOS)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _unreadable(path) from error
    pixels = torch.from_numpy(np.array(frame))[None, None]
    return codec.encode(to_signal(pixels)).mean * codec.scaling_factor


def _as_rgb(picture: Image.Image, path: Path, file_format: str | None) -> Image.Image:
    """A picture in RGB of 8 bits; Pillow's own conversion clips deeper pixels and hides alpha."""
    is_deep = picture.mode == "I" and file_format in _DEEP_GREY
    if picture.mode.startswith("I;16") or is_deep:
        grey = np.asarray(picture).astype(np.uint32)
        picture = Image.fromarray(((grey + _DEEP_TO_PLAIN // 2) // _DEEP_TO_PLAIN).astype(np.uint8))
    elif picture.mode in _NO_WHITE:
        raise DataError(
            f"{path}: its pixels are {_NO_WHITE[picture.mode]} numbers, of which none is white",
            hint="save it as an 8-bit PNG",
        )
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    colours = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB")


def picture_checksum(path: Path | None) -> str | None:
    """What tells a picture from all others, for a folder's settings; None for none.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        return None if path is None else sha256_of(path)
    except OSError as error:
        assert path is not None
        raise _unreadable(path) from error


def _unreadable(path: Path) -> DataError:
    return DataError(f"{path}: no picture that can be read", hint="--image takes PNG, JPEG or WebP")
