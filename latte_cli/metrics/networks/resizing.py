"""The resizes of feature networks: none smooths what it makes smaller, and each has its grid."""

# Axes: n frames, c channels, h height, w width.

import torch
import torch.nn.functional as F
from torch import Tensor


def bilinear(pixels: Tensor, size: int) -> Tensor:
    """Between the centres of pixels, as PyTorch does: before I3D.

    Args:
        pixels: (n, c, h, w) float.
        size: side of the result.

    Returns:
        (n, c, size, size), in the memory format of the input.
    """
    if pixels.shape[-2:] == (size, size):
        return pixels
    return F.interpolate(pixels, (size, size), mode="bilinear", align_corners=False)


def bilinear_between_corners(pixels: Tensor, size: int) -> Tensor:
    """First and last pixels stay first and last, as in Chainer: before C3D.

    Args:
        pixels: (n, c, h, w) float.
        size: side of the result.

    Returns:
        (n, c, size, size).
    """
    return F.interpolate(pixels, (size, size), mode="bilinear", align_corners=True)


def bilinear_from_first(pixels: Tensor, size: int) -> Tensor:
    """The first pixels stay first, the last need not, as in TensorFlow 1: before Inception.

    Pixel i of the result lies at i * old / new of the input, counted from corners, not centres.

    Args:
        pixels: (n, c, h, w) float.
        size: side of the result.

    Returns:
        (n, c, size, size).
    """
    return _along(_along(pixels, 3, size), 2, size)


def _along(pixels: Tensor, axis: int, size: int) -> Tensor:
    """Resize one axis."""
    length = pixels.shape[axis]
    # TensorFlow counts places in float32, which decides the weights' last digits.
    places = torch.arange(size, dtype=torch.float32, device=pixels.device) * (length / size)
    before = places.long()
    after = (before + 1).clamp(max=length - 1)
    shape = [size if number == axis else 1 for number in range(pixels.ndim)]
    share = (places - before).to(pixels.dtype).reshape(shape)
    first = pixels.index_select(axis, before)
    return first + (pixels.index_select(axis, after) - first) * share
