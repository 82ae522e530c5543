"""Calibrated schedules on disk: JSON files beside the weights that they are for."""

import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from latte_cli.caching.keys import CacheKey, CacheUse, Conditions
from latte_cli.caching.policies import Schedule
from latte_cli.config.locations import cache_folder
from latte_cli.runtime.errors import CheckpointError, ConfigError, LatteWarning
from latte_cli.runtime.files import write_text

_FORMAT = 2


@dataclass(frozen=True)
class CalibratedCache:
    """A schedule as it is stored.

    Attributes:
        key: what it is for.
        conditions: of the clips that it was chosen on.
        schedule: steps at which each pair of blocks is computed.
        speed: how many times fewer blocks that is, at least.
        psnr_db: measured against clips drawn without it.
        blocks: evaluations measured.
        blocks_in_all: as many as there would have been without it.
        clips: that it was measured on.
    """

    key: CacheKey
    conditions: Conditions
    schedule: Schedule
    speed: float
    psnr_db: float
    blocks: int
    blocks_in_all: int
    clips: int

    @property
    def file_name(self) -> str:
        """`cache-SAMPLER-STEPS-gGUIDANCE-SPEEDx-WEIGHTS.json`; 8 digits of a checksum."""
        name = f"cache-{self.key.sampler}-{self.key.steps}-g{self.conditions.guidance:g}"
        return f"{name}-{self.speed:g}x-{self.key.weights_sha256[:8]}.json"


def place_for(weights: Path | None, key: CacheKey) -> Path:
    """Where a schedule is stored: beside the weights, or where `find_cache` looks, too.

    Args:
        weights: the folder that they are in; None, or one that may not be written to: the schedule
            goes to this user's cache folder.
        key: what the schedule is for.
    """
    if weights is not None and os.access(weights, os.W_OK):
        return weights
    return _apart(key)


def write_cache(folder: Path, cache: CalibratedCache) -> Path:
    """Write a schedule whole; its path."""
    values = asdict(cache)
    key, conditions = values.pop("key"), values.pop("conditions")
    rows = ",\n".join(f"    {sorted(steps)}" for steps in values.pop("schedule")["computed"])
    timesteps = list(key.pop("timesteps"))
    steps = {"steps": len(timesteps)}
    head = json.dumps({"format": _FORMAT, **key, **steps, **conditions, **values}, indent=2)
    head = head.removesuffix("\n}")
    path = folder / cache.file_name
    write_text(path, f'{head},\n  "timesteps": {timesteps},\n  "computed": [\n{rows}\n  ]\n}}\n')
    return path


def read_cache(path: Path, use: CacheUse) -> CalibratedCache:
    """Read a schedule that is to be used; a warning where it was calibrated on other clips.

    Args:
        path: of the file.
        use: what it is to be used for.

    Raises:
        CheckpointError: if it is missing, broken, or for another key.
    """
    cache = _read(path)
    if other := cache.key.differences(use.key):
        raise CheckpointError(
            f"{path} was calibrated for {'; '.join(other)}",
            hint="`latte calibrate` makes one for these",
        )
    if other := cache.conditions.differences(use.conditions, use.trained):
        text = (
            f"{path} was calibrated for {'; '.join(other)}: what it does to such clips has not "
            "been measured; `latte calibrate` with the same options makes one that fits"
        )
        warnings.warn(LatteWarning(text), stacklevel=2)
    return cache


