"""`--cache` and `--speed`: from the options to a policy, and sampling with it."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from latte_cli.caching.attention_broadcast import AttentionBroadcast
from latte_cli.caching.block_skipping import Adaptive
from latte_cli.caching.cache_files import find_cache, read_cache
from latte_cli.caching.policy import Network, Policy, cached
from latte_cli.caching.sampling_setup import SamplingSetup
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import ConfigError


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
            _parse_threshold(self.cache)

    @property
    def is_on(self) -> bool:
        """Whether anything is to be reused."""
        return self.speed is not None or self.cache != "off"


NO_CACHE = CacheOptions()


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


def choose_policy(
    options: CacheOptions, folder: Path, setup: Callable[[], SamplingSetup]
) -> Policy | None:
    """The policy that the options select; None: no cache.

    Args:
        options: `--cache` and `--speed`.
        folder: of the weights, with calibrated schedules beside them.
        setup: computes the setup of this sampling run; called only if a calibrated schedule is
            used, since a checksum of large weights takes seconds.

    Raises:
        CheckpointError: if there is no such schedule, or it is for another network or sampler. One
            that was calibrated under other conditions is used with a warning.
        ConfigError: if the threshold is not a number from 0 on.
    """
    if options.speed is not None:
        return find_cache(folder, setup(), parse_speed(options.speed)).schedule
    if options.cache == "off":
        return None
    if options.cache == "pab":
        return AttentionBroadcast()
    if options.cache == "adaptive":
        return Adaptive()
    if options.cache.startswith("adaptive:"):
        return Adaptive(_parse_threshold(options.cache))
    return read_cache(Path(options.cache), setup()).schedule


def check_cache_with_fifo(options: CacheOptions, long_method: str | None) -> None:
    """Raise ConfigError if a cache is used with FIFO, whose calls all see other frames."""
    if options.is_on and long_method == "fifo":
        raise ConfigError(
            "--long-method fifo cannot use a cache: each of its steps sees other frames",
            hint="--long-method window, or --cache off",
        )


def policy_name(policy: Policy | None) -> str:
    """The name that distinguishes clips sampled with this policy."""
    return "off" if policy is None else policy.name


@contextmanager
def sampling_with_cache(model: Network, policy: Policy | None, console: Console) -> Iterator[None]:
    """Reuse what the policy says, and report at the end how much was computed."""
    if policy is None:
        yield
        return
    with cached(model, policy) as tally:
        yield
    if tally.attentions_total:
        console.info(f"attentions computed: {tally.attentions} of {tally.attentions_total}")
    elif tally.blocks_total:
        console.info(f"blocks computed: {tally.blocks} of {tally.blocks_total}")


def _parse_threshold(text: str) -> float:
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
