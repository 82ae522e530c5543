"""FVD from pixels to the printed number, on I3D with pseudo-weights: a minute of convolutions.

python tests/recipes/fvd_from_pixels.py

Two sets of 24 clips of moving squares go through the whole command. An independent port of I3D with
the same weights, and scipy.linalg.sqrtm, say 41.64287 (ddof 0); it must agree to 1e-3.
"""

import json
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
from typer.testing import CliRunner

from latte_cli.cli import app
from latte_cli.metrics import features
from latte_cli.metrics.known_answers import pseudo_weights
from latte_cli.metrics.loading import LoadedNetwork
from latte_cli.metrics.networks import i3d
from latte_cli.metrics.weights import origin_of

EXPECTED = 41.64286868624538


def squares(count: int, seed: int, speed: int, frames: int = 16, side: int = 64) -> np.ndarray:
    """(n, f, h, w, 3) uint8 of one square each, moving over an even ground, round the edges."""
    clips = np.empty((count, frames, side, side, 3), np.uint8)
    for index in range(count):
        random = np.random.default_rng(1000 * seed + index)
        ground, colour = random.integers(0, 256, (2, 3))
        length = int(random.integers(side // 8, side // 3 + 1))
        x, y = random.integers(0, side), random.integers(0, side)
        dx, dy = (random.integers(-3, 4, 2) * speed).tolist()
        for frame in range(frames):
            column = ((np.arange(side) - x - dx * frame) % side) < length
            row = ((np.arange(side) - y - dy * frame) % side) < length
            inside = (row[:, None] & column[None])[..., None]
            clips[index, frame] = np.where(inside, colour, ground)
    return clips


def load(*words: object, **more: object) -> features.FeatureNetwork:
    state = pseudo_weights(i3d.published_shapes())
    network = i3d.I3D()
    network.load_published(state)
    return features.FeatureNetwork("i3d", LoadedNetwork(network, origin_of("pseudo", [], state)))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, patch("latte_cli.metrics.load_features", load):
        root = Path(folder)
        np.savez(root / "real.npz", clips=squares(24, 1, 1))
        np.savez(root / "fake.npz", clips=squares(24, 2, 2))
        words = ["--json", "eval", f"--real={root}/real.npz", f"--fake={root}/fake.npz"]
        words += ["--protocol=stylegan-v", "-o", "data.size=64", f"--out={root}/r.json"]
        result = CliRunner().invoke(app, [*words, f"--features-root={root}/features"])
        if result.exit_code:
            sys.exit(result.output + result.stderr)
        number = json.loads(result.stdout)["metrics"]["fvd"]
    error = abs(number["value"] / EXPECTED - 1)
    print(f"found {number['value']}, expected {EXPECTED:.6g}, off by {error:.1e}")
    print(f"95 %: {number['interval']}, real vs real {number['real_vs_real']}")
    sys.exit(error > 1e-3)


if __name__ == "__main__":
    main()
