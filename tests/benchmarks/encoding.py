"""`latte encode-latents`: how busy the autoencoder is, and memory for ten times as many videos.

    python tests/benchmarks/encoding.py [--videos 4] [--frames 16] [--clips 100,1000]

Busy: an autoencoder of Stable Diffusion's size with random weights encodes procedural videos of
320 x 320 pixels at 256; its share of the time from the first claim to the last shard is told, with
decoding, writing and all else beside it. Memory: a tiny autoencoder encodes procedural clips, few
and many, each time in a process of its own whose peak is told (on Linux).
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CLIP_SIZE = 32  # of the clips of the memory part, pixels: two shards' worth in some hundred clips


def write_autoencoder(folder: Path, widths: tuple[int, ...], layers: int) -> None:
    """Random weights, in diffusers' layout."""
    import torch
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    AutoencoderKL(
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        layers_per_block=layers,
        norm_num_groups=min(32, widths[0]),
        latent_channels=4,
    ).save_pretrained(folder)


def write_videos(folder: Path, count: int, frames: int) -> None:
    from latte_cli.sources import shapes
    from latte_cli.video_io import write_video

    for number in range(count):
        clip = shapes.render_clip(number, num_frames=frames, size=320)
        write_video(folder / f"{number:03d}.mp4", clip, shapes.FPS)


def run(*words: object) -> None:
    """The command line, in this process."""
    from latte_cli.cli import app

    app([str(word) for word in words], standalone_mode=False)


def busy(folder: Path, videos: int, frames: int) -> None:
    """Time spent in the autoencoder, out of all the time that encoding takes."""
    from latte_cli.commands import encode_latents as command
    from latte_cli.vae import LatentCodec

    write_autoencoder(folder / "vae", (128, 256, 512, 512), 2)
    write_videos(folder / "in", videos, frames)
    run("-q", "prepare", "folder", f"--source={folder / 'in'}", f"--out={folder / 'data'}")
    spent = {"all": 0.0, "autoencoder": 0.0}

    def timed(name: str, function: Any) -> Any:
        def call(*words: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*words)
            finally:
                spent[name] += time.perf_counter() - started

        return call

    LatentCodec.encode = timed("autoencoder", LatentCodec.encode)  # type: ignore[method-assign]
    command.encode_missing = timed("all", command.encode_missing)
    words = (f"--data={folder / 'data'}", f"--vae={folder / 'vae'}", "--size=256", "--no-flip")
    run("-q", "encode-latents", *words, f"--out={folder / 'latents'}")
    share = spent["autoencoder"] / spent["all"]
    rate = videos * frames / spent["all"]
    print(
        f"{videos} videos of {frames} frames: {spent['all']:.1f} s ({rate:.2f} frames/s), ", end=""
    )
    print(f"the autoencoder is busy {share:.1%} of it", flush=True)


def memory(folder: Path, counts: list[int]) -> None:
    """Peak memory for each number of clips, and by how much it grows."""
    write_autoencoder(folder / "tiny", (8, 8), 1)
    count = max(counts)
    run("-q", "prepare", "shapes", f"--count={count}", f"--size={CLIP_SIZE}", f"--out={folder}")
    manifest = folder / "manifest.jsonl"
    lines, peaks = manifest.read_text().splitlines(keepends=True), []
    for count in counts:
        manifest.write_text("".join(lines[:count]))
        words = ("--encode", str(folder), f"--out={folder / str(count)}")
        command = [sys.executable, __file__, *words]
        shown = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        peaks.append(float(shown.stdout.splitlines()[-1]))
        print(f"{count} clips: peak {peaks[-1]:.0f} MB", flush=True)
    for count, peak in zip(counts[1:], peaks[1:], strict=True):
        print(f"{count} clips take {peak / peaks[0] - 1:+.1%} beyond what {counts[0]} take")


def encode(folder: Path, out: Path) -> None:
    """Encode with the tiny autoencoder, and tell this process's peak memory."""
    words = (f"--data={folder}", f"--vae={folder / 'tiny'}", f"--size={CLIP_SIZE}", f"--out={out}")
    run("-q", "encode-latents", *words, "--no-flip", "-o", "vae.downsample=2")
    import torch

    from latte_cli.runtime.devices import peak_memory

    print(peak_memory(torch.device("cpu")) / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--clips", default="100,1000")
    parser.add_argument("--encode", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.encode:
        encode(options.encode, options.out)
        return
    with tempfile.TemporaryDirectory() as name:
        if options.videos:
            busy(Path(name), options.videos, options.frames)
        memory(Path(name) / "memory", [int(count) for count in options.clips.split(",")])


if __name__ == "__main__":
    main()
