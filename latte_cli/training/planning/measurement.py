"""A measurement of training steps, and the file that keeps it for the next plan."""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path

import torch

from latte_cli import __version__
from latte_cli.config import Config
from latte_cli.runtime.devices import device_name
from latte_cli.runtime.files import write_text

USABLE = 0.92
"""Share of the memory that a run may count on: allocators leave gaps."""

_MAX_AGE = timedelta(days=7)
_MAX_PEAK_RATIO = 1.5


@dataclass(frozen=True)
class Measurement:
    """Time and memory of training steps on one device.

    Attributes:
        when: date and time, ISO 8601.
        clips: in each timed step; below 1 where only a clip of fewer frames fits.
        steps: how many were timed.
        seconds: of one step, on average.
        peak: of a matrix product on this device, operations a second.
        memory: (clips, peak bytes) of steps of different sizes, fewest clips first.
        load: processes that were running when it began, on average over a minute; None: unknown.
        cpus: that they shared.
    """

    when: str
    clips: float
    steps: int
    seconds: float
    peak: float
    memory: list[tuple[float, int]]
    load: float | None = None
    cpus: int = 0

    @property
    def clips_per_s(self) -> float:
        """Clips a second."""
        return self.clips / self.seconds

    @property
    def circumstances(self) -> str:
        """When it was measured, and what else the machine was doing, as a message."""
        day, _, time = self.when.partition("T")
        return f"{day} {time[:5]} UTC" + (f" {self.busy}" if self.busy else "")

    @property
    def busy(self) -> str:
        """The load when it began, as a message; empty if it is not known."""
        if self.load is None:
            return ""
        return f"under a load of {self.load:.1f} on {self.cpus} CPUs"

    def why_stale(self, peak: float) -> str | None:
        """Why it says little of the device as it is now; None if it may be used.

        Args:
            peak: of a matrix product now.
        """
        try:
            age = datetime.now(timezone.utc) - datetime.fromisoformat(self.when)
        except (ValueError, TypeError):  # TypeError: without a time zone
            return "it is not known when"
        if age < timedelta(days=-1):
            return "that is in the future"
        if age > _MAX_AGE:
            return f"{age.days} days ago"
        if max(peak, self.peak) > _MAX_PEAK_RATIO * min(peak, self.peak):
            return f"its peak was {self.peak / 1e12:.3g} TFLOP/s then, {peak / 1e12:.3g} now"
        return None

    def memory_of(self, clips: float) -> float:
        """Peak bytes of a step of this many clips, on the line through what was measured."""
        few, low = self.memory[0]
        return low + self._bytes_per_clip * (clips - few)

    def largest_batch(self, limit: int) -> int | None:
        """The clips that fit at a time, 0 where not one does; None where clips take no memory.

        Args:
            limit: bytes that the device has.
        """
        if self._bytes_per_clip <= 0:
            return None
        return max(0, int((USABLE * limit - self.memory_of(0)) // self._bytes_per_clip))

    @property
    def _bytes_per_clip(self) -> float:
        (few, low), (many, high) = self.memory[0], self.memory[-1]
        return (high - low) / (many - few) if many > few else 0.0


def current_load() -> float | None:
    """Processes that are running or waiting for a processor; None where it is not known."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):  # Windows has no such average
        return None


def measurement_path(
    folder: Path, config: Config, device: torch.device, dtype: torch.dtype
) -> Path:
    """The file that keeps a measurement, named by all that speed and memory depend on."""
    data, train, levels = config.data, config.train, config.diffusion.map_levels
    key = {
        "device": device_name(device),
        "precision": str(dtype),
        "versions": [__version__, torch.__version__],
        "network": config.model.model_dump(),
        "clip": [data.frames, data.num_images, config.latent_size, config.vae.latent_channels],
        "objective": config.diffusion.objective,
        "step": [train.batch_size // train.accumulate, train.checkpointing, train.compile],
        **({"kernels": train.kernels} if train.kernels != "auto" else {}),
        **({"averages": train.ema} if train.ema != "fixed" else {}),
        **({"optimizer": train.optimizer} if train.optimizer != "adamw" else {}),
        **({"guidance_target": train.guidance_target_from} if train.guidance_target else {}),
        **({"teacher": [train.teacher, train.teacher_guidance == 1]} if train.teacher else {}),
        **({"teacher_path": [train.teacher_steps, len(levels)]} if levels else {}),
        **({"teacher_reuse": train.teacher_reuse} if train.teacher_reuse > 1 else {}),
        **({"trainable": train.trainable} if train.trainable else {}),
        **({"lora": train.lora.model_dump()} if train.lora else {}),
        **({"route": train.route.model_dump()} if train.route else {}),
    }
    name = sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    return folder / "training" / f"{name}.json"


def read_measurement(path: Path) -> Measurement | None:
    """An earlier measurement; None where there is none that can be read."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        memory = [(clips, count) for clips, count in values["memory"]]
        return Measurement(**{**values, "memory": memory})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_measurement(path: Path, measurement: Measurement) -> None:
    """Keep a measurement for later; a folder that cannot be written to is no error."""
    with suppress(OSError):
        write_text(path, json.dumps(asdict(measurement)) + "\n")
