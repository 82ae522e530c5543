"""Step caching on the shipped network: what it saves, and what that does to clips.

    python tests/benchmarks/caching.py [--clips 64] [--steps 50] [--samplers ddim ddpm]

For each sampler, number of steps and cache: how many times fewer blocks and attentions are
computed, PSNR against the clips drawn without a cache from the same seeds, and the share of clips
that move as their label says. Where no schedule is stored, it is calibrated on other seeds first.

Then wall time, decoding included, the ways in turn, medians: how many times as fast, and what the
saved evaluations promise: blocks are timed in a run of their own, and the rest of the time stays.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latte_cli.commands import calibrate
from latte_cli.config import Config, load_config
from latte_cli.console import Console
from latte_cli.evaluation.motion import direction_of
from latte_cli.generation import ClipRequest, Generator
from latte_cli.locations import asset
from latte_cli.models import load_latte
from latte_cli.step_caching import (
    Adaptive,
    AttentionBroadcast,
    CacheKey,
    Policy,
    Tally,
    cached,
    find_cache,
    mean_psnr,
)
from latte_cli.step_caching.walk import pairs_of, shadowed
from latte_cli.trained import weights_checksum
from latte_cli.vae import load_codec

SHIPPED = asset("shapes")
SPEEDS = (2.0, 3.0)


@dataclass(frozen=True)
class Drawn:
    """Clips, and what drawing them took."""

    clips: list[np.ndarray]
    tally: Tally
    seconds: float


def policies(config: Config, folder: Path) -> dict[str, Policy | None]:
    """Ways to draw, by name."""
    sample = config.sample
    key = CacheKey(weights_checksum(SHIPPED), sample.sampler, sample.steps)
    if not (folder / f"cache-{key.sampler}-{key.steps}-2x.json").is_file():
        speeds = tuple(f"{speed:g}x" for speed in SPEEDS)
        options = calibrate.CalibrateOptions(SHIPPED, speeds, out=folder)
        calibrate.run(config, Console(quiet=True), options)
    calibrated = {f"{s:g}x": find_cache(folder, key, s).schedule for s in SPEEDS}
    judged = {f"adaptive:{t:g}": Adaptive(t) for t in (0.05, 0.1, 0.2)}
    return {"off": None, **calibrated, **judged, "pab": AttentionBroadcast()}


def draw(generator: Generator, policy: Policy | None, requests: Sequence[ClipRequest]) -> Drawn:
    size = 1 if policy is not None and policy.one_by_one else len(requests)
    with cached(generator.model, policy) as tally:
        started = time.perf_counter()
        clips = [
            clip.frames
            for first in range(0, len(requests), size)
            for clip in generator.clips(requests[first : first + size])
        ]
        return Drawn(clips, tally, time.perf_counter() - started)


@contextmanager
def timed_blocks(generator: Generator) -> Iterator[list[float]]:
    """Add up the seconds that blocks take."""
    spent: list[float] = []

    def timed(compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def forward(*values: Any) -> Tensor:
            started = time.perf_counter()
            out = compute(*values)
            spent.append(time.perf_counter() - started)
            return out

        return forward

    with ExitStack() as stack:
        for block in (block for pair in pairs_of(generator.model) for block in pair):
            stack.enter_context(shadowed(block, "forward", timed(block.forward)))
        yield spent


def table(generator: Generator, ways: dict[str, Policy | None], count: int) -> None:
    """Print a line for each way."""
    requests = [ClipRequest(i, generator.config.sample.seed, i % 8) for i in range(count)]
    sample, expected = generator.config.sample, None
    for name, policy in ways.items():
        drawn = draw(generator, policy, requests)
        expected = expected or drawn.clips
        moved = np.mean(
            [direction_of(c) == r.label for c, r in zip(drawn.clips, requests, strict=True)]
        )
        tally = drawn.tally
        print(
            f"{sample.sampler:6} {sample.steps:4}  {name:14} {tally.fewer_blocks:5.2f} fewer blocks"
            f" {tally.fewer_attentions:5.2f} fewer attentions"
            f" {mean_psnr(expected, drawn.clips):6.1f} dB  direction {moved:6.1%}",
            flush=True,
        )


def times(generator: Generator, ways: dict[str, Policy | None], rounds: int) -> None:
    """Print how many times as fast each way is, and what its saved blocks promise."""
    requests = [ClipRequest(i, 0, i) for i in range(4)]
    found: dict[str, list[float]] = {name: [] for name in ways}
    tallies = {}
    shares = []
    for _ in range(rounds):
        for name, policy in ways.items():
            drawn = draw(generator, policy, requests)
            found[name].append(drawn.seconds)
            tallies[name] = drawn.tally
        with timed_blocks(generator) as spent:
            whole = draw(generator, None, requests).seconds
            shares.append(sum(spent) / whole)
    share, plain = statistics.median(shares), statistics.median(found["off"])
    print(f"blocks take {share:.0%} of the time, {torch.get_num_threads()} threads")
    for name in ways:
        promised = 1 / (1 - share + share / tallies[name].fewer_blocks)
        ratio = plain / statistics.median(found[name])
        print(
            f"{name:14} {ratio:5.2f} times as fast, promised {promised:5.2f}"
            f"  ({ratio / promised:.0%} of it)"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--steps", type=int, nargs="*", default=[50])
    parser.add_argument("--samplers", nargs="*", default=["ddim", "ddpm", "dpm++", "unipc"])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    model = load_latte(SHIPPED)
    with tempfile.TemporaryDirectory() as made:
        for sampler in options.samplers:
            for steps in options.steps:
                flags = {"sample.steps": steps, "sample.sampler": sampler}
                config = load_config("shapes", flags=flags)
                generator = Generator(model, load_codec(config), config)
                stored = (SHIPPED / f"cache-{sampler}-{steps}-2x.json").is_file()
                table(
                    generator,
                    policies(config, SHIPPED if stored else Path(made)),
                    options.clips,
                )
        config = load_config("shapes")
        ways = policies(config, SHIPPED)
        skipping = ("off", *(f"{speed:g}x" for speed in SPEEDS))
        together = {name: ways[name] for name in skipping}
        times(Generator(model, load_codec(config), config), together, options.rounds)


if __name__ == "__main__":
    main()
