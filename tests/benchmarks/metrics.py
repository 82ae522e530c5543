"""The Fréchet distance and I3D on the CPU, each beside the plain way, in turn in one run.

    python tests/benchmarks/metrics.py [--rounds 5] [--clips 4] [--fvd]

Prints medians and ratios. The plain Fréchet distance takes the square root of the product of both
covariances, by SciPy where it is installed, else by eigenvectors; the plain I3D runs every layer
apart, with all threads on the whole batch. `--fvd` runs the 48 clips of the reference numbers
through both, and compares the distances: a minute.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.plain_i3d import PlainI3D
from helpers.pseudo import features, squares

from latte_cli.metrics import Moments, frechet_distance, frechet_from_moments
from latte_cli.metrics.features import FeatureNetwork
from latte_cli.metrics.known_answers import pseudo_weights
from latte_cli.metrics.loading import LoadedNetwork
from latte_cli.metrics.networks.i3d import I3D, preprocess, published_shapes
from latte_cli.metrics.weights import Origin

KNOWN_FVD = 41.64286868624538  # tests/metrics/goldens/i3d_pseudo.npz


def timed(ways: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of each, taken in turn."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            spent[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in spent.items()}


def plain_frechet(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """With a matrix square root, as most code has it."""
    covariances = [np.cov(rows, rowvar=False, ddof=0) for rows in (a, b)]
    shift = a.mean(axis=0) - b.mean(axis=0)
    root = square_root(covariances[0] @ covariances[1])
    return float(shift @ shift + sum(map(np.trace, covariances)) - 2 * np.trace(root).real)


def square_root(matrix: NDArray[np.float64]) -> NDArray[Any]:
    try:
        from scipy.linalg import sqrtm
    except ImportError:
        values, vectors = np.linalg.eig(matrix)
        return (vectors * np.sqrt(values.astype(complex))) @ np.linalg.inv(vectors)
    return np.asarray(sqrtm(matrix))


def frechet(rounds: int) -> None:
    for d in (400, 2048):
        a, b = features(2048, d, 1, 1.0, 0.0, 0.5), features(2048, d, 2, 1.2, 0.1, 0.5)
        moments = Moments.of(a), Moments.of(b)
        ways = {
            "ours": lambda a=a, b=b: frechet_distance(a, b),
            "ours from moments": lambda pair=moments: frechet_from_moments(*pair),
            "matrix square root": lambda a=a, b=b: plain_frechet(a, b),
        }
        values = {name: way() for name, way in ways.items()}
        spent = timed(ways, rounds)
        for name, seconds in spent.items():
            print(
                f"2048 x {d:4}  {name:18} {seconds:8.3f} s   {values[name]:.9f}   "
                f"ratio {spent['matrix square root'] / seconds:6.1f}"
            )


def networks() -> tuple[PlainI3D, FeatureNetwork]:
    state = pseudo_weights(published_shapes())
    plain, ours = PlainI3D(), I3D()
    plain.load_state_dict(state, strict=False)
    ours.load_published(state)
    return plain, FeatureNetwork("i3d", LoadedNetwork(ours, Origin("pseudo", (), "")))


def i3d(rounds: int, count: int) -> None:
    plain, ours = networks()
    clips = squares(count, 16, 256, 1)
    difference = (plain(preprocess(clips)) - ours(clips).features).abs().max()
    spent = timed({"ours": lambda: ours(clips), "plain": lambda: plain(preprocess(clips))}, rounds)
    for name, seconds in spent.items():
        print(f"I3D 16 x 256 x 256   {name:6} {count / seconds:6.2f} clips/s")
    print(f"ratio {spent['plain'] / spent['ours']:.2f}, logits differ by {difference:.1e} at most")


def fvd() -> None:
    plain, ours = networks()
    sets = squares(24, 16, 64, 1), squares(24, 16, 64, 2, speed=2)
    ways = {"plain": lambda x: plain(preprocess(x)), "ours": lambda x: ours(x).features}
    for name, describe in ways.items():
        value = frechet_distance(*(torch.cat([describe(x) for x in c.split(4)]) for c in sets))
        print(f"FVD of 2 x 24 clips  {name:6} {value:.6f}, off by {value / KNOWN_FVD - 1:+.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--fvd", action="store_true")
    given = parser.parse_args()
    print(f"{torch.get_num_threads()} threads")
    frechet(given.rounds)
    i3d(given.rounds, given.clips)
    if given.fvd:
        fvd()


if __name__ == "__main__":
    main()
