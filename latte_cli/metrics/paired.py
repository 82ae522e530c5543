"""PSNR and SSIM of frames against reference frames."""

# Axes: n frames, h height, w width, 3 color channels.

import torch
import torch.nn.functional as F
from torch import Tensor

from latte_cli.runtime.errors import ShapeError

_PEAK = 255.0
_TAPS, _SIGMA = 11, 1.5  # of the Gaussian window
_C1, _C2 = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each frame, over all its pixels and channels.

    Args:
        a: (..., h, w, 3) uint8.
        b: the same shape.

    Returns:
        (...) float64, dB; infinite where frames are equal.

    Raises:
        ShapeError: if shapes differ or there are not three channels.
    """
    _check(a, b)
    error = (a.double() - b.double()).square().mean(dim=(-3, -2, -1))
    return 10 * torch.log10(_PEAK**2 / error)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of each frame (Wang et al. 2004).

    With their Gaussian window of 11 x 11 pixels and standard deviation 1.5, at all positions inside
    the frame; K1 = 0.01, K2 = 0.03; R, G and B separately, then averaged.

    Args:
        a: (..., h, w, 3) uint8, h and w at least 11.
        b: the same shape.

    Returns:
        (...) float64, at most 1.

    Raises:
        ShapeError: if shapes differ, there are not three channels, or frames are too small.
    """
    _check(a, b)
    height, width = a.shape[-3:-1]
    if min(height, width) < _TAPS:
        raise ShapeError(
            f"frames of {width} x {height} pixels, SSIM takes at least {_TAPS} x {_TAPS}",
            hint="leave SSIM out, or compare larger frames",
        )
    frames = zip(a.flatten(0, -4), b.flatten(0, -4), strict=True) if a.ndim > 3 else [(a, b)]
    return torch.stack([_frame_ssim(*pair) for pair in frames]).reshape(a.shape[:-3])


def _frame_ssim(a: Tensor, b: Tensor) -> Tensor:
    """SSIM of two frames, (h, w, 3)."""
    x, y = (frame.double().movedim(-1, 0)[:, None] for frame in (a, b))  # (3, 1, h, w)
    mean_x, mean_y, square_x, square_y, product = _blur(
        torch.cat([x, y, x * x, y * y, x * y])
    ).chunk(5)
    variance_x, variance_y = square_x - mean_x**2, square_y - mean_y**2
    covariance = product - mean_x * mean_y
    similarity = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    return (similarity / ((mean_x**2 + mean_y**2 + _C1) * (variance_x + variance_y + _C2))).mean()


def _blur(planes: Tensor) -> Tensor:
    """Weighted means over the window, first along rows, then along columns."""
    offsets = torch.arange(_TAPS, dtype=planes.dtype, device=planes.device) - _TAPS // 2
    window = torch.exp(-(offsets**2) / (2 * _SIGMA**2))
    window = (window / window.sum()).reshape(1, 1, 1, _TAPS)
    return F.conv2d(F.conv2d(planes, window), window.mT)


def _check(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape or a.ndim < 3 or a.shape[-1] != 3 or 0 in a.shape:
        raise ShapeError(
            f"frames of shapes {tuple(a.shape)} and {tuple(b.shape)}: both must be the same "
            "(..., h, w, 3)"
        )
