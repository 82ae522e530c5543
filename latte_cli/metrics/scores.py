"""KVD, KID and Inception Score of features and probabilities; PSNR and SSIM of frames."""

# Axes: n features or clips, d width, k classes; h height, w width of a frame, 3 color channels.

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from latte_cli.metrics.frechet import Matrix, as_matrix, check_pair
from latte_cli.runtime.errors import DataError, ShapeError

_BLOCK = 1024  # rows of the kernel matrix computed at once
_PEAK = 255.0
_TAPS, _SIGMA = 11, 1.5  # of the Gaussian window
_C1, _C2 = (0.01 * _PEAK) ** 2, (0.03 * _PEAK) ** 2


@dataclass(frozen=True)
class Spread:
    """The mean of some values, and their population standard deviation."""

    mean: float
    std: float

    @classmethod
    def of(cls, values: ArrayLike) -> "Spread":
        """Of some values."""
        numbers = np.asarray(values, dtype=np.float64)
        return cls(float(numbers.mean()), float(numbers.std()))


def polynomial_mmd(features_a: ArrayLike, features_b: ArrayLike) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x . y / d + 1)^3.

    On I3D logits this is KVD (Unterthiner et al. 2018), on Inception's pooled features KID
    (Binkowski et al. 2018, section 4). It may be negative. Published values are often
    multiplied by 1000.

    Args:
        features_a: (n_a, d), at least two rows.
        features_b: (n_b, d), at least two rows.

    Raises:
        ShapeError: if there are fewer rows, or widths differ.
        DataError: if a feature is not finite.
    """
    a, b = as_matrix(features_a), as_matrix(features_b)
    check_pair(a, b, 2)
    return _mmd(a, b)


def polynomial_mmd_subsets(
    features_a: ArrayLike,
    features_b: ArrayLike,
    subsets: int = 100,
    size: int = 1000,
    seed: int = 0,
) -> Spread:
    """`polynomial_mmd` over random subsets, as KID is usually reported.

    Args:
        features_a: (n_a, d).
        features_b: (n_b, d).
        subsets: number of subsets.
        size: features of a subset, sampled without replacement; fewer if a set has fewer.
        seed: of the subsets, first of a, then of b (torch-fidelity's order; its seed is 2020).

    Raises:
        ShapeError: if there are fewer than two rows, or widths differ.
        DataError: if a feature is not finite.
    """
    a, b = as_matrix(features_a), as_matrix(features_b)
    check_pair(a, b, 2)
    size = min(size, len(a), len(b))
    random = np.random.RandomState(seed)  # its random numbers are frozen, default_rng's are not
    indices = (
        (random.choice(len(a), size, replace=False), random.choice(len(b), size, replace=False))
        for _ in range(subsets)
    )
    return Spread.of([_mmd(a[rows_a], b[rows_b]) for rows_a, rows_b in indices])


def inception_score(
    probabilities: ArrayLike,
    splits: int = 10,
    shuffle_seed: int | None = 42,
    epsilon: float = 0.0,
) -> Spread:
    """Inception Score: exp of the mean divergence of class probabilities from their mean.

    The defaults are those of StyleGAN-V's `isv2048_ucf`. Fewer clips per split score lower: 2048
    clips score a seventh lower in 10 splits than in one, so splits are part of the protocol.

    Args:
        probabilities: (n, k), rows that sum to 1 (Salimans et al. 2016).
        splits: number of parts of nearly equal size, whose scores are averaged.
        shuffle_seed: seed of a shuffle before splitting; None does not shuffle.
        epsilon: added inside both logarithms, as in TGAN (1e-7; TGANv2 1e-20). With 0 the
            divergence is exact, with 0 log 0 = 0.

    Raises:
        ShapeError: if there are fewer rows than splits.
        DataError: if rows are not probabilities.
    """
    rows = as_matrix(probabilities)
    if not 1 <= splits <= len(rows):
        raise ShapeError(
            f"{len(rows)} clips cannot be split into {splits}",
            hint="give more clips, or fewer splits",
        )
    if (rows < 0).any() or np.abs(rows.sum(axis=1) - 1).max() > 1e-3:
        raise DataError(
            "rows of class probabilities must be positive and sum to 1",
            hint="give probabilities, after a softmax, rather than logits",
        )
    order = np.arange(len(rows))
    if shuffle_seed is not None:
        np.random.RandomState(shuffle_seed).shuffle(order)
    edges = [len(rows) * number // splits for number in range(splits + 1)]
    parts = [rows[order[start:stop]] for start, stop in pairwise(edges)]
    return Spread.of([np.exp(_divergence(part, epsilon)) for part in parts])


def _mmd(a: Matrix, b: Matrix) -> float:
    within = [(_kernel_sum(x, x) - _kernel_diagonal(x)) / (len(x) * (len(x) - 1)) for x in (a, b)]
    return float(within[0] + within[1] - 2 * _kernel_sum(a, b) / (len(a) * len(b)))


def _kernel_sum(a: Matrix, b: Matrix) -> float:
    """Sum of the kernel over all pairs, a block of rows at a time."""
    parts = (a[start : start + _BLOCK] for start in range(0, len(a), _BLOCK))
    return float(sum(_cubed(part @ b.T / a.shape[1]).sum() for part in parts))


def _kernel_diagonal(a: Matrix) -> float:
    return float(_cubed(np.square(a).sum(axis=1) / a.shape[1]).sum())


def _cubed(product: Matrix) -> Matrix:
    shifted = product + 1
    return shifted * shifted * shifted


def _divergence(rows: NDArray[np.float64], epsilon: float) -> float:
    """Mean over rows of sum p (log p - log of the mean p)."""
    mean = rows.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = rows * (np.log(rows + epsilon) - np.log(mean + epsilon))
    return float(np.where(rows > 0, terms, 0).sum(axis=1).mean())


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
    _check_frames(a, b)
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
    _check_frames(a, b)
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


def _check_frames(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape or a.ndim < 3 or a.shape[-1] != 3 or 0 in a.shape:
        raise ShapeError(
            f"frames of shapes {tuple(a.shape)} and {tuple(b.shape)}: both must be the same "
            "(..., h, w, 3)",
            hint="pair each frame with one of the same size",
        )
