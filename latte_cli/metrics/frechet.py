"""The Fréchet distance between two sets of features, in float64.

FD = |mu_a - mu_b|^2 + tr S_a + tr S_b - 2 tr (S_a S_b)^(1/2)   (Heusel et al. 2017, equation 6)

With A and B any matrices for which A^T A = S_a and B^T B = S_b, the last trace is the sum of the
singular values of A B^T. Centered features over sqrt(n - ddof) are such a matrix. This never takes
the square root of a product that rounding has made indefinite, so it is correct for n < d, too.
"""

# Axes: n features, d width, r rank of a covariance's root.

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latte_cli.runtime.errors import DataError, ShapeError

Matrix = NDArray[np.float64]

_LARGE = 1024  # rows and columns; from this size on, singular values take seconds
_LOSS = 1e-8  # relative to the sum of the traces, the largest error of the faster method


def frechet_distance(features_a: ArrayLike, features_b: ArrayLike, ddof: int = 0) -> float:
    """Fréchet distance between the Gaussians that fit two sets of features.

    Args:
        features_a: (n_a, d), any floating type; computed in float64.
        features_b: (n_b, d).
        ddof: covariances are divided by n - ddof: 0 in StyleGAN-V's and Latte's protocols, 1 in
            TensorFlow's, clean-fid's and torchmetrics'.

    Returns:
        The distance, at least 0.

    Raises:
        ShapeError: if a set is not a matrix, is too small for `ddof`, or widths differ.
        DataError: if a feature is not finite.
    """
    a, b = as_matrix(features_a), as_matrix(features_b)
    check_pair(a, b, ddof + 1)
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    root_a, root_b = (_root(rows, ddof) for rows in (a - mean_a, b - mean_b))
    spread = float(np.square(root_a).sum() + np.square(root_b).sum())
    rank = min(len(a) - 1, len(b) - 1, a.shape[1])
    shared = _sum_of_singular_values(root_a @ root_b.T, rank, _LOSS * spread)
    return _total(mean_a - mean_b, spread, shared)


@dataclass
class Moments:
    """Running mean and covariance of features; memory is (d, d), whatever n is.

    Parts are merged by Chan's rule, which stays accurate if the mean is large.

    Attributes:
        count: number of features.
        mean: (d,) float64.
        scatter: (d, d) float64, the sum over features of (x - mean)(x - mean)^T.
    """

    count: int
    mean: Matrix
    scatter: Matrix

    @classmethod
    def of(cls, features: ArrayLike) -> "Moments":
        """The moments of some features, (n, d)."""
        rows = as_matrix(features)
        mean = rows.mean(axis=0)
        centered = rows - mean
        return cls(len(rows), mean, centered.T @ centered)

    def update(self, features: ArrayLike) -> None:
        """Add features, (n, d)."""
        self.merge(Moments.of(features))

    def merge(self, other: "Moments") -> None:
        """Add the features of other moments."""
        count = self.count + other.count
        shift = other.mean - self.mean
        self.scatter += other.scatter
        self.scatter += np.outer(shift, shift * (self.count * other.count / count))
        self.mean = self.mean + shift * (other.count / count)
        self.count = count

    def covariance(self, ddof: int = 0) -> Matrix:
        """The covariance, (d, d): the scatter divided by count - ddof."""
        return self.scatter / (self.count - ddof)


def frechet_from_moments(a: Moments, b: Moments, ddof: int = 0) -> float:
    """`frechet_distance` from moments.

    With fewer features than their width it is accurate to 1e-6 only: variances that should be 0 are
    known up to rounding, and their square roots up to the square root of rounding.

    Raises:
        ShapeError: if there are too few features for `ddof`, or widths differ.
    """
    if len(a.mean) != len(b.mean) or min(a.count, b.count) <= ddof:
        raise ShapeError(
            f"moments of {a.count} features of width {len(a.mean)} and of {b.count} of width "
            f"{len(b.mean)}: widths must agree, and there must be more than {ddof}",
            hint="both must come from the same network, and from more clips",
        )
    covariance_a, covariance_b = a.covariance(ddof), b.covariance(ddof)
    root = _root_of_covariance(covariance_a, full_rank=a.count > len(a.mean))
    squares = np.linalg.eigvalsh(root @ covariance_b @ root.T)
    shared = np.sqrt(np.clip(squares, 0, None)).sum()
    spread = np.trace(covariance_a) + np.trace(covariance_b)
    return _total(a.mean - b.mean, spread, shared)


