"""Denoising steps that use again what an earlier step computed.

Consecutive steps see nearly the same clip, so parts of the network give nearly the same output. A
network is not changed for it: for the time of a `with` its blocks, or their attentions, answer from
memory where a policy says so.
"""

from latte_cli.step_caching.broadcast import AttentionBroadcast
from latte_cli.step_caching.calibrating import Calibrated, calibrate, mean_psnr
from latte_cli.step_caching.choosing import (
    NO_CACHE,
    CacheOptions,
    choose_policy,
    drawing_with,
    policy_name,
)
from latte_cli.step_caching.policies import Adaptive, Schedule
from latte_cli.step_caching.stored import (
    CacheKey,
    CalibratedCache,
    find_cache,
    parse_speed,
    read_cache,
    write_cache,
)
from latte_cli.step_caching.walk import Policy, Tally, cached

__all__ = [
    "NO_CACHE",
    "Adaptive",
    "AttentionBroadcast",
    "CacheKey",
    "CacheOptions",
    "Calibrated",
    "CalibratedCache",
    "Policy",
    "Schedule",
    "Tally",
    "cached",
    "calibrate",
    "choose_policy",
    "drawing_with",
    "find_cache",
    "mean_psnr",
    "parse_speed",
    "policy_name",
    "read_cache",
    "write_cache",
]
