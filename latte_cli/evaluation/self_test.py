"""Does this machine count as it should: arithmetic, a set against itself, published values."""

# Axes: n rows, d width of a row, k classes, f frames.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from latte_cli.evaluation.features.builtin import RandomNetwork
from latte_cli.evaluation.plan import window
from latte_cli.metrics.frechet import Moments, frechet_distance, frechet_from_moments
from latte_cli.metrics.known_answers import known_answers
from latte_cli.metrics.scores import inception_score, polynomial_mmd
from latte_cli.runtime.devices import pick_device
from latte_cli.runtime.errors import CheckpointError, LatteError
from latte_cli.sources.shapes import render_clip

_TOLERANCE = 1e-6  # relative, of float64 sums
_SHORT = 2e-6  # relative to the value, where there are fewer rows than their width
_PUBLISHED = 1e-3  # relative, between float32 devices

# Sets of rows by (seed, scale, shift, power), see `_rows`: (n_a, n_b, d, ddof, distance, sum of a).
# Reference: scipy.linalg.sqrtm, eigenvalues and nuclear norm in float64, which agree.
_A, _B = (1, 1.0, 0.0, 0.5), (2, 1.2, 0.1, 0.5)
_FRECHET = (
    ("fewer rows than their width", 64, 64, 400, 0, 7.98669663379005, -14.57828940604255),
    ("ddof 1", 64, 64, 400, 1, 8.07646178412566, -14.57828940604255),
    ("2048 rows of I3D's width", 2048, 2048, 400, 0, 2.5854104474998074, -112.41577008787877),
)
_MMD = (64, 64, 400, 0.015679105566249954)
# Softmax of g times normal numbers: (n, k, seed, g, splits, mean, std over splits).
_SCORE = (2048, 101, 7, 4.0, 10, 21.09679516386572, 0.7312147844935086)
_SCORE_CHECK = 0.00020158631445867225  # the first probability

# Zeros against ones in [0, 1], 30 frames of 64 x 64 (common_metrics_on_video_quality, 5f75173).
_ZEROS_ONES = 151.25648496845326
_ZEROS_ONES_FRAMES = 30


@dataclass(frozen=True)
class Check:
    """One thing that was tried.

    Attributes:
        name: what.
        found: what came out.
        expected: what should.
        passed: None if it could not be tried; `found` then says why.
    """

    name: str
    found: str
    expected: str
    passed: bool | None


def arithmetic() -> Iterator[Check]:
    """Distances, scores and choice of clips, against values counted by other means."""
    for name, n_a, n_b, d, ddof, expected, total in _FRECHET:
        a, b = _rows(n_a, d, *_A), _rows(n_b, d, *_B)
        what = f"Fréchet distance, {name}"
        if abs(a.sum() - total) > 1e-6:
            yield Check(what, "NumPy draws other numbers here", "", None)
            continue
        tolerance = _SHORT if n_a < d else _TOLERANCE
        yield _close(what, frechet_distance(a, b, ddof), expected, tolerance)
        if n_a > d:
            moments = [Moments.of(rows[: n_a // 2]) for rows in (a, b)]
            for each, rows in zip(moments, (a, b), strict=True):
                each.update(rows[n_a // 2 :])
            streamed = frechet_from_moments(moments[0], moments[1], ddof)
            yield _close(f"{what}, streamed", streamed, expected, tolerance)
    n_a, n_b, d, expected = _MMD
    found = polynomial_mmd(_rows(n_a, d, *_A), _rows(n_b, d, *_B))
    yield _close("KVD and KID", found, expected, _TOLERANCE)
    yield from _inception()
    windows = [window(f, 16, s, "random", t) for f, s, t in ((50, 3, 4), (47, 3, 0), (96, 6, 5))]
    seen = [None if w is None else (w[0], w[-1]) for w in windows]
    right = [(4, 49), None, (5, 95)]
    yield Check("first and last frames of clips", str(seen), str(right), seen == right)


def against_itself() -> Iterator[Check]:
    """Clips against the same clips, and against others, on the embedded judge."""
    network = RandomNetwork()
    clips = [torch.from_numpy(render_clip(n, num_frames=8)[None]) for n in range(32)]
    rows = np.concatenate([network(clip).numpy() for clip in clips])
    itself = frechet_distance(rows, rows)
    yield Check("clips against themselves", f"{itself:.2g}", "0", itself < 1e-6)
    backwards = np.concatenate([network(255 - clip).numpy() for clip in clips])
    other = frechet_distance(rows, backwards)
    yield Check("clips against their negatives", f"{other:.3g}", "more", other > itself + 0.01)


def networks() -> Iterator[Check]:
    """Layers of the feature networks, which need no real weights for it."""
    for answer in known_answers(pick_device()):
        found, right = (
            " ".join(f"{x:.4g}" for x in row) for row in (answer.found, answer.expected)
        )
        yield Check(f"{answer.network} with pseudo-weights", found, right, answer.right)


def published(weights: Path | None, *, trust_torchscript: bool) -> Iterator[Check]:
    """Values that others have published with the real weights, which are not fetched for it."""
    from latte_cli.metrics import load_features

    name = "FVD of zeros and ones"
    try:
        network = load_features(
            "i3d", weights, pick_device(), trust_torchscript=trust_torchscript, download=False
        )
        zeros = torch.zeros(1, _ZEROS_ONES_FRAMES, 64, 64, 3, dtype=torch.uint8)
        pair = network(torch.cat([zeros, zeros + 255])).features.double()
    except CheckpointError as error:
        yield Check(name, str(error), f"{_ZEROS_ONES:.6g}", None)
        return
    # Each set is one clip, eight times: no covariance, the distance is that of the means.
    yield _close(name, float((pair[0] - pair[1]).square().sum()), _ZEROS_ONES, _PUBLISHED)


def failed(checks: Sequence[Check]) -> LatteError | None:
    """The error of a self-test that did not pass."""
    wrong = [check.name for check in checks if check.passed is False]
    if not wrong:
        return None
    return LatteError(
        f"{len(wrong)} of {len(checks)} checks failed: {'; '.join(wrong)}",
        hint="numbers measured here cannot be trusted; check the weights, and PyTorch and NumPy",
    )


def _inception() -> Iterator[Check]:
    n, k, seed, g, splits, mean, std = _SCORE
    scaled = np.exp(g * np.random.default_rng(seed).standard_normal((n, k)))
    shares = scaled / scaled.sum(axis=1, keepdims=True)
    if abs(shares[0, 0] - _SCORE_CHECK) > 1e-12:
        yield Check("Inception Score", "NumPy draws other numbers here", "", None)
        return
    found = inception_score(shares.astype(np.float32), splits)
    yield _close("Inception Score", found.mean, mean, 1e-5)
    yield _close("Inception Score, spread over splits", found.std, std, 1e-4)


def _rows(
    n: int, d: int, seed: int, scale: float, shift: float, power: float
) -> NDArray[np.float64]:
    """Deterministic features whose spread falls with their number: (n, d)."""
    j = np.arange(d)
    drawn = np.random.default_rng(seed).standard_normal((n, d))
    rows: NDArray[np.float64] = drawn * (scale * (1 + j) ** -power) + shift * np.cos(j)
    return rows


def _close(name: str, found: float, expected: float, tolerance: float) -> Check:
    passed = abs(found - expected) <= tolerance * abs(expected)
    return Check(name, f"{found:.8g}", f"{expected:.8g}", passed)
