"""`latte eval`: how fast clips are described with I3D, and memory for many times as many.

    python tests/benchmarks/evaluating.py [--clips 64,2048] [--size 64]

FVD by the protocol `latte`, of procedural clips against others, from mp4 files: each number of
clips in a process of its own, whose peak is told (on Linux). I3D has pseudo-weights, which cost
what the published ones cost. 2 x 2048 clips take some 20 minutes on two cores.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

import latte_cli.metrics
from latte_cli.cli import app
from latte_cli.metrics.features import FeatureNetwork
from latte_cli.metrics.known_answers import pseudo_weights
from latte_cli.metrics.loading import LoadedNetwork
from latte_cli.metrics.networks.i3d import I3D, published_shapes
from latte_cli.metrics.weights import Origin
from latte_cli.runtime.devices import peak_memory


def run(*words: object) -> None:
    """The command line, in this process."""
    app([str(word) for word in words], standalone_mode=False)


def evaluate(folder: Path, clips: int) -> None:
    """Measure FVD of so many clips; print seconds, and the process's peak in megabytes."""
    network = I3D()
    network.load_published(pseudo_weights(published_shapes()))
    loaded = FeatureNetwork("i3d", LoadedNetwork(network, Origin("pseudo", (), "pseudo")))
    latte_cli.metrics.load_features = lambda *_, **__: loaded  # type: ignore[assignment]
    sides = (f"--real={folder / 'real'}", f"--fake={folder / 'fake/videos'}", "--split=all")
    places = (f"--features-root={folder / str(clips)}", f"--out={folder / f'{clips}.json'}")
    words = ("--metrics=fvd", "--interval=1", f"--clips={clips}", "-o", "data.frames=16")
    started = time.perf_counter()
    run("-q", "eval", *sides, *places, *words)
    print(time.perf_counter() - started, peak_memory(torch.device("cpu")) / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", default="64,2048")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--evaluate", type=int)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    if given.evaluate:
        evaluate(given.folder, given.evaluate)
        return
    counts = [int(count) for count in given.clips.split(",")]
    with tempfile.TemporaryDirectory() as name:
        for seed, side in enumerate(("real", "fake")):
            make = (f"--count={max(counts)}", f"--size={given.size}", f"--seed={seed}")
            run("-q", "prepare", "shapes", *make, f"--out={Path(name) / side}")
        peaks = []
        for count in counts:
            command = [sys.executable, __file__, f"--evaluate={count}", f"--folder={name}"]
            shown = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            seconds, peak = map(float, shown.stdout.splitlines()[-1].split())
            peaks.append(peak)
            rate = 2 * count / seconds
            print(f"{count} clips a side: {rate:.2f} clips/s, peak {peak:.0f} MB", flush=True)
        for count, peak in zip(counts[1:], peaks[1:], strict=True):
            print(f"{count} clips take {peak / peaks[0]:.3f} times what {counts[0]} take")


if __name__ == "__main__":
    main()
