"""A picture as the first frame of a clip."""

# Axes: b clips, f frames, c latent channels, h w latent size.

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from latte_cli.errors import DataError
from latte_cli.files import sha256_of
from latte_cli.vae import LatentCodec, to_signal


def first_frame_latents(path: Path, codec: LatentCodec, height: int, width: int) -> Tensor:
    """What a clip that begins with a picture begins with, for `Walker`.

    The picture is resized to cover the frame, and what juts out is cut off on both sides.

    Args:
        path: of the picture.
        codec: the network's autoencoder.
        height: of a frame, pixels.
        width: of a frame, pixels.

    Returns:
        The posterior's mean, as diffusion sees it, (1, 1, c, h, w) float32 on the codec's device.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        with Image.open(path) as picture:
            upright = ImageOps.exif_transpose(picture).convert("RGB")
        frame = ImageOps.fit(upright, (width, height), Image.Resampling.LANCZOS)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _unreadable(path) from error
    pixels = torch.from_numpy(np.array(frame))[None, None]
    return codec.encode(to_signal(pixels)).mean * codec.scaling_factor


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
