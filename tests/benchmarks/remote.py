"""Latents at s3://: the loader from a warm cache, and how long training waits for a cold one.

    python tests/benchmarks/remote.py [--videos 320] [--frames 24] [--batch 8] [--step 0.25]

The server is moto's, in a process of its own on this machine; answers begin after 20 ms and come
at 100 MB/s together. Clips are 16 frames of videos of 24 frames of 32 x 32 x 4 latents, two views:
1.57 MB a video, each of which is fetched whole, since its checksum covers all of it. A training
step is a pause of `--step` seconds. `--slower 10` makes network and steps ten times slower, for a
machine whose processors others use.

Wanted: warm within 10 % of latents on the disk; cold, training waits for less than 5 % of its time
where the network could deliver what it takes (here 50 MB/s).
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers.latent_sets import write_latents
from helpers.stub_s3 import running_s3

from latte_cli.config import load_config
from latte_cli.data.clips import ClipSampler
from latte_cli.data.latents.reading import LatentMeta, LatentSet
from latte_cli.runtime.remote.folders import fetch_files
from latte_cli.runtime.remote.urls import local_path
from latte_cli.training.batches import BatchLoader, latents_elsewhere, micro_batches
from latte_cli.vae import Moments

CPU = torch.device("cpu")
LATENCY_S, BYTES_A_SECOND = 0.02, 100e6
STEPS, ROUNDS = 20, 5


def write_store(folder: Path, videos: int, frames: int) -> LatentMeta:
    """Some videos of random latents, both views."""
    meta = LatentMeta("none", "none", 0.18215, 4, 256, "crop-resize", True, (), videos=videos)
    rows = []
    for number in range(videos):
        moments = Moments(torch.randn(frames, 4, 32, 32), torch.full((frames, 4, 32, 32), 0.1))
        row = {"path": f"{number}.mp4", "sha256": f"{number:064x}", "frames": frames}
        rows.append(({**row, "label": None, "split": "train"}, [moments, moments]))
    write_latents(folder, meta, rows, 16)
    return meta


def serve(folder: Path, slower: float) -> None:
    """Serve a folder until standard input ends; print the address."""
    with running_s3() as stub:
        stub.put(folder, "latents")
        stub.latency_s, stub.bytes_a_second = LATENCY_S * slower, BYTES_A_SECOND / slower
        print(stub.address, flush=True)
        sys.stdin.read()


def sampler_of(folder: Path, meta: LatentMeta, batch: int) -> ClipSampler:
    words = ["data.workers=2", "data.num_images=0", f"train.batch_size={batch}"]
    words += ["data.interval=1", "train.condition_dropout=0"]
    return ClipSampler(LatentSet.open(folder), load_config(None, words), meta.scaling_factor)


def rate(sampler: ClipSampler, first: int) -> float:
    """Clips a second."""
    started = time.perf_counter()
    for step in range(STEPS):
        sampler.batch(first + step)
    return STEPS * sampler.config.train.batch_size / (time.perf_counter() - started)


def waited(sampler: ClipSampler, steps: int, step_s: float) -> tuple[float, float]:
    """The share of its time that training waits for, and the clips a second."""
    waiting, started = 0.0, time.perf_counter()
    batches, store = micro_batches(sampler.config.train), latents_elsewhere(sampler.store)
    with BatchLoader(sampler, batches, CPU, store) as loader:
        loader.load(0, steps)  # a run begins with seconds of other work
        begun = time.perf_counter()
        for number in range(1, steps + 1):
            before = time.perf_counter()
            loader.load(number, steps)
            waiting += time.perf_counter() - before
            time.sleep(step_s)
        took = time.perf_counter() - begun
    print(f"the first batch came after {begun - started:.2f} s")
    return waiting / took, steps * sampler.config.train.batch_size / took


def measure(folder: Path, meta: LatentMeta, options: argparse.Namespace) -> None:
    elsewhere = local_path("s3://bucket/latents")
    fetch_files(elsewhere, ("meta.json", "index.jsonl"))
    cold = sampler_of(elsewhere, meta, options.batch)
    share, clips = waited(cold, options.steps, options.step * options.slower)
    steps, batch = range(options.steps + 1), range(options.batch)
    videos = {number for step in steps for number in cold.videos_of(step, batch)}
    print(
        f"cold: training waited for {share:.1%} of its time, at {clips:.1f} clips/s; "
        f"{len(videos)} videos in {options.steps} steps of {options.step} s"
    )
    here, warm = (sampler_of(each, meta, 40) for each in (folder, elsewhere))
    for sampler in (here, warm):
        rate(sampler, 0)
    pairs = [(rate(here, n * STEPS), rate(warm, n * STEPS)) for n in range(1, ROUNDS + 1)]
    on_disk, cached = (statistics.median(each) for each in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"warm: {cached:.0f} clips/s, on the disk {on_disk:.0f}: {ratio:.2f} of it")


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, value in (("videos", 320), ("frames", 24), ("batch", 8), ("steps", 30)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--step", type=float, default=0.25)
    parser.add_argument("--slower", type=float, default=1.0)
    parser.add_argument("--serve", type=Path)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.slower)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "latents"
        meta = write_store(folder, options.videos, options.frames)
        command = [sys.executable, __file__, "--serve", str(folder)]
        command += ["--slower", str(options.slower)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, **pipes) as server:
            address = server.stdout.readline().strip()
            os.environ |= {"AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "key"}
            os.environ |= {"AWS_SECRET_ACCESS_KEY": "secret", "XDG_CACHE_HOME": f"{name}/cache"}
            try:
                measure(folder, meta, options)
            finally:
                server.stdin.close()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
