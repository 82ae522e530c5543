"""The training loader: clips a second from a warm cache, and opening a large index.

    python tests/benchmarks/loader.py [--lines 1000000] [--workers 2]

Clips are 16 frames at interval 3 of 32 x 32 x 4 latents, in batches of 40, as training takes them.
The index is opened in a process of its own, so that its peak memory is its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
from latent_sets import write_latents

from latte_cli.config import load_config
from latte_cli.data.clips import ClipSampler
from latte_cli.data.latents import INDEX, LatentMeta, LatentSet
from latte_cli.files import write_text
from latte_cli.vae import Moments

VIDEOS, FRAMES, VIDEOS_A_SHARD = 64, 120, 16
META = LatentMeta("none", "none", 0.18215, 4, 256, "crop-resize", True, (), videos=VIDEOS)
STEPS, WARM = 60, 10


def write_store(folder: Path) -> None:
    """Some videos of random latents, both views."""
    videos = []
    for number in range(VIDEOS):
        moments = Moments(torch.randn(FRAMES, 4, 32, 32), torch.full((FRAMES, 4, 32, 32), 0.1))
        row = {"path": f"{number}.mp4", "sha256": f"{number:064x}", "frames": FRAMES}
        videos.append(({**row, "label": None, "split": "train"}, [moments, moments]))
    write_latents(folder, META, videos, VIDEOS_A_SHARD)


def clips_a_second(folder: Path, workers: int) -> float:
    config = load_config(None, [f"data.workers={workers}"])
    sampler = ClipSampler(LatentSet.open(folder), config, META.scaling_factor)
    for step in range(WARM):
        sampler.batch(step)
    started = time.perf_counter()
    for step in range(WARM, WARM + STEPS):
        sampler.batch(step)
    return STEPS * config.train.batch_size / (time.perf_counter() - started)


def write_index(folder: Path, lines: int) -> None:
    """An index of many videos, whose shards need not be there to open it."""
    meta = {**vars(META), "videos": lines}
    write_text(folder / "meta.json", json.dumps(meta))
    with (folder / INDEX).open("w") as file:
        for number in range(lines):
            row = {
                "path": f"/data/videos/some/folder/video-{number:08d}.mp4",
                "sha256": f"{number:064x}",
                "frames": 100 + number % 50,
                "label": number % 101,
                "split": "train",
                "shard": f"shard-{number // 30:016x}.safetensors",
                "position": number % 30,
            }
            file.write(json.dumps(row) + "\n")


def open_index(folder: Path) -> None:
    """Open for training, and tell seconds and megabytes beyond those of the libraries."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    ClipSampler(LatentSet.open(folder), load_config(), META.scaling_factor)
    took = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    own = (peak - before) / 1e3
    print(f"{took:.2f} s, peak {peak / 1e3:.0f} MB, {own:.0f} MB of them the index's")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--open", type=Path)
    options = parser.parse_args()
    if options.open:
        open_index(options.open)
        return
    with tempfile.TemporaryDirectory() as name:
        write_store(Path(name) / "latents")
        rate = clips_a_second(Path(name) / "latents", options.workers)
        print(f"{rate:.0f} clips/s in {options.workers} threads")
        (Path(name) / "index").mkdir()
        write_index(Path(name) / "index", options.lines)
        command = [sys.executable, __file__, "--open", str(Path(name) / "index")]
        shown = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        print(f"an index of {options.lines} lines: {shown.strip()}")


if __name__ == "__main__":
    main()
