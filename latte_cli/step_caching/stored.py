"""Calibrated schedules on disk: JSON files beside the weights that they are for."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from latte_cli.errors import CheckpointError, ConfigError
from latte_cli.files import write_text
from latte_cli.step_caching.policies import Schedule

_FORMAT = 1


@dataclass(frozen=True)
class CacheKey:
    """What a schedule was calibrated for.

    Attributes:
        weights_sha256: checksum of the network's file of weights.
        sampler: by name.
        steps: denoising steps.
    """

    weights_sha256: str
    sampler: str
    steps: int


@dataclass(frozen=True)
class CalibratedCache:
    """A schedule as it is stored.

    Attributes:
        key: what it is for.
        schedule: steps at which each pair of blocks is computed.
        speed: how many times fewer blocks that is, at least.
        guidance: scale that it was measured at.
        psnr_db: measured against clips drawn without it.
        blocks: evaluations measured.
        blocks_in_all: as many as there would have been without it.
        clips: that it was measured on.
    """

    key: CacheKey
    schedule: Schedule
    speed: float
    guidance: float
    psnr_db: float
    blocks: int
    blocks_in_all: int
    clips: int

    @property
    def file_name(self) -> str:
        """`cache-SAMPLER-STEPS-SPEEDx.json`."""
        return f"cache-{self.key.sampler}-{self.key.steps}-{self.speed:g}x.json"


def write_cache(folder: Path, cache: CalibratedCache) -> Path:
    """Write a schedule whole; its path."""
    values = asdict(cache)
    values.pop("schedule")
    values = {"format": _FORMAT, **values.pop("key"), **values}
    rows = ",\n".join(f"    {sorted(steps)}" for steps in cache.schedule.computed)
    head = json.dumps(values, indent=2).removesuffix("\n}")
    path = folder / cache.file_name
    write_text(path, f'{head},\n  "computed": [\n{rows}\n  ]\n}}\n')
    return path


def read_cache(path: Path, key: CacheKey) -> CalibratedCache:
    """Read a schedule that is to be used.

    Args:
        path: of the file.
        key: what it is to be used for.

    Raises:
        CheckpointError: if it is missing, broken, or for other weights, sampler or steps.
    """
    cache = _read(path)
    other = [
        f"{name} {there}, not {asked}"
        for name, there, asked in (
            ("the sampler", cache.key.sampler, key.sampler),
            ("steps", cache.key.steps, key.steps),
        )
        if there != asked
    ]
    if cache.key.weights_sha256 != key.weights_sha256:
        other.insert(0, "other weights")
    if other:
        raise CheckpointError(
            f"{path} was calibrated for {'; '.join(other)}",
            hint="`latte calibrate` makes one for these",
        )
    return cache


def find_cache(folder: Path, key: CacheKey, speed: float) -> CalibratedCache:
    """The schedule for a speed beside the weights.

    Args:
        folder: where the weights are.
        key: what it is to be used for.
        speed: how many times fewer blocks.

    Raises:
        CheckpointError: if there is none, or it cannot be used.
    """
    path = folder / f"cache-{key.sampler}-{key.steps}-{speed:g}x.json"
    if path.is_file():
        return read_cache(path, key)
    there = sorted(each.name for each in folder.glob("cache-*x.json"))
    raise CheckpointError(
        f"{folder} has no calibrated cache for {speed:g}x at {key.steps} steps of {key.sampler}"
        + (f"; it has {', '.join(there)}" if there else ""),
        hint=f"`latte calibrate --speed {speed:g}x`, of the same checkpoint, sampler and steps, "
        "makes one",
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
    key = CacheKey(str(values["weights_sha256"]), str(values["sampler"]), int(values["steps"]))
    return CalibratedCache(
        key,
        Schedule(tuple(_steps(row, key.steps) for row in values["computed"])),
        speed=float(values["speed"]),
        guidance=float(values["guidance"]),
        psnr_db=float(values["psnr_db"]),
        blocks=int(values["blocks"]),
        blocks_in_all=int(values["blocks_in_all"]),
        clips=int(values["clips"]),
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
