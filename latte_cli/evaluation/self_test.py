"""Checks of this machine: arithmetic, networks, published values, and the effect of compression."""

# Axes: n rows, d width of a row, k classes, f frames, b clips.

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from latte_cli.evaluation.features.extractors import FeatureExtractor
from latte_cli.evaluation.features.random_network import RandomNetwork
from latte_cli.evaluation.paired import EQUAL_FRAMES_DB
from latte_cli.evaluation.plan import ClipRef, window
from latte_cli.evaluation.sources.videos import Clip, ReadRequest, Source
from latte_cli.metrics.frechet import Moments, frechet_distance, frechet_from_moments
from latte_cli.metrics.known_answers import known_answers
from latte_cli.metrics.scores import inception_score, polynomial_mmd, psnr
from latte_cli.runtime.console import Console
from latte_cli.runtime.devices import pick_device
from latte_cli.runtime.errors import CheckpointError
from latte_cli.sources.shapes import render_clip
from latte_cli.video_io.compressing import through_jpeg, through_mp4

_TOLERANCE = 1e-6  # relative, of float64 sums
_SHORT = 2e-6  # relative, for fewer rows than their width
_UNCOMPRESSED = "none"
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
    """A check and its outcome.

    Attributes:
        name: of the check.
        found: the value.
        expected: the right value.
        passed: None if the check could not run; `found` then is the reason.
    """

    name: str
    found: str
    expected: str
    passed: bool | None


