"""The cache that a command line asks for."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from latte_cli.caching.broadcast import AttentionBroadcast
from latte_cli.caching.keys import CacheUse
from latte_cli.caching.policies import Adaptive
from latte_cli.caching.progress import Network, Policy, cached
from latte_cli.caching.stored import find_cache, parse_speed, read_cache
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import ConfigError


@dataclass(frozen=True)
class CacheOptions:
    """`--cache` and `--speed`.

    Attributes:
        cache: off, pab, adaptive, adaptive:THRESHOLD, or the path of a calibrated schedule.
        speed: take the calibrated schedule of this speed, such as 2x, beside the weights.
    """

    cache: str = "off"
    speed: str | None = None

    def __post_init__(self) -> None:
        if self.speed is not None:
            parse_speed(self.speed)
            if self.cache != "off":
                raise ConfigError(
                    f"--speed {self.speed} and --cache {self.cache}, too",
                    hint="--speed stands for a calibrated cache: leave one of them out",
                )
        if self.cache.startswith("adaptive:"):
            _threshold(self.cache)

    @property
    def is_on(self) -> bool:
        """Whether anything is to be answered from memory."""
        return self.speed is not None or self.cache != "off"


NO_CACHE = CacheOptions()


def choose_policy(
    options: CacheOptions, folder: Path, use: Callable[[], CacheUse]
) -> Policy | None:
    """What is answered from memory; None: nothing.

    Args:
        options: what was asked for.
        folder: where the weights are, and calibrated schedules beside them.
        use: what it is to be used for; asked where that matters, since a checksum of large weights
            takes seconds.

    Raises:
        CheckpointError: if there is no such schedule, or it is for something else. One that was
            calibrated on clips drawn otherwise is taken with a warning.
        ConfigError: if a threshold is none.
    """
    if options.speed is not None:
        return find_cache(folder, use(), parse_speed(options.speed)).schedule
    if options.cache == "off":
        return None
    if options.cache == "pab":
        return AttentionBroadcast()
    if options.cache == "adaptive":
        return Adaptive()
    if options.cache.startswith("adaptive:"):
        return Adaptive(_threshold(options.cache))
    return read_cache(Path(options.cache), use()).schedule


def policy_name(policy: Policy | None) -> str:
    """What tells clips drawn with it from others."""
    return "off" if policy is None else policy.name


@contextmanager
def sampling_with_cache(model: Network, policy: Policy | None, console: Console) -> Iterator[None]:
    """Let a network answer from memory, and tell in the end what that saved."""
    if policy is None:
        yield
        return
    with cached(model, policy) as tally:
        yield
    if tally.attentions_in_all:
        console.say(f"attentions computed: {tally.attentions} of {tally.attentions_in_all}")
    elif tally.blocks_in_all:
        console.say(f"blocks computed: {tally.blocks} of {tally.blocks_in_all}")


def _threshold(text: str) -> float:
    try:
        threshold = float(text.removeprefix("adaptive:"))
    except ValueError:
        threshold = -1
    if not 0 <= threshold < float("inf"):
        raise ConfigError(
            f"--cache {text}: no threshold", hint="--cache adaptive:0.1: the larger, the faster"
        )
    return threshold
