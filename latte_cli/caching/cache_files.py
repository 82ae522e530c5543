"""Calibrated schedules on disk: JSON files beside the weights that they are for."""

import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from latte_cli.caching.block_skipping import Schedule
from latte_cli.caching.sampling_setup import CacheKey, Conditions, SamplingSetup
from latte_cli.config.cache_options import CACHE_FORMAT, broken_cache, read_cache_values
from latte_cli.runtime.errors import CheckpointError, LatteWarning
from latte_cli.runtime.files import cache_folder, write_text


@dataclass(frozen=True)
class CalibratedCache:
    """A schedule as it is stored; the names are the keys of the file.

    Attributes:
        key: what it is for.
        conditions: of the clips that it was chosen on.
        schedule: steps at which each pair of blocks is computed.
        speed: how many times fewer blocks that is, at least.
        psnr_db: measured against clips without a cache.
        blocks: computed while it was measured.
        blocks_in_all: as many as there would have been without a cache.
        clips: that it was measured on.
        request: all that it was calibrated by; empty if unknown.
    """

    key: CacheKey
    conditions: Conditions
    schedule: Schedule
    speed: float
    psnr_db: float
    blocks: int
    blocks_in_all: int
    clips: int
    request: Mapping[str, Any] = field(default_factory=dict)


def cache_file_name(key: CacheKey, conditions: Conditions, speed: float) -> str:
    """`cache-SAMPLER-STEPS-gGUIDANCE-SPEEDx-WEIGHTS.json`; 8 digits of a checksum."""
    name = f"cache-{key.sampler}-{key.steps}-g{conditions.guidance:g}"
    return f"{name}-{speed:g}x-{key.weights_sha256[:8]}.json"


def cache_location(weights: Path | None, key: CacheKey) -> Path:
    """The folder in which a schedule is stored; `find_cache` searches it.

    Args:
        weights: their folder; if None or not writable, the user's cache folder is taken.
        key: what the schedule is for.
    """
    if weights is not None and os.access(weights, os.W_OK):
        return weights
    return _user_folder(key)


def write_cache(folder: Path, cache: CalibratedCache) -> Path:
    """Write a schedule atomically; returns its path."""
    values = asdict(cache)
    key, conditions = values.pop("key"), values.pop("conditions")
    rows = ",\n".join(f"    {sorted(steps)}" for steps in values.pop("schedule")["computed"])
    timesteps = list(key.pop("timesteps"))
    steps = {"steps": len(timesteps)}
    head = json.dumps({"format": CACHE_FORMAT, **key, **steps, **conditions, **values}, indent=2)
    head = head.removesuffix("\n}")
    path = folder / cache_file_name(cache.key, cache.conditions, cache.speed)
    write_text(path, f'{head},\n  "timesteps": {timesteps},\n  "computed": [\n{rows}\n  ]\n}}\n')
    return path


def read_cache(path: Path, setup: SamplingSetup) -> CalibratedCache:
    """Read a schedule; warn if it was calibrated under other conditions.

    Args:
        path: of the file.
        setup: the sampling run that it is to be used for.

    Raises:
        CheckpointError: if it is missing, broken, or for another key.
    """
    cache = _read(path)
    if different := cache.key.differences(setup.key):
        raise CheckpointError(
            f"{path} was calibrated for {'; '.join(different)}",
            hint="`latte calibrate` makes one for these",
        )
    if different := cache.conditions.differences(setup.conditions, setup.trained):
        message = (
            f"{path} was calibrated for {'; '.join(different)}: its effect on such clips has not "
            "been measured; `latte calibrate` with the same options makes one that fits"
        )
        warnings.warn(LatteWarning(message), stacklevel=2)
    return cache


def read_result(path: Path) -> CalibratedCache | None:
    """The schedule of a file, for whatever it is; None if it cannot be read."""
    try:
        return _read(path)
    except CheckpointError:
        return None


def find_cache(folder: Path, setup: SamplingSetup, speed: float) -> CalibratedCache:
    """The schedule of these weights for a speed; of several guidance scales the nearest one.

    If only schedules of other weights are found, reading the nearest raises the error that says so.

    Args:
        folder: of the weights; the user's cache folder is searched after it.
        setup: the sampling run that it is to be used for.
        speed: how many times fewer blocks.

    Raises:
        CheckpointError: if there is none, or it cannot be used.
    """
    key, guidance = setup.key, setup.conditions[0].guidance
    folders = [folder, _user_folder(key)]
    paths = [path for each in folders for path in sorted(each.glob("cache-*.json"))]
    candidates: list[tuple[bool, float, int, Path]] = []
    for path in paths:
        if (scale := _guidance_of(path.name, key, speed)) is not None:
            candidates.append((not _fits(path, key), abs(scale - guidance), len(candidates), path))
    if candidates:
        return read_cache(min(candidates)[-1], setup)
    raise CheckpointError(
        f"{folder} has no calibrated cache for {speed:g}x at {key.steps} steps of {key.sampler}"
        + (f"; it has {', '.join(sorted(path.name for path in paths))}" if paths else ""),
        hint=f"`latte calibrate --speed {speed:g}x` makes one, of the same checkpoint or model, "
        "sampler and steps",
    )


def _guidance_of(name: str, key: CacheKey, speed: float) -> float | None:
    """The scale in the name of a file for a sampler, steps and a speed; None for another file."""
    prefix, suffix = f"cache-{key.sampler}-{key.steps}-g", f"-{speed:g}x"
    # Older files do not have the checksum of the weights in their names.
    found = re.fullmatch(re.escape(prefix) + "(.+)" + re.escape(suffix) + r"(-[^-]+)?\.json", name)
    try:
        return None if found is None else float(found[1])
    except ValueError:  # not written by `write_cache`
        return None


def _fits(path: Path, key: CacheKey) -> bool:
    """Whether a file can be read, and is for this key."""
    try:
        return not _read(path).key.differences(key)
    except CheckpointError:
        return False


def _user_folder(key: CacheKey) -> Path:
    """The folder for these weights in the user's cache folder."""
    name = hashlib.sha256(key.weights_sha256.encode()).hexdigest()[:16]
    return cache_folder() / "calibrated" / name


def _read(path: Path) -> CalibratedCache:
    try:
        return _parse(read_cache_values(path))
    except (TypeError, KeyError, ValueError) as error:
        raise broken_cache(path) from error


def _parse(values: Mapping[str, Any]) -> CalibratedCache:
    key = TypeAdapter(CacheKey).validate_python(values)
    computed = tuple(_parse_steps(row, key.steps) for row in values["computed"])
    nested = {"key": key, "conditions": values, "schedule": {"computed": computed}}
    return TypeAdapter(CalibratedCache).validate_python({**values, **nested})


def _parse_steps(row: Iterator[Any], steps: int) -> frozenset[int]:
    """A pair's steps; ValueError if one is not a step, or the first is not among them."""
    found = frozenset(row)
    if 0 not in found or not all(type(step) is int and 0 <= step < steps for step in found):
        raise ValueError("not steps")
    return found
