"""Metrics of a run: metrics.jsonl, `train.tracker`, and the loss by quarter of the noise scale."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latte_cli.config import Config
from latte_cli.models.designs import count_training_flops
from latte_cli.runtime.devices import matrix_peak, peak_memory, synchronize
from latte_cli.runtime.distributed import all_reduce_sum, is_main, world_size
from latte_cli.runtime.files import json_lines, read_json_lines, write_json_lines
from latte_cli.training.monitoring.tracker import Tracker
from latte_cli.training.step import StepMetrics

QUARTERS = 4
"""Parts of the noise scale: the first is nearly clean clips, the last nearly pure noise."""

Row = dict[str, float | None]
"""A line of metrics.jsonl; None stands for a value that is not known or not finite."""


class LossByQuarter:
    """Mean loss of the clips in each quarter of the noise scale, summed on the device.

    Clips whose loss is not finite are left out.

    Args:
        num_timesteps: of the noise scale.
        device: of timesteps and losses.
    """

    def __init__(self, num_timesteps: int, device: torch.device) -> None:
        self._num_timesteps = num_timesteps
        self._numbers = torch.arange(QUARTERS, device=device)
        self._sums = torch.zeros(2, QUARTERS, device=device)  # of losses, and of clips

    def add(self, t: Tensor, loss: Tensor) -> None:
        """Add clips, without waiting for the device.

        Args:
            t: timesteps, (b,) long.
            loss: of each clip, (b,) float.
        """
        quarter = (t * QUARTERS).div(self._num_timesteps, rounding_mode="floor")
        chosen = (quarter[:, None] == self._numbers) & loss.isfinite()[:, None]
        losses = torch.where(chosen, loss[:, None].float(), 0.0).sum(0)
        self._sums += torch.stack([losses, chosen.sum(0)])

    def pop(self) -> Tensor:
        """Return the sums of losses and of clips, (2, 4), still on the device; reset them."""
        sums, self._sums = self._sums, torch.zeros_like(self._sums)
        return sums


class MetricsLog:
    """metrics.jsonl and a tracker; steps that a resumed run takes again are dropped.

    Every process of a run has one and calls it at the same steps; the main one writes.

    Args:
        run: the run's folder.
        step: the step that the run is at.
        config: of the run.
        device: that it runs on.
        dtype: of its matrix products.

    Raises:
        ConfigError: if the library of `train.tracker` cannot be imported.
    """

    def __init__(
        self, run: Path, step: int, config: Config, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._path, self._device = run / "metrics.jsonl", device
        self._batch_size = config.train.batch_size
        self._by_quarter = LossByQuarter(config.diffusion.num_timesteps, device)
        self._rows: list[Row] = read_rows(self._path)
        self._tracker = Tracker(run, config)
        self._flops_per_clip = count_training_flops(config)
        self._peak = matrix_peak(device, dtype) * world_size()
        self.roll_back(step)

    def roll_back(self, step: int) -> None:
        """Drop what was logged after a step; those steps are taken again."""
        self._rows = [row for row in self._rows if (row["step"] or 0) <= step]
        if is_main():
            write_json_lines(self._path, self._rows)
        self._tracker.start_after(step, self._rows)
        self._by_quarter.pop()
        self._steps, self._since = 0, time.monotonic()

    def count(self, metrics: StepMetrics) -> None:
        """Count a step, without waiting for the device."""
        self._by_quarter.add(metrics.t, metrics.loss_per_clip)
        self._steps += 1

    def write(
        self,
        step: int,
        metrics: StepMetrics,
        lr: float,
        further: Mapping[str, float | None] | None = None,
    ) -> Row:
        """Fetch a step's metrics from the device and append a line; return the line.

        Losses by quarter are means over all steps since the last line, or since this process
        started; loss, mse, vlb and grad_norm are those of this step.

        Args:
            step: its number.
            metrics: of the step.
            lr: learning rate of the step.
            further: other values to log, for example held-out losses.
        """
        row: Row = {"step": step, **self._fetch(metrics), "lr": lr}
        now = time.monotonic()  # after the device has caught up
        rate = self._steps * self._batch_size / (now - self._since)
        self._steps, self._since = 0, now
        row |= {
            "clips_per_s": rate,
            "peak_share": self._flops_per_clip * rate / self._peak,
            "memory_gb": peak_memory(self._device) / 1e9,
            **(further or {}),
        }
        row = {key: _finite(value) for key, value in row.items()}
        self._rows.append(row)
        if is_main():
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json_lines([row]))
        self._tracker.write(row)
        return row

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the time of other work than training steps out of the rate."""
        synchronize(self._device)  # the steps before it count
        started = time.monotonic()
        try:
            yield
        finally:
            synchronize(self._device)
            self._since += time.monotonic() - started

    def lacks(self, step: int, key: str) -> bool:
        """Whether a step is logged, but without this value."""
        return any(row["step"] == step and key not in row for row in self._rows)

    def add(self, step: int, further: Row) -> None:
        """Add later results to the step's line, or to a line without loss if it was not logged."""
        new = {key: _finite(value) for key, value in further.items()}
        if new and (not self._rows or self._rows[-1]["step"] != step):
            self._rows.append({"step": step, "loss": None, "clips_per_s": None})
        if not new or new.items() <= self._rows[-1].items():
            return
        self._rows[-1] |= new
        if is_main():
            write_json_lines(self._path, self._rows)
        self._tracker.write({"step": step, **new})

    def close(self) -> None:
        """Finish what is written in the background."""
        self._tracker.close()

    def _fetch(self, metrics: StepMetrics) -> Row:
        """Fetch all values in one copy from the device; quarters include all processes' clips."""
        metrics_of_step = torch.stack([metrics.loss, metrics.mse, metrics.vlb, metrics.grad_norm])
        sums = all_reduce_sum(self._by_quarter.pop())
        loss, mse, vlb, norm, *rest = torch.cat([metrics_of_step, sums.flatten()]).tolist()
        quarters = {
            f"loss_q{number}": total / clips if clips else None
            for number, (total, clips) in enumerate(
                zip(rest[:QUARTERS], rest[QUARTERS:], strict=True), 1
            )
        }
        return {"loss": loss, "mse": mse, "vlb": vlb, **quarters, "grad_norm": norm}

    @property
    def losses(self) -> list[float]:
        """The loss of every logged step."""
        return [row["loss"] for row in self._rows if row.get("loss") is not None]  # type: ignore[misc]  # not None

    @property
    def loss_first_tenth(self) -> float | None:
        """Mean loss over the first tenth of the logged steps."""
        return _mean(self.losses[: max(1, len(self.losses) // 10)])

    @property
    def loss_last_tenth(self) -> float | None:
        """Mean loss over the last tenth of the logged steps."""
        return _mean(self.losses[-max(1, len(self.losses) // 10) :])

    @property
    def clips_per_s(self) -> float | None:
        """Median rate over the logged steps."""
        rates = sorted(rate for row in self._rows if (rate := row.get("clips_per_s")) is not None)
        return rates[len(rates) // 2] if rates else None


def _finite(value: float | None) -> float | None:
    """JSON has no number that is not finite."""
    return value if value is None or math.isfinite(value) else None


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a JSON-lines file of a run; empty if there is no file.

    Lines without a step are left out: power loss leaves zero bytes, and people write notes. So are
    lines in which a number that is computed with is none.
    """
    if not path.is_file():
        return []
    rows: list[Any] = read_json_lines(path, skip_damaged=True)
    return [row for row in rows if isinstance(row, dict) and _is_logged(row)]


def _is_logged(row: Mapping[str, Any]) -> bool:
    numbers = (row.get("loss"), row.get("clips_per_s"))
    is_damaged = any(not isinstance(number, (int, float, type(None))) for number in numbers)
    return isinstance(row.get("step"), int) and not is_damaged
