"""The training loader: clips a second from a warm cache, and opening a large index.

    python tests/benchmarks/loader.py [--lines 1000000] [--workers 2]

Clips are 16 frames at interval 3 of 32 x 32 x 4 latents, in batches of 40, alone and with the 8
images of joint training behind each; medians of some rounds.

Wanted: 2000 clips/s in 2 threads on 2 cores, and a million lines open in 5 s with 1 GiB.
The index is opened in a process of its own, so that its peak memory is its own.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers.latent_sets import write_latents

from latte_cli.config import load_config
from latte_cli.data.clips import ClipSampler
from latte_cli.data.latents.reading import INDEX, LatentMeta, LatentSet
from latte_cli.runtime.devices import peak_memory
from latte_cli.runtime.files import write_text
from latte_cli.vae import Moments

CPU = torch.device("cpu")
VIDEOS, FRAMES, VIDEOS_A_SHARD = 64, 120, 16
META = LatentMeta("none", "none", 0.18215, 4, 256, "crop-resize", True, (), videos=VIDEOS)
STEPS, ROUNDS = 30, 7


def write_store(folder: Path) -> None:
    """Some videos of random latents, both views."""
    videos = []
    for number in range(VIDEOS):
        moments = Moments(torch.randn(FRAMES, 4, 32, 32), torch.full((FRAMES, 4, 32, 32), 0.1))
        row = {"path": f"{number}.mp4", "sha256": f"{number:064x}", "frames": FRAMES}
        videos.append(({**row, "label": None, "split": "train"}, [moments, moments]))
    write_latents(folder, META, videos, VIDEOS_A_SHARD)


def clips_a_second(folder: Path, workers: int, images: int) -> float:
    config = load_config(None, [f"data.workers={workers}", f"data.num_images={images}"])
    sampler = ClipSampler(LatentSet.open(folder), config, META.scaling_factor)
    rates = []
    for part in range(ROUNDS + 1):
        started = time.perf_counter()
        for step in range(STEPS):
            sampler.batch(part * STEPS + step)
        rates.append(STEPS * config.train.batch_size / (time.perf_counter() - started))
    return statistics.median(rates[1:])  # the first round reads from the disk


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
    before = peak_memory(CPU)
    started = time.perf_counter()
    ClipSampler(LatentSet.open(folder), load_config(), META.scaling_factor)
    took = time.perf_counter() - started
    peak = peak_memory(CPU)
    own = (peak - before) / 1e6
    print(f"{took:.2f} s, peak {peak / 1e6:.0f} MB, {own:.0f} MB of them the index's")


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
        for images in (0, 8):
            rate = clips_a_second(Path(name) / "latents", options.workers, images)
            print(f"{rate:.0f} clips/s in {options.workers} threads, {images} images each")
        (Path(name) / "index").mkdir()
        write_index(Path(name) / "index", options.lines)
        command = [sys.executable, __file__, "--open", str(Path(name) / "index")]
        shown = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        print(f"an index of {options.lines} lines: {shown.strip()}")


if __name__ == "__main__":
    main()
