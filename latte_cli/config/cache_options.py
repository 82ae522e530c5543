"""`--cache` and `--speed`, as far as they can be checked without a network."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latte_cli.config.sections import DiffusionConfig, SampleConfig
from latte_cli.runtime.errors import CheckpointError, ConfigError

CACHE_FORMAT = 2
"""Of the files of calibrated schedules."""

NAMES = ("off", "pab", "adaptive")
"""The values of `--cache` that are not paths; `adaptive:THRESHOLD` is another."""


@dataclass(frozen=True)
class CacheOptions:
    """`--cache` and `--speed`.

    Attributes:
        cache: off, pab, adaptive, adaptive:THRESHOLD, or the path of a calibrated schedule.
        speed: use the calibrated schedule of this speed, such as 2x, beside the weights.

    Raises:
        ConfigError: if both are given, or one has no meaning.
    """

    cache: str = "off"
    speed: str | None = None

    def __post_init__(self) -> None:
        if self.speed is not None:
            parse_speed(self.speed)
            if self.cache != "off":
                raise ConfigError(
                    f"--speed {self.speed} and --cache {self.cache} exclude each other",
                    hint="--speed selects a calibrated cache: leave one of them out",
                )
        if self.cache.startswith("adaptive:"):
            parse_threshold(self.cache)

    @property
    def is_on(self) -> bool:
        """Whether anything is to be reused."""
        return self.speed is not None or self.cache != "off"

    def check_file(self) -> None:
        """Raise CheckpointError if `cache` names a schedule that is missing, or another file."""
        if self.cache not in NAMES and not self.cache.startswith("adaptive:"):
            read_cache_values(Path(self.cache))


NO_CACHE = CacheOptions()


def read_cache_values(path: Path) -> dict[str, Any]:
    """What a file of a calibrated schedule holds, of which only the format is checked.

    Raises:
        CheckpointError: if it is missing, broken, or another file.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"{path}: no such cache", hint="off, pab, adaptive, or a file of `latte calibrate`"
        ) from error
    except ValueError as error:
        raise broken_cache(path) from error
    if not isinstance(values, dict) or values.get("format") != CACHE_FORMAT:
        raise broken_cache(path)
    return values


def broken_cache(path: Path) -> CheckpointError:
    """The error on a file that is not a calibrated schedule."""
    return CheckpointError(
        f"{path} is not a calibrated cache, or is broken",
        hint="`latte calibrate` makes a new one",
    )


def parse_speed(text: str) -> float:
    """`2x`, `2` or `1.5x` as a number.

    Raises:
        ConfigError: if it is not a number above 1.
    """
    try:
        speed = float(text.lower().removesuffix("x"))
    except ValueError:
        speed = math.nan
    if not 1 < speed < math.inf:
        raise ConfigError(f"--speed {text} is not a speed", hint="--speed 2x: twice as fast")
    return speed


def check_cacheable(diffusion: DiffusionConfig, sample: SampleConfig) -> None:
    """Raise ConfigError if calls of the network are not those that a cache knows.

    Args:
        diffusion: of the network.
        sample: how it is sampled.
    """
    if sample.sampler == "flow-map":
        raise ConfigError(
            "the steps of a flow map are few and far apart, so nothing can be reused between them",
            hint="sample a flow map without --cache and --speed; there is nothing to calibrate",
        )
    if diffusion.output is not None:
        raise ConfigError(
            f"a network that predicts {diffusion.output}, converted to {diffusion.objective}, has "
            "other timesteps than a cache knows",
            hint="sample it without --cache and --speed; there is nothing to calibrate",
        )
    if sample.skip_guidance:
        raise ConfigError(
            "sample.skip_guidance calls the network without some blocks in between, of which a "
            "cache knows nothing",
            hint="--cache off, or -o sample.skip_guidance=0",
        )
    if sample.guidance_routing is not None:
        raise ConfigError(
            "sample.guidance_routing calls the network with fewer tokens in between, of which a "
            "cache knows nothing",
            hint="--cache off, or -o sample.guidance_routing=null",
        )


def check_shared_sampling(processes: int, wanted: int, cache: CacheOptions) -> None:
    """Raise ConfigError unless the processes that there are can share each clip.

    Args:
        processes: that there are.
        wanted: that are to share a clip.
        cache: what is reused between steps.
    """
    if wanted == 1:
        return
    if processes != wanted:
        raise ConfigError(
            f"--sequence-parallel {wanted} needs {wanted} processes that share each clip; "
            f"{'there is' if processes == 1 else 'there are'} {processes}",
            hint=f"start them by torchrun --nproc_per_node {wanted} -m latte_cli …",
        )
    if cache.is_on:
        raise ConfigError(
            "--sequence-parallel and a cache exclude each other: each process would see other "
            "tokens, and reuse other blocks",
            hint="--cache off, or one process",
        )


def check_cache_with_fifo(options: CacheOptions, long_method: str | None) -> None:
    """Raise ConfigError if a cache is used with FIFO, whose calls all see other frames."""
    if options.is_on and long_method == "fifo":
        raise ConfigError(
            "--long-method fifo cannot use a cache: each of its steps sees other frames",
            hint="--long-method window, or --cache off",
        )


def parse_threshold(text: str) -> float:
    """The threshold of `adaptive:THRESHOLD`.

    Raises:
        ConfigError: if it is not a number from 0 on.
    """
    try:
        threshold = float(text.removeprefix("adaptive:"))
    except ValueError:
        threshold = -1
    if not 0 <= threshold < float("inf"):
        raise ConfigError(
            f"--cache {text}: the threshold must be a number from 0 on",
            hint="--cache adaptive:0.1: the larger, the faster",
        )
    return threshold
