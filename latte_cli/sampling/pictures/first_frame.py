"""A picture as the first frame of a clip."""

# Axes: b clips, f frames, c latent channels, h w latent size.

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

from latte_cli.runtime.errors import DataError
from latte_cli.runtime.files import sha256_of
from latte_cli.video_io.frame_folders import on_white

# torch is imported where it is needed: a picture is checked before that.
if TYPE_CHECKING:
    from torch import Tensor

    from latte_cli.vae import LatentCodec

_GRAY16_TO_8 = 257  # 65535 / 255
_GRAY16_FORMATS = ("PNG", "PPM")  # whose mode I has 16 bits; Pillow 10 reads PNG so
_UNSCALED_MODES = {"I": "32-bit", "F": "float"}


def first_frame_latents(path: Path, codec: "LatentCodec", height: int, width: int) -> "Tensor":
    """A picture as the first frame for `SamplingLoop`.

    It is resized and center-cropped to the frame. Transparent pixels become white, gray of 16 bits
    becomes 8 bits.

    Args:
        path: of the picture.
        codec: the network's autoencoder.
        height: of a frame, pixels.
        width: of a frame, pixels.

    Returns:
        The posterior's mean, scaled for diffusion, (1, 1, c, h, w) float32 on the codec's device.

    Raises:
        DataError: if it cannot be read, or its pixel values have no defined white.
    """
    import torch

    from latte_cli.vae import to_signal

    frame = ImageOps.fit(read_picture(path), (width, height), Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(frame))[None, None]
    return codec.encode(to_signal(pixels)).mean * codec.scaling_factor


def read_picture(path: Path) -> Image.Image:
    """A picture as 8-bit RGB, upright.

    Raises:
        DataError: as `first_frame_latents`.
    """
    try:
        with Image.open(path) as picture:
            return _to_rgb(ImageOps.exif_transpose(picture), path, picture.format)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _unreadable(path) from error


def _to_rgb(picture: Image.Image, path: Path, file_format: str | None) -> Image.Image:
    """8-bit RGB; Pillow's own conversion clips 16-bit pixels and drops alpha."""
    if picture.mode.startswith("I;16") or (picture.mode == "I" and file_format in _GRAY16_FORMATS):
        gray = np.asarray(picture).astype(np.uint32)
        picture = Image.fromarray(((gray + _GRAY16_TO_8 // 2) // _GRAY16_TO_8).astype(np.uint8))
    elif picture.mode in _UNSCALED_MODES:
        raise DataError(
            f"{path}: its pixels are {_UNSCALED_MODES[picture.mode]} numbers without a white",
            hint="save it as an 8-bit PNG",
        )
    return on_white(picture)


def picture_checksum(path: Path) -> str:
    """SHA-256 of a picture's file, for a folder's settings.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        return sha256_of(path)
    except OSError as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> DataError:
    return DataError(f"{path}: cannot be read as a picture", hint="--image takes PNG, JPEG or WebP")
