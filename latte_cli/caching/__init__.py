"""Caching across denoising steps: reuse what an earlier step computed.

Consecutive steps see nearly the same clip, so parts of the network give nearly the same output.
`cached` patches a network for the time of a `with`: where the policy says so, a block or an
attention returns its cached output instead of computing it.
"""

from latte_cli.caching.attention_broadcast import AttentionBroadcast
from latte_cli.caching.block_skipping import Adaptive, Schedule
from latte_cli.caching.cache_files import (
    CalibratedCache,
    cache_location,
    find_cache,
    read_cache,
    write_cache,
)
from latte_cli.caching.calibration import Calibrated, calibrate, check_speeds, mean_psnr
from latte_cli.caching.options import choose_policy, policy_name, sampling_with_cache
from latte_cli.caching.policy import Network, Policy, Tally, cached
from latte_cli.caching.sampling_setup import (
    CacheKey,
    Conditions,
    SamplingSetup,
    checkpoint_setup,
    trained_size,
)
from latte_cli.config.cache_options import (
    NO_CACHE,
    CacheOptions,
    check_cache_with_fifo,
    parse_speed,
)

__all__ = [
    "NO_CACHE",
    "Adaptive",
    "AttentionBroadcast",
    "CacheKey",
    "CacheOptions",
    "Calibrated",
    "CalibratedCache",
    "Conditions",
    "Network",
    "Policy",
    "SamplingSetup",
    "Schedule",
    "Tally",
    "cache_location",
    "cached",
    "calibrate",
    "check_cache_with_fifo",
    "check_speeds",
    "checkpoint_setup",
    "choose_policy",
    "find_cache",
    "mean_psnr",
    "parse_speed",
    "policy_name",
    "read_cache",
    "sampling_with_cache",
    "trained_size",
    "write_cache",
]
