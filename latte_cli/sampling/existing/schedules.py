"""Calibrated schedules that exist already: those of the same request are not made again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from latte_cli.caching import CalibratedCache, SamplingSetup
from latte_cli.caching.cache_files import cache_file_name, read_result
from latte_cli.runtime.console import Console
from latte_cli.sampling.existing.rule import is_there

_OUT = Path("calibrated")  # suggested where schedules lie beside the weights


def schedule_request(
    setup: SamplingSetup, clips: int, chosen: Mapping[str, Any]
) -> Mapping[str, Any]:
    """All that a schedule depends on, beside its speed.

    Args:
        setup: of the sampling, with one set of conditions.
        clips: that it is measured on.
        chosen: what else was chosen, JSON-compatible.
    """
    (conditions,) = setup.conditions
    weights = {"weights_sha256": setup.key.weights_sha256}
    values = {**weights, "clips": clips, **chosen, **asdict(conditions)}
    return dict(json.loads(json.dumps(values)))


def find_schedules(
    folder: Path,
    setup: SamplingSetup,
    speeds: Sequence[float],
    request: Mapping[str, Any],
    console: Console,
    *,
    out: Path | None,
    overwrite: bool,
) -> dict[Path, CalibratedCache]:
    """The schedules of a request that are stored already, by their files.

    Args:
        folder: of the schedules.
        setup: of the sampling, with one set of conditions.
        speeds: wanted.
        request: see `schedule_request`.
        console: shows which are there.
        out: the value of `--out`.
        overwrite: whether schedules of another request may be replaced.

    Raises:
        ExistsError: if one of another request is there, which may not be replaced.
    """
    (conditions,) = setup.conditions
    found = {}
    for speed in speeds:
        path = folder / cache_file_name(setup.key, conditions, speed)
        cache = read_result(path)
        stored = cache.request if cache is not None and cache.request else None
        there = is_there(path, stored, request, overwrite=overwrite, out=out or _OUT)
        if there and cache is not None:
            console.info(f"{path} is already there")
            found[path] = cache
    return found
