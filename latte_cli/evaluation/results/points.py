"""Points of a sweep: ways to draw, what their results go by, and which have no common table."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from latte_cli.caching import NO_CACHE, CacheOptions, policy_name
from latte_cli.checkpoints.folder import FOR_SAMPLING
from latte_cli.config import Config
from latte_cli.evaluation.evaluating import refuse_paired
from latte_cli.evaluation.sources.generated import cache_policy
from latte_cli.metrics.protocol import Protocol, differences, protocol_from
from latte_cli.runtime.errors import ConfigError


@dataclass(frozen=True)
class SweepPoint:
    """One way to draw.

    Attributes:
        settings: what is varied, and its value here.
        config: all of it.
        checkpoint: to draw from.
        cache: what is used again from step to step.
    """

    settings: Mapping[str, str]
    config: Config
    checkpoint: Path
    cache: CacheOptions = NO_CACHE


def in_words(settings: Mapping[str, str]) -> str:
    """What is varied, for people: `steps 10, guidance 4`."""
    return ", ".join(f"{key} {value}" for key, value in settings.items())


def common_protocol(points: Sequence[SweepPoint]) -> Protocol:
    """The protocol of all points; numbers of several would not belong into one table.

    Raises:
        ConfigError: if points differ in it, or in what else is measured of their clips; on metrics
            of paired videos.
    """
    first = points[0].config
    refuse_paired(first.eval.metrics)
    protocol = protocol_from(first)
    for point in points[1:]:
        if told := differences(protocol, protocol_from(point.config)):
            raise ConfigError(
                f"a sweep over what belongs to the protocol ({'; '.join(told)})",
                hint="evaluate these apart, by `latte eval`",
            )
        ours, theirs = first.eval.model_dump(), point.config.eval.model_dump()
        if others := [f"eval.{key}" for key in ours if ours[key] != theirs[key]]:
            raise ConfigError(
                f"a sweep over how clips are measured ({', '.join(others)})",
                hint=f"set it for all points, -o {others[0]}=VALUE; a sweep is over how they are "
                "drawn",
            )
    return protocol


def result_names(points: Sequence[SweepPoint]) -> list[str]:
    """What the result of each point goes by.

    Raises:
        ConfigError: if two points would have one result.
    """
    found: dict[str, SweepPoint] = {}
    for point in points:
        before = found.setdefault(_name(point), point)
        if before is not point:
            told = [in_words(each.settings) for each in (before, point)]
            same = f"{told[0]} twice" if told[0] == told[1] else " and ".join(told)
            raise ConfigError(
                f"the sweep asks for the same clips by {same}",
                hint="sweep over what clips depend on, such as steps, guidance, batch or cache, "
                "and each value once",
            )
    return list(found)


def _name(point: SweepPoint) -> str:
    """Of all that a point's clips depend on, and what is measured of them."""
    weights, config = point.checkpoint, point.config
    seen = (weights / FOR_SAMPLING[0] if weights.is_dir() else weights).stat()
    told = {
        "checkpoint": [str(weights.resolve()), seen.st_size, seen.st_mtime_ns],
        "network": config.model_dump(mode="json", include={"vae", "model", "diffusion"}),
        "sample": config.sample.model_dump(mode="json", exclude={"fps"}),
        "cache": policy_name(cache_policy(weights, config, point.cache)),
        "metrics": sorted(config.eval.metrics),
        "spread": [config.eval.draws, config.eval.resamples],
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
