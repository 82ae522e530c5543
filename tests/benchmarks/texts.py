"""The training loader with captions: clips a second with their texts, from a warm cache.

    python tests/benchmarks/texts.py [--workers 2] [--width 4096] [--texts 2000]

Clips are those of `loader.py`: 16 frames at interval 3 of 32 x 32 x 4 latents, in batches of 40.
With each come the embeddings of one of its three captions, as wide as T5-XXL's: of 6 to 40 tokens,
as of stock footage, and of 120, where every caption is cut. Then the same with the 8 images of
joint training, which have captions of their own; and without captions. Medians of some rounds.

Wanted: 1000 clips/s with captions of stock footage, in 2 threads on 2 cores.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers.latent_sets import write_latents

from latte_cli.config import load_config
from latte_cli.data.clips import ClipSampler
from latte_cli.data.latents.reading import LatentMeta, LatentSet
from latte_cli.data.texts.encoding import encode_missing
from latte_cli.data.texts.folder import TextFolder
from latte_cli.data.texts.shards import EncodedCaption
from latte_cli.data.texts.store import NULL_TEXT, TextMeta, TextSet
from latte_cli.runtime.console import Console
from latte_cli.vae import Moments

VIDEOS, FRAMES, VIDEOS_A_SHARD, CAPTIONS = 64, 120, 16, 3
META = LatentMeta("none", "none", 0.18215, 4, 256, "crop-resize", True, (), videos=VIDEOS)
STEPS, ROUNDS = 15, 7
LENGTHS = {"6 to 40 tokens": (6, 40), "120 tokens": (120, 120)}
TOKENS = 120


def write_videos(folder: Path, texts: list[str]) -> None:
    """Videos of random latents, both views, each with some of the texts as captions."""
    chance, videos = random.Random(0), []
    for number in range(VIDEOS):
        moments = Moments(torch.randn(FRAMES, 4, 32, 32), torch.full((FRAMES, 4, 32, 32), 0.1))
        row = {"path": f"{number}.mp4", "sha256": f"{number:064x}", "frames": FRAMES}
        captions = tuple(chance.sample(texts, CAPTIONS))
        row |= {"label": None, "split": "train", "captions": captions}
        videos.append((row, [moments, moments]))
    write_latents(folder, META, videos, VIDEOS_A_SHARD)


def write_texts(folder: Path, texts: list[str], lengths: tuple[int, int], width: int) -> None:
    chance = random.Random(1)

    def encode(some):
        sizes = [TOKENS if text == NULL_TEXT else chance.randint(*lengths) for text in some]
        return [EncodedCaption(torch.randn(size, width).bfloat16()) for size in sizes]

    meta = TextMeta("none", "none", width, TOKENS, clean=False, texts=0)
    encode_missing(TextFolder(folder, meta, texts), lambda: encode, Console(quiet=True))


def clips_a_second(latents: Path, texts: Path | None, workers: int, images: int) -> float:
    condition = [] if texts is None else ["model.condition=text", "model.num_classes=null"]
    overrides = [f"data.workers={workers}", f"data.num_images={images}", *condition]
    config = load_config(None, overrides)
    store = LatentSet.open(latents)
    store.texts = None if texts is None else TextSet.open(texts)
    sampler = ClipSampler(store, config, META.scaling_factor)
    rates = []
    for part in range(ROUNDS + 1):
        started = time.perf_counter()
        for step in range(STEPS):
            sampler.batch(part * STEPS + step)
        rates.append(STEPS * config.train.batch_size / (time.perf_counter() - started))
    return statistics.median(rates[1:])  # the first round reads from the disk


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--texts", type=int, default=2000)
    options = parser.parse_args()
    texts = [f"caption {number}" for number in range(options.texts)]
    with tempfile.TemporaryDirectory() as name:
        latents = Path(name) / "latents"
        write_videos(latents, texts)
        folders: dict[str, Path | None] = {"no captions": None}
        for number, (said, lengths) in enumerate(LENGTHS.items()):
            folders[said] = Path(name) / f"texts-{number}"
            write_texts(folders[said], texts, lengths, options.width)
        for images in (0, 8):
            for said, folder in folders.items():
                rate = clips_a_second(latents, folder, options.workers, images)
                print(f"{rate:.0f} clips/s, {images} images each, {said}", flush=True)


if __name__ == "__main__":
    main()
