"""The Fréchet distance between two sets of features, in float64.

FD = |mu_a - mu_b|^2 + tr S_a + tr S_b - 2 tr (S_a S_b)^(1/2)   (Heusel et al. 2017, equation 6)

With A and B any matrices for which A^T A = S_a and B^T B = S_b, the last trace is the sum of the
singular values of A B^T. Centred features over sqrt(n - ddof) are such a matrix. No square root is
taken of a product that rounding has made indefinite, so the value is right for n < d, too.
"""

# Axes: n features, d width, r rank of a covariance's root.

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latte_cli.runtime.errors import DataError, ShapeError

Matrix = NDArray[np.float64]

_LARGE = 1024  # from this side on, singular values take seconds
_LOSS = 1e-8  # of the traces together, the most that a quicker way may lose


def frechet_distance(features_a: ArrayLike, features_b: ArrayLike, ddof: int = 0) -> float:
    """Fréchet distance between the Gaussians that fit two sets of features.

    Args:
        features_a: (n_a, d), any floating type; counted in float64.
        features_b: (n_b, d).
        ddof: what is taken off n in the covariances: 0 in StyleGAN-V's and Latte's protocols, 1 in
            TensorFlow's, clean-fid's and torchmetrics'.

    Returns:
        The distance, at least 0.

    Raises:
        ShapeError: if a set is no matrix, too small for `ddof`, or of another width.
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
    """Mean and covariance of features that are not kept: memory is that of (d, d), whatever n is.

    Parts are joined by Chan's rule, which loses no digits where the mean is large.

    Attributes:
        count: features seen.
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
        centred = rows - mean
        return cls(len(rows), mean, centred.T @ centred)

    def update(self, features: ArrayLike) -> None:
        """Take in more features, (n, d)."""
        self.merge(Moments.of(features))

    def merge(self, other: "Moments") -> None:
        """Take in what another one has seen."""
        count = self.count + other.count
        shift = other.mean - self.mean
        self.scatter += other.scatter
        self.scatter += np.outer(shift, shift * (self.count * other.count / count))
        self.mean = self.mean + shift * (other.count / count)
        self.count = count

    def covariance(self, ddof: int = 0) -> Matrix:
        """(d, d); sums over features are divided by count - ddof."""
        return self.scatter / (self.count - ddof)


def frechet_from_moments(a: Moments, b: Moments, ddof: int = 0) -> float:
    """`frechet_distance` of features that were not kept.

    Where there are fewer features than their width it is good to 1e-6 only: a covariance knows
    directions without spread up to rounding, its root up to rounding's root.

    Raises:
        ShapeError: if one has seen too few features for `ddof`, or another width.
    """
    if len(a.mean) != len(b.mean) or min(a.count, b.count) <= ddof:
        raise ShapeError(
            f"moments of {a.count} features of width {len(a.mean)} and of {b.count} of width "
            f"{len(b.mean)}: widths must agree, and there must be more than {ddof}"
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
        raise ShapeError(f"features of shape {rows.shape}, they must be (n, d)")
    broken = ~np.isfinite(rows).all(axis=1)
    if broken.any():
        raise DataError(
            f"{broken.sum()} of {len(rows)} rows of features are not finite, the first is row "
            f"{broken.argmax()}",
            hint="look at the clip of that row, and at the weights",
        )
    return rows


def check_pair(a: Matrix, b: Matrix, least: int) -> None:
    """Two sets of features must be of one width and have this many rows.

    Raises:
        ShapeError: if not.
    """
    if a.shape[1] != b.shape[1]:
        raise ShapeError(
            f"features of widths {a.shape[1]} and {b.shape[1]} cannot be compared",
            hint="both sets must come from the same network",
        )
    if min(len(a), len(b)) < least:
        raise ShapeError(f"sets of {len(a)} and {len(b)} features, there must be at least {least}")


def _root(centred: Matrix, ddof: int) -> Matrix:
    """(r, d) whose product with itself, R^T R, is the covariance; r is the lesser of n and d."""
    root: Matrix = centred / math.sqrt(len(centred) - ddof)
    return np.asarray(np.linalg.qr(root, mode="r")) if len(root) > root.shape[1] else root


def _sum_of_singular_values(matrix: Matrix, rank: int, loss: float) -> float:
    """The sum of the `rank` greatest singular values, up to a bound on what rounding may change.

    Eigenvalues of the square are three times as quick to find and good to rounding of the greatest.
    Their roots lose more the smaller they are, and are only taken where it is known to be little.
    """
    if min(matrix.shape) >= _LARGE:
        wide = matrix if len(matrix) <= matrix.shape[1] else matrix.T
        squares = np.clip(np.linalg.eigvalsh(wide @ wide.T)[-rank:], 0, None)
        error = 4 * np.finfo(np.float64).eps * squares[-1]
        if error * (1 / np.sqrt(np.maximum(squares, error))).sum() <= loss:
            return float(np.sqrt(squares).sum())
    return float(np.linalg.svd(matrix, compute_uv=False).sum())


def _root_of_covariance(covariance: Matrix, *, full_rank: bool) -> Matrix:
    """(r, d) R with R^T R the covariance; directions without spread are left out."""
    if full_rank:
        try:
            return np.asarray(np.linalg.cholesky(covariance).T)
        except np.linalg.LinAlgError:  # features that depend on each other
            pass
    spread, directions = np.linalg.eigh(covariance)
    kept = spread > spread[-1] * len(spread) * np.finfo(np.float64).eps
    root: Matrix = np.sqrt(spread[kept])[:, None] * directions[:, kept].T
    return root


def _total(shift: Matrix, spread: float, shared: float) -> float:
    """The four terms together; what rounding leaves below zero is zero."""
    return max(float(np.square(shift).sum() + spread - 2 * shared), 0.0)
