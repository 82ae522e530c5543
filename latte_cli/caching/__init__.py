"""Denoising steps that use again what an earlier step computed.

Consecutive steps see nearly the same clip, so parts of the network give nearly the same output. A
network is not changed for it: for the time of a `with` its blocks, or their attentions, answer from
memory where a policy says so.
"""

from latte_cli.caching.broadcast import AttentionBroadcast
from latte_cli.caching.calibrating import Calibrated, calibrate, mean_psnr, refuse_speeds
from latte_cli.caching.choosing import (
    NO_CACHE,
    CacheOptions,
    choose_policy,
    policy_name,
    sampling_with_cache,
)
from latte_cli.caching.keys import CacheKey, CacheUse, Conditions
from latte_cli.caching.policies import Adaptive, Schedule
from latte_cli.caching.progress import Network, Policy, Tally, cached
from latte_cli.caching.stored import (
    CalibratedCache,
    find_cache,
    parse_speed,
    place_for,
    read_cache,
    write_cache,
)
from latte_cli.caching.uses import cache_use, trained_size

__all__ = [
    "NO_CACHE",
    "Adaptive",
    "AttentionBroadcast",
    "CacheKey",
    "CacheOptions",
    "CacheUse",
    "Calibrated",
    "CalibratedCache",
    "Conditions",
    "Network",
    "Policy",
    "Schedule",
    "Tally",
    "cache_use",
    "cached",
    "calibrate",
    "choose_policy",
    "find_cache",
    "mean_psnr",
    "parse_speed",
    "place_for",
    "policy_name",
    "read_cache",
    "refuse_speeds",
    "sampling_with_cache",
    "trained_size",
    "write_cache",
]