def as_matrix(features: ArrayLike) -> Matrix:
    """Features as (n, d) float64, from an array or a tensor on any device.

    Raises:
        ShapeError: if they are not (n, d) with n and d at least 1.
        DataError: if one is not finite; the first such row is named.
    """
    given: Any = features
    rows = np.asarray(given.cpu() if hasattr(given, "cpu") else given, dtype=np.float64)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ShapeError(
            f"features of shape {rows.shape}, they must be (n, d)",
            hint="give one row for each clip",
        )
    broken = ~np.isfinite(rows).all(axis=1)
    if broken.any():
        raise DataError(
            f"{broken.sum()} of {len(rows)} rows of features are not finite, the first is row "
            f"{broken.argmax()}",
            hint="leave out the clip of that row, and check the weights",
        )
    return rows


def check_pair(a: Matrix, b: Matrix, least: int) -> None:
    """Check that two sets of features have the same width and at least this many rows.

    Raises:
        ShapeError: if not.
    """
    if a.shape[1] != b.shape[1]:
        raise ShapeError(
            f"features of widths {a.shape[1]} and {b.shape[1]} cannot be compared",
            hint="both sets must come from the same network",
        )
    if min(len(a), len(b)) < least:
        raise ShapeError(
            f"sets of {len(a)} and {len(b)} features, there must be at least {least}",
            hint="give the features of more clips",
        )


def _root(centered: Matrix, ddof: int) -> Matrix:
    """(r, d) R with R^T R the covariance; r is the smaller of n and d."""
    root: Matrix = centered / math.sqrt(len(centered) - ddof)
    return np.asarray(np.linalg.qr(root, mode="r")) if len(root) > root.shape[1] else root


def _sum_of_singular_values(matrix: Matrix, rank: int, loss: float) -> float:
    """The sum of the `rank` largest singular values, up to an error of `loss`.

    Eigenvalues of the square are computed three times as fast, with the absolute rounding error of
    the largest. The relative error of their roots grows as they get smaller, so the roots are used
    only if the error of their sum is bounded by `loss`.
    """
    if min(matrix.shape) >= _LARGE:
        wide = matrix if len(matrix) <= matrix.shape[1] else matrix.T
        squares = np.clip(np.linalg.eigvalsh(wide @ wide.T)[-rank:], 0, None)
        error = 4 * np.finfo(np.float64).eps * squares[-1]
        if error * (1 / np.sqrt(np.maximum(squares, error))).sum() <= loss:
            return float(np.sqrt(squares).sum())
    return float(np.linalg.svd(matrix, compute_uv=False).sum())


def _root_of_covariance(covariance: Matrix, *, full_rank: bool) -> Matrix:
    """(r, d) R with R^T R the covariance; directions of zero variance are left out."""
    if full_rank:
        try:
            return np.asarray(np.linalg.cholesky(covariance).T)
        except np.linalg.LinAlgError:  # linearly dependent features
            pass
    spread, directions = np.linalg.eigh(covariance)
    kept = spread > spread[-1] * len(spread) * np.finfo(np.float64).eps
    root: Matrix = np.sqrt(spread[kept])[:, None] * directions[:, kept].T
    return root


def _total(shift: Matrix, spread: float, shared: float) -> float:
    """The sum of the four terms; a negative result of rounding becomes 0."""
    return max(float(np.square(shift).sum() + spread - 2 * shared), 0.0)
