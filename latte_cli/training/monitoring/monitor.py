"""Seeing how a run goes: metrics.jsonl, TensorBoard and previews."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from latte_cli.config import Config
from latte_cli.models.designs import count_training_flops
from latte_cli.runtime.distributed import all_reduce_sum, is_main, is_sharded, world_size
from latte_cli.runtime.files import write_json_lines
from latte_cli.runtime.machine import matrix_peak, peak_memory
from latte_cli.sampling.generation import ClipRequest, Generator, tile
from latte_cli.training.monitoring.rows import read_rows
from latte_cli.training.monitoring.tensorboard import TensorBoard
from latte_cli.training.state import TrainState
from latte_cli.training.step import StepMetrics
from latte_cli.vae import LatentCodec
from latte_cli.video_io import write_video

QUARTERS = 4
"""Parts of the noise scale: the first is nearly clean clips, the last nearly pure noise."""

Row = dict[str, float | None]
"""A line of metrics.jsonl; None stands for what is not known or not finite."""

_PREVIEW_CLIPS = 8
_PREVIEW_STEPS = 25


class LossByQuarter:
    """Mean loss of the clips of each quarter of the noise scale, added up on the device.

    Clips whose loss is not finite are left out.

    Args:
        num_timesteps: of the noise scale.
        device: where timesteps and losses lie.
    """

    def __init__(self, num_timesteps: int, device: torch.device) -> None:
        self._num_timesteps = num_timesteps
        self._numbers = torch.arange(QUARTERS, device=device)
        self._sums = torch.zeros(2, QUARTERS, device=device)  # of losses, and of clips

    def add(self, t: Tensor, loss: Tensor) -> None:
        """Count clips, without waiting for the device.

        Args:
            t: timesteps, (b,) long.
            loss: of each clip, (b,) float.
        """
        quarter = (t * QUARTERS).div(self._num_timesteps, rounding_mode="floor")
        chosen = (quarter[:, None] == self._numbers) & loss.isfinite()[:, None]
        losses = torch.where(chosen, loss[:, None].float(), 0.0).sum(0)
        self._sums += torch.stack([losses, chosen.sum(0)])

    def take(self) -> Tensor:
        """The sums of losses and of clips so far, (2, 4), still on the device; begins anew."""
        sums, self._sums = self._sums, torch.zeros_like(self._sums)
        return sums


@dataclass(frozen=True)
class _Work:
    """What a rate in clips is as a share of what the machine could do."""

    flops_per_clip: int
    peak: float

    @classmethod
    def of(cls, config: Config, device: torch.device, dtype: torch.dtype) -> "_Work":
        return cls(count_training_flops(config), matrix_peak(device, dtype) * world_size())

    def share(self, clips_per_s: float) -> float:
        return self.flops_per_clip * clips_per_s / self.peak


class MetricsLog:
    """metrics.jsonl and TensorBoard; steps that a resumed run takes again are dropped.

    Every process of a run has one and calls it at the same steps; the main one writes.

    Args:
        run: the run's folder.
        step: that the run is at.
        config: of the run.
        device: that it runs on.
        dtype: of its products.

    Raises:
        ConfigError: if TensorBoard is asked for and not installed.
    """

    def __init__(
        self, run: Path, step: int, config: Config, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._path, self._device = run / "metrics.jsonl", device
        self._clips_a_step = config.train.batch_size
        self._by_quarter = LossByQuarter(config.diffusion.num_timesteps, device)
        self._rows: list[Row] = read_rows(self._path)
        self._board: TensorBoard | None = None
        if config.train.tensorboard and is_main():
            self._board = TensorBoard(run / "tensorboard")
        self._work = _Work.of(config, device, dtype)
        self.go_back(step)

    def go_back(self, step: int) -> None:
        """Drop what was logged after a step, which is taken again."""
        self._rows = [row for row in self._rows if (row["step"] or 0) <= step]
        if is_main():
            write_json_lines(self._path, self._rows)
        if self._board is not None:
            self._board.begin(step)
        self._by_quarter.take()
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
        """Fetch a step's metrics from the device and append them.

        Losses by quarter are means over all steps since the last line, or, in the first line, since
        this process took the run up; loss, mse, vlb and grad_norm are those of this step.

        Args:
            step: its number.
            metrics: of the step.
            lr: learning rate of the step.
            further: what else to note, for example held-out losses.
        """
        row: Row = {"step": step, **self._fetched(metrics), "lr": lr}
        now = time.monotonic()  # after the device has caught up
        rate = self._steps * self._clips_a_step / (now - self._since)
        self._steps, self._since = 0, now
        row |= {
            "clips_per_s": rate,
            "peak_share": self._work.share(rate),
            "memory_gb": peak_memory(self._device) / 1e9,
            **(further or {}),
        }
        row = {key: _finite(value) for key, value in row.items()}
        self._rows.append(row)
        if is_main():
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            if self._board is not None:
                self._board.write(row)
        return row

    def add(self, step: int, further: Row) -> None:
        """Put numbers found later into the step's line; one that was not logged has no loss."""
        self._steps, self._since = 0, time.monotonic()
        new = {key: _finite(value) for key, value in further.items()}
        if new and (not self._rows or self._rows[-1]["step"] != step):
            self._rows.append({"step": step, "loss": None, "clips_per_s": None})
        if not new or new.items() <= self._rows[-1].items():
            return
        self._rows[-1] |= new
        if is_main():
            write_json_lines(self._path, self._rows)
            if self._board is not None:
                self._board.write({"step": step, **new})

    def close(self) -> None:
        """Finish what is written in the background."""
        if self._board is not None:
            self._board.close()

    def _fetched(self, metrics: StepMetrics) -> Row:
        """Everything in one copy from the device; quarters over the clips of all processes."""
        of_step = torch.stack([metrics.loss, metrics.mse, metrics.vlb, metrics.grad_norm])
        sums = all_reduce_sum(self._by_quarter.take())
        loss, mse, vlb, norm, *rest = torch.cat([of_step, sums.flatten()]).tolist()
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
    """JSON has no word for what is not finite."""
    return value if value is None or math.isfinite(value) else None


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def write_preview(state: TrainState, codec: LatentCodec, config: Config, folder: Path) -> Path:
    """Eight clips of the averaged network at fixed seeds and labels, as one video; its path.

    Every process of a run calls it at the same step. The main one draws and writes; where the
    network is sharded all draw, since each holds a part.
    """
    path = folder / "previews" / f"step-{state.step:08d}.mp4"
    if not is_main() and not is_sharded(next(state.ema.parameters())):
        return path
    quick = "ddim" if config.sample.sampler == "ddpm" else config.sample.sampler
    steps = min(_PREVIEW_STEPS, config.diffusion.num_timesteps)
    sample = config.sample.model_copy(update={"sampler": quick, "steps": steps})
    generator = Generator(state.ema, codec, config.model_copy(update={"sample": sample}))
    classes = config.model.num_classes
    requests = [
        ClipRequest(index, config.sample.seed, index % classes if classes else None)
        for index in range(_PREVIEW_CLIPS)
    ]
    clips = [clip.frames for clip in generator.clips(requests)]
    if is_main():
        write_video(path, tile(clips, columns=4), config.sample.fps)
    return path
