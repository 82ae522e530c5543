"""Seeing how a run goes: metrics.jsonl, previews, and whether it has diverged."""

import json
import math
import time
from pathlib import Path

from latte_cli.config import Config
from latte_cli.errors import CheckpointError
from latte_cli.files import read_json_lines, write_json_lines
from latte_cli.generation import ClipRequest, Generator, tile
from latte_cli.training.step import StepMetrics, TrainState
from latte_cli.vae import LatentCodec
from latte_cli.video_io import write_video

_PREVIEW_CLIPS = 8
_PREVIEW_STEPS = 25


class MetricsLog:
    """metrics.jsonl: one object a logged step; steps that a resumed run takes again are dropped."""

    def __init__(self, path: Path, step: int) -> None:
        self._path = path
        rows = read_json_lines(path) if path.is_file() else []
        self._rows = [row for row in rows if row["step"] <= step]
        write_json_lines(path, self._rows)
        self._clips, self._since = 0, time.monotonic()

    def count(self, clips: int) -> None:
        """Count clips towards the rate."""
        self._clips += clips

    def write(self, step: int, metrics: StepMetrics, lr: float) -> dict[str, float]:
        """Fetch a step's metrics from the device and append them."""
        now = time.monotonic()
        row = {
            "step": step,
            "loss": metrics.loss.item(),
            "mse": metrics.mse.item(),
            "vlb": metrics.vlb.item(),
            "grad_norm": metrics.grad_norm.item(),
            "lr": lr,
            "clips_per_s": self._clips / (now - self._since),
        }
        self._clips, self._since = 0, now
        self._rows.append(row)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        return row

    @property
    def loss_first_tenth(self) -> float | None:
        """Mean loss over the first tenth of the logged steps."""
        return self._mean_loss(self._rows[: max(1, len(self._rows) // 10)])

    @property
    def loss_last_tenth(self) -> float | None:
        """Mean loss over the last tenth of the logged steps."""
        return self._mean_loss(self._rows[-max(1, len(self._rows) // 10) :])

    @property
    def clips_per_s(self) -> float | None:
        """Median rate over the logged steps."""
        rates = sorted(row["clips_per_s"] for row in self._rows)
        return rates[len(rates) // 2] if rates else None

    @staticmethod
    def _mean_loss(rows: list[dict[str, float]]) -> float | None:
        return sum(row["loss"] for row in rows) / len(rows) if rows else None


def refuse_not_finite(step: int, metrics: StepMetrics) -> None:
    """Stop before a network that has diverged is saved over a good one."""
    loss, norm = metrics.loss.item(), metrics.grad_norm.item()
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise CheckpointError(
            f"the loss is {loss} and its gradient {norm} at step {step}: the run has diverged",
            hint="the same command goes on from the last checkpoint; a lower train.lr may help",
        )


def write_preview(state: TrainState, codec: LatentCodec, config: Config, folder: Path) -> Path:
    """Eight clips of the averaged network at fixed seeds and labels, as one video; its path."""
    sample = config.sample.model_copy(
        update={"sampler": "ddim", "steps": min(_PREVIEW_STEPS, config.diffusion.num_timesteps)}
    )
    generator = Generator(state.ema, codec, config.model_copy(update={"sample": sample}))
    classes = config.model.num_classes
    requests = [
        ClipRequest(index, config.sample.seed, index % classes if classes else None)
        for index in range(_PREVIEW_CLIPS)
    ]
    clips = [clip.frames for clip in generator.clips(requests)]
    path = folder / "previews" / f"step-{state.step:08d}.mp4"
    write_video(path, tile(clips, columns=4), config.sample.fps)
    return path