def arithmetic() -> Iterator[Check]:
    """Distances, scores and windows of clips, against values computed by other means."""
    for name, n_a, n_b, d, ddof, expected, total in _FRECHET:
        a, b = _rows(n_a, d, *_A), _rows(n_b, d, *_B)
        title = f"Fréchet distance, {name}"
        if abs(a.sum() - total) > 1e-6:
            yield Check(title, "NumPy generates other random numbers here", "", None)
            continue
        tolerance = _SHORT if n_a < d else _TOLERANCE
        yield _close(title, frechet_distance(a, b, ddof), expected, tolerance)
        if n_a > d:
            moments = [Moments.of(rows[: n_a // 2]) for rows in (a, b)]
            for each, rows in zip(moments, (a, b), strict=True):
                each.update(rows[n_a // 2 :])
            streamed = frechet_from_moments(moments[0], moments[1], ddof)
            yield _close(f"{title}, streamed", streamed, expected, tolerance)
    n_a, n_b, d, expected = _MMD
    found = polynomial_mmd(_rows(n_a, d, *_A), _rows(n_b, d, *_B))
    yield _close("KVD and KID", found, expected, _TOLERANCE)
    yield from _inception()
    windows = [window(f, 16, s, "random", t) for f, s, t in ((50, 3, 4), (47, 3, 0), (96, 6, 5))]
    frames = [None if w is None else (w[0], w[-1]) for w in windows]
    expected_frames = [(4, 49), None, (5, 95)]
    passed = frames == expected_frames
    yield Check("first and last frames of clips", str(frames), str(expected_frames), passed)


def against_itself() -> Iterator[Check]:
    """Clips against themselves and against their negatives, by the embedded random network."""
    network = RandomNetwork()
    clips = [torch.from_numpy(render_clip(n, num_frames=8)[None]) for n in range(32)]
    rows = np.concatenate([network(clip).numpy() for clip in clips])
    itself = frechet_distance(rows, rows)
    yield Check("clips against themselves", f"{itself:.2g}", "0", itself < 1e-6)
    backwards = np.concatenate([network(255 - clip).numpy() for clip in clips])
    other = frechet_distance(rows, backwards)
    yield Check("clips against their negatives", f"{other:.3g}", "more", other > itself + 0.01)


def networks() -> Iterator[Check]:
    """The feature networks with pseudo-weights against known outputs."""
    for answer in known_answers(pick_device()):
        found, expected = (
            " ".join(f"{x:.4g}" for x in row) for row in (answer.found, answer.expected)
        )
        yield Check(f"{answer.network} with pseudo-weights", found, expected, answer.right)


def published(weights: Path | None, *, trust_torchscript: bool) -> Iterator[Check]:
    """Published values of the real weights, if those are here; they are not downloaded."""
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
    # Each set is one clip eight times: without covariance, only the means differ.
    yield _close(name, float((pair[0] - pair[1]).square().sum()), _ZEROS_ONES, _PUBLISHED)


@dataclass(frozen=True)
class CompressionLoss:
    """The effect of a compression on clips.

    Attributes:
        name: of the compression.
        psnr_db: mean over frames.
        distance: Fréchet distance between the clips before and after.
    """

    name: str
    psnr_db: float
    distance: float


def compression_losses(
    source: Source, refs: tuple[ClipRef, ...], extractor: FeatureExtractor, console: Console
) -> list[CompressionLoss]:
    """Compress clips as the protocols do, and measure how much each compression changes them.

    Args:
        source: of the clips.
        refs: the clips, at least two.
        extractor: the network.
        console: shows the progress.
    """
    rows: dict[str, list[NDArray[np.float32]]] = {}
    decibels: dict[str, list[float]] = {}
    requests = [
        ReadRequest(ref.video, (ref.window,)) for ref in sorted(refs, key=lambda r: r.video.name)
    ]
    with console.progress("compressing", len(requests), "clips") as bar:
        for read in source.read(requests):
            clip = read.clips[0]
            for name, compressed in _variants(clip).items():
                frames = torch.from_numpy(compressed)
                rows.setdefault(name, []).append(extractor.rows(frames[None])[0])
                noise = psnr(frames, torch.from_numpy(clip))
                decibels.setdefault(name, []).append(float(noise.clamp(max=EQUAL_FRAMES_DB).mean()))
            bar.advance()
    joined = {name: np.concatenate(each) for name, each in rows.items()}
    return [
        CompressionLoss(
            name,
            float(np.mean(decibels[name])),
            frechet_distance(joined[_UNCOMPRESSED], joined[name]),
        )
        for name in joined
    ]


def _variants(clip: Clip) -> dict[str, Clip]:
    """The clip unchanged, and after each compression."""
    mp4 = through_mp4(clip, 5)
    return {
        _UNCOMPRESSED: clip,
        "JPEG 75": through_jpeg(clip, 75),
        "JPEG 95": through_jpeg(clip, 95),
        "mp4 crf 5": mp4,
        "mp4 crf 23": through_mp4(clip, 23),
        "mp4 crf 5, then JPEG 75": through_jpeg(mp4, 75),
    }


def _inception() -> Iterator[Check]:
    n, k, seed, g, splits, mean, std = _SCORE
    scaled = np.exp(g * np.random.default_rng(seed).standard_normal((n, k)))
    shares = scaled / scaled.sum(axis=1, keepdims=True)
    if abs(shares[0, 0] - _SCORE_CHECK) > 1e-12:
        yield Check("Inception Score", "NumPy generates other random numbers here", "", None)
        return
    found = inception_score(shares.astype(np.float32), splits)
    yield _close("Inception Score", found.mean, mean, 1e-5)
    yield _close("Inception Score, spread over splits", found.std, std, 1e-4)


def _rows(
    n: int, d: int, seed: int, scale: float, shift: float, power: float
) -> NDArray[np.float64]:
    """Deterministic features whose spread decreases with the column: (n, d)."""
    j = np.arange(d)
    normal = np.random.default_rng(seed).standard_normal((n, d))
    rows: NDArray[np.float64] = normal * (scale * (1 + j) ** -power) + shift * np.cos(j)
    return rows


def _close(name: str, found: float, expected: float, tolerance: float) -> Check:
    passed = abs(found - expected) <= tolerance * abs(expected)
    return Check(name, f"{found:.8g}", f"{expected:.8g}", passed)
