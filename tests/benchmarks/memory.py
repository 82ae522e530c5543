"""Peak memory of a training step, with and without recomputing blocks for the backward pass.

    python tests/benchmarks/memory.py [--size B] [--clips 1] [--precision float32]

Each way runs in a process of its own: AdamW's state and the averaged weights are there, as in
training. Prints the peak resident memory, what of it stood before the second step, and the ratios
of the whole and of what the step adds. Large blocks go back to the system at once, so that peaks
are those of tensors, not of the allocator's leftovers.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import torch

from latte_cli.config import load_config
from latte_cli.data.batch import Batch
from latte_cli.diffusion import Diffusion
from latte_cli.runtime.devices import (
    peak_memory,
    resolve_precision,
)
from latte_cli.training.state import new_state
from latte_cli.training.step import train_step

WAYS = ("none", "blocks")


def resident_mb() -> float:
    """What the process holds now; on Linux."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def step(size: str, clips: int, precision: str, way: str) -> dict[str, float]:
    """Megabytes before the second step, when AdamW's state is there, and at the peak."""
    words = [f"model.size={size}", f"train.checkpointing={way}"]
    config = load_config(None, words)
    device = torch.device("cpu")
    state = new_state(config, device)
    x = torch.randn(2, clips, 16, 4, 32, 32)
    batch = Batch(x[0], x[1], torch.full((clips,), 500), None)
    dtype = resolve_precision(precision, device)
    train_step(state, [batch], Diffusion(), config.train, dtype)
    before = resident_mb()
    train_step(state, [batch], Diffusion(), config.train, dtype)
    return {"before": before, "peak": peak_memory(device) / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", default="B")
    parser.add_argument("--clips", type=int, default=1)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--way", choices=WAYS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(step(options.size, options.clips, options.precision, options.way)))
        return
    whole, added = [], []
    for way in WAYS:
        command = [sys.executable, *sys.argv, "--way", way]
        environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000"}
        shown = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, env=environment
        ).stdout
        found = json.loads(shown)
        whole.append(found["peak"])
        added.append(found["peak"] - found["before"])
        print(f"{way:7} peak {whole[-1]:6.0f} MB, of which the step added {added[-1]:6.0f} MB")
    print(
        f"ratio of peaks {whole[1] / whole[0]:.2f}, of what a step adds {added[1] / added[0]:.2f}"
    )


if __name__ == "__main__":
    main()
