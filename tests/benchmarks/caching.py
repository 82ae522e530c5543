"""Step caching on the shipped network: what it saves, and what that does to clips.

    python tests/benchmarks/caching.py [--clips 24] [--steps 25 50] [--samplers ddim ddpm]
        [--out caching.jsonl] [--rounds 3]

A table, a line for each sampler, number of steps and cache: how many times fewer blocks and
attentions are computed, PSNR against the clips drawn without a cache from the same seeds, and the
share of clips that move as their label says. Where no schedule is stored, it is calibrated on other
seeds first. With --out, lines are kept there, and those of a sampler and number of steps that are
there are not measured again: the same command goes on where it stopped.

Then, unless --rounds is 0, wall time, decoding included, the ways in turn, medians: how many times
as fast, and what the saved evaluations promise: blocks are timed in a run of their own, and the
rest of the time stays.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latte_cli.caching import (
    Adaptive,
    AttentionBroadcast,
    Policy,
    Tally,
    cached,
    checkpoint_setup,
    find_cache,
    mean_psnr,
)
from latte_cli.caching.policy import block_pairs, patched
from latte_cli.commands import calibrate
from latte_cli.config import Config, load_config
from latte_cli.config.locations import shipped_network
from latte_cli.evaluation.features.motion import direction_of
from latte_cli.models import Latte, load_latte
from latte_cli.models.trained import weights_checksum
from latte_cli.runtime.console import Console
from latte_cli.runtime.files import read_json_lines, write_json_lines
from latte_cli.sampling.generation import ClipRequest, Generator
from latte_cli.vae import load_codec

SHIPPED = shipped_network("shapes")
SPEEDS = (2.0, 3.0)


@dataclass(frozen=True)
class Drawn:
    """Clips, and what drawing them took."""

    clips: list[np.ndarray]
    tally: Tally
    seconds: float


def policies(config: Config, folder: Path) -> dict[str, Policy | None]:
    """Ways to draw, by name."""
    sample, use = config.sample, checkpoint_setup(SHIPPED, config)
    shipped = [*SHIPPED.glob(f"cache-{sample.sampler}-{sample.steps}-g{sample.guidance:g}-*.json")]
    if not shipped:
        speeds = tuple(f"{speed:g}x" for speed in SPEEDS)
        options = calibrate.CalibrateOptions(speeds, out=folder)
        calibrate.run(config, Console(quiet=True), SHIPPED, options)
    place = SHIPPED if shipped else folder
    calibrated = {f"{s:g}x": find_cache(place, use, s).schedule for s in SPEEDS}
    return {"off": None, "pab": AttentionBroadcast(), "adaptive": Adaptive(), **calibrated}


def draw(generator: Generator, policy: Policy | None, requests: Sequence[ClipRequest]) -> Drawn:
    size = 1 if policy is not None and policy.needs_batch_of_one else len(requests)
    with cached(generator.model, policy) as tally:
        started = time.perf_counter()
        clips = [
            clip
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
        for block in (block for pair in block_pairs(generator.model) for block in pair):
            stack.enter_context(patched(block, "forward", timed(block.forward)))
        yield spent


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    sampler: str
    steps: int
    cache: str
    clips: int
    weights_sha256: str
    fewer_blocks: float
    fewer_attentions: float
    psnr_db: float
    direction: float

    def belongs_to(self, config: Config, clips: int) -> bool:
        """Whether it was measured so, on these weights."""
        asked = (config.sample.sampler, config.sample.steps, clips, weights_checksum(SHIPPED))
        return asked == (self.sampler, self.steps, self.clips, self.weights_sha256)

    def print(self) -> None:
        print(
            f"| {self.sampler:6} | {self.steps:5} | {self.cache:8} | {self.fewer_blocks:12.2f}"
            f" | {self.fewer_attentions:16.2f} | {self.psnr_db:8.1f} | {self.direction:9.1%} |",
            flush=True,
        )


HEAD = """\
| sampler | steps | cache    | fewer blocks | fewer attentions | PSNR, dB | direction |
|---------|-------|----------|--------------|------------------|----------|-----------|"""


def measure(generator: Generator, ways: dict[str, Policy | None], count: int) -> Iterator[Row]:
    """A line for each way."""
    requests = [ClipRequest(i, generator.config.sample.seed, i % 8) for i in range(count)]
    sample, expected = generator.config.sample, None
    for name, policy in ways.items():
        drawn = draw(generator, policy, requests)
        expected = expected or drawn.clips
        both = zip(drawn.clips, requests, strict=True)
        yield Row(
            sample.sampler,
            sample.steps,
            name,
            count,
            weights_checksum(SHIPPED),
            drawn.tally.fewer_blocks,
            drawn.tally.fewer_attentions,
            mean_psnr(expected, drawn.clips),
            float(np.mean([direction_of(clip) == asked.label for clip, asked in both])),
        )


def table(model: Latte, options: argparse.Namespace, made: Path) -> None:
    """Print it; lines that are kept are not measured again."""
    out: Path | None = options.out
    rows = read_json_lines(out) if out is not None and out.is_file() else []
    kept = [Row(**row) for row in rows]
    print(HEAD, flush=True)
    for sampler, steps in product(options.samplers, options.steps):
        config = load_config(
            SHIPPED.name,
            flags={"sample.steps": steps, "sample.sampler": sampler, "sample.batch": 24},
        )
        there = [row for row in kept if row.belongs_to(config, options.clips)]
        if not there:
            generator = Generator(model, load_codec(config), config)
            there = list(measure(generator, policies(config, made), options.clips))
            kept += there
            if out is not None:
                write_json_lines(out, map(asdict, kept))
        for row in there:
            row.print()


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
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--steps", type=int, nargs="*", default=[25, 50])
    samplers = ["euler", "dpm++", "unipc"]
    parser.add_argument("--samplers", nargs="*", default=samplers, choices=samplers)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    model = load_latte(SHIPPED)
    with tempfile.TemporaryDirectory() as made:
        table(model, options, Path(made))
        if options.rounds:
            config = load_config(SHIPPED.name)
            ways = policies(config, Path(made))
            skipping = ("off", *(f"{speed:g}x" for speed in SPEEDS))
            together = {name: ways[name] for name in skipping}
            times(Generator(model, load_codec(config), config), together, options.rounds)


if __name__ == "__main__":
    main()