def find_cache(folder: Path, use: CacheUse, speed: float) -> CalibratedCache:
    """The schedule of these weights for a speed; of several guidance scales the nearest one.

    Schedules of other weights may lie beside it: what they would raise is told where there is none
    that fits.

    Args:
        folder: where the weights are; this user's cache folder is looked through after it.
        use: what it is to be used for.
        speed: how many times fewer blocks.

    Raises:
        CheckpointError: if there is none, or it cannot be used.
    """
    key, asked = use.key, use.conditions[0].guidance
    places = [folder, _apart(key)]
    there = [path for place in places for path in sorted(place.glob("cache-*.json"))]
    found: list[tuple[bool, float, int, Path]] = []
    for path in there:
        if (guidance := _guidance_of(path.name, key, speed)) is not None:
            found.append((not _fits(path, key), abs(guidance - asked), len(found), path))
    if found:
        return read_cache(min(found)[-1], use)
    raise CheckpointError(
        f"{folder} has no calibrated cache for {speed:g}x at {key.steps} steps of {key.sampler}"
        + (f"; it has {', '.join(sorted(path.name for path in there))}" if there else ""),
        hint=f"`latte calibrate --speed {speed:g}x` makes one, of the same checkpoint or model, "
        "sampler and steps",
    )


def parse_speed(text: str) -> float:
    """`2x`, `2` or `1.5x` as a number.

    Raises:
        ConfigError: if it is none above 1.
    """
    try:
        speed = float(text.lower().removesuffix("x"))
    except ValueError:
        speed = math.nan
    if not 1 < speed < math.inf:
        raise ConfigError(f"--speed {text} is no speed", hint="--speed 2x: twice as fast")
    return speed


def _guidance_of(name: str, key: CacheKey, speed: float) -> float | None:
    """The scale in the name of a file for a sampler, steps and a speed; None for another file."""
    before, after = f"cache-{key.sampler}-{key.steps}-g", f"-{speed:g}x"
    # Files of before weights were part of the name are found, too.
    found = re.fullmatch(re.escape(before) + "(.+)" + re.escape(after) + r"(-[^-]+)?\.json", name)
    try:
        return None if found is None else float(found[1])
    except ValueError:  # no file of ours
        return None


def _fits(path: Path, key: CacheKey) -> bool:
    """Whether a file is whole, and for this key."""
    try:
        return not _read(path).key.differences(key)
    except CheckpointError:
        return False


def _apart(key: CacheKey) -> Path:
    """A folder for these weights that is not theirs."""
    name = hashlib.sha256(key.weights_sha256.encode()).hexdigest()[:16]
    return cache_folder() / "calibrated" / name


def _read(path: Path) -> CalibratedCache:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"{path}: no such cache", hint="off, pab, adaptive, or a file of `latte calibrate`"
        ) from error
    except ValueError as error:
        raise _broken(path) from error
    try:
        return _from_values(values)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise _broken(path) from error


def _from_values(values: Mapping[str, Any]) -> CalibratedCache:
    if values["format"] != _FORMAT:
        raise ValueError("another format")
    key = CacheKey(
        str(values["weights_sha256"]),
        str(values["sampler"]),
        str(values["objective"]),
        tuple(int(t) for t in values["timesteps"]),
    )
    return CalibratedCache(
        key,
        _conditions(values),
        Schedule(tuple(_steps(row, key.steps) for row in values["computed"])),
        speed=float(values["speed"]),
        psnr_db=float(values["psnr_db"]),
        blocks=int(values["blocks"]),
        blocks_in_all=int(values["blocks_in_all"]),
        clips=int(values["clips"]),
    )


def _conditions(values: Mapping[str, Any]) -> Conditions:
    size, channels = values["size"], values["guided_channels"]
    low, high = values["guidance_interval"]
    return Conditions(
        guidance=float(values["guidance"]),
        frames=int(values["frames"]),
        size=None if size is None else (int(size[0]), int(size[1])),
        eta=float(values["eta"]),
        guidance_interval=(float(low), float(high)),
        guided_channels=None if channels is None else int(channels),
    )


def _steps(row: Iterator[Any], steps: int) -> frozenset[int]:
    """A pair's steps; ValueError if they are no steps, or the first is not among them."""
    found = frozenset(row)
    if 0 not in found or not all(type(step) is int and 0 <= step < steps for step in found):
        raise ValueError("no steps")
    return found


def _broken(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path} is no calibrated cache, or broken", hint="`latte calibrate` makes a new one"
    )
