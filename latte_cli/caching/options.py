"""From `--cache` and `--speed` to a policy, and sampling with it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from latte_cli.caching.attention_broadcast import AttentionBroadcast
from latte_cli.caching.block_skipping import Adaptive
from latte_cli.caching.cache_files import find_cache, read_cache
from latte_cli.caching.policy import Network, Policy, cached
from latte_cli.caching.sampling_setup import SamplingSetup
from latte_cli.config.cache_options import CacheOptions, parse_speed, parse_threshold
from latte_cli.runtime.console import Console


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
        return Adaptive(parse_threshold(options.cache))
    return read_cache(Path(options.cache), setup()).schedule


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
