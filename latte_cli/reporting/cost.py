"""What a run has cost so far and will cost to its end, from its log."""

# Axes: n logged steps.

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latte_cli.reporting.curves import column
from latte_cli.reporting.run_files import Row, RunFiles

_RECENT = 50  # logged steps whose median rate is taken for the rest of the run


@dataclass(frozen=True)
class Cost:
    """Time and work of a run.

    Attributes:
        seconds: of the training steps that are logged; previews, held-out losses, evaluations and
            checkpoints come on top.
        seconds_left: of the steps to come, at the rate of late; None if it is not known.
        devices: of the last start; None if that is not recorded.
        clips: seen so far.
        clips_per_s: of late, over all devices; None if it is not logged.
        passes: how often each video was seen on average; None if their number is not known.
    """

    seconds: float
    seconds_left: float | None
    devices: int | None
    clips: int | None
    clips_per_s: float | None
    passes: float | None

    @property
    def device_hours(self) -> float | None:
        """Hours so far, times devices."""
        return None if self.devices is None else self.seconds / 3600 * self.devices

    @property
    def device_hours_in_all(self) -> float | None:
        """Hours to the end, times devices."""
        if self.devices is None or self.seconds_left is None:
            return None
        return (self.seconds + self.seconds_left) / 3600 * self.devices


def cost_of(run: RunFiles) -> Cost:
    """Work out the cost of a run from its log."""
    batch = run.config.train.batch_size if run.config else None
    rates = rates_of(run.rows)
    rates = rates[np.isfinite(rates)]
    rate = float(np.median(rates[-_RECENT:])) if len(rates) else None
    clips = run.step * batch if batch else None
    left = None
    if run.total is not None and rate and batch:
        left = max(0, run.total - run.step) * batch / rate
    devices = run.starts[-1].get("devices") if run.starts else None
    videos = run.newest.videos if run.newest else 0
    return Cost(
        seconds=float(seconds_by_step(run.rows, batch)[1][-1]) if batch and run.rows else 0.0,
        seconds_left=left,
        devices=devices if isinstance(devices, int) else None,
        clips=clips,
        clips_per_s=rate,
        passes=clips / videos if clips and videos else None,
    )


def seconds_by_step(
    rows: Sequence[Row], batch: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Each logged step and the training time up to it in seconds, (n,) each.

    A logged rate is the mean since the line before. A line without a rate is taken to be as fast
    as the one before it.

    Args:
        rows: of metrics.jsonl, ascending.
        batch: clips of a step.
    """
    steps = np.array([row["step"] for row in rows], np.int64)
    rates = rates_of(rows)
    known = np.maximum.accumulate(np.where(np.isfinite(rates), np.arange(len(rows)), -1))
    filled = np.where(known >= 0, rates[known], math.inf)  # before the first rate: no time
    seconds = np.diff(steps, prepend=0).clip(0) * batch / filled
    return steps, seconds.cumsum()


def rates_of(rows: Sequence[Row]) -> NDArray[np.float64]:
    """Clips per second of each line, (n,); not finite where none is logged."""
    rates = column(rows, "clips_per_s")
    return np.where(rates > 0, rates, math.nan)
