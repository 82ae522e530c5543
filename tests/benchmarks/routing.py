"""Training steps with and without routing, at 256 tokens a frame.

    python tests/benchmarks/routing.py [--size S] [--clips 1] [--frames 16] [--share 0.5]

Whole steps: forward and backward pass, optimizer and EMA, on random latents of 32 x 32 x 4 in
patches of 2. Both kinds of steps are taken in turn in one run, medians. Tokens skip the blocks 2 to
-4, as in TREAD (arXiv 2501.04765).
"""

import argparse
import statistics
import time

import torch

from latte_cli.config import Config, load_config
from latte_cli.diffusion import Diffusion
from latte_cli.runtime.devices import pick_device, resolve_precision, synchronize
from latte_cli.training.measuring import synthetic_batch
from latte_cli.training.state import new_state
from latte_cli.training.step import train_step


def configuration(options: argparse.Namespace, *words: str) -> Config:
    chosen = {
        "model.size": options.size,
        "data.frames": options.frames,
        "data.num_images": 0,
        "train.batch_size": options.clips,
        "train.compile": "none",
    }
    return load_config(None, [*(f"{key}={value}" for key, value in chosen.items()), *words])


class Steps:
    """Steps of one configuration, each timed."""

    def __init__(self, config: Config) -> None:
        self.config, self.device = config, pick_device()
        self.state = new_state(config, self.device)
        self.dtype = resolve_precision(config.train.precision, self.device)
        self.diffusion = Diffusion(**config.diffusion.model_dump())
        self.batch = synthetic_batch(config, config.train.batch_size).to(self.device)
        self.seconds: list[float] = []

    def take(self) -> None:
        synchronize(self.device)
        started = time.perf_counter()
        train_step(self.state, [self.batch], self.diffusion, self.config.train, self.dtype)
        synchronize(self.device)
        self.seconds.append(time.perf_counter() - started)

    def median(self) -> float:
        return statistics.median(self.seconds[1:])  # the first warms up


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", default="S")
    parser.add_argument("--clips", type=int, default=1)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    plain = Steps(configuration(options))
    routed = Steps(configuration(options, f"train.route.share={options.share}"))
    for _ in range(options.rounds + 1):
        plain.take()
        routed.take()
    config = plain.config
    print(
        f"Latte-{options.size}/2, {options.clips} clips of {options.frames} frames of "
        f"{config.tokens_per_frame} tokens, {str(plain.dtype).removeprefix('torch.')}, "
        f"{plain.device}, {torch.get_num_threads()} threads"
    )
    blocks = routed.config.train.route.blocks(len(routed.state.model.blocks))
    print(f"plain   {plain.median():7.3f} s a step")
    print(
        f"routed  {routed.median():7.3f} s a step, {plain.median() / routed.median():.2f} times as "
        f"fast: {options.share:.0%} of the tokens skip {len(blocks)} of "
        f"{len(routed.state.model.blocks)} blocks"
    )


if __name__ == "__main__":
    main()
