"""What training steps took on a device: in numbers, and kept for the next time."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import torch

from latte_cli import __version__
from latte_cli.config import Config
from latte_cli.runtime.files import write_text
from latte_cli.runtime.machine import device_name

USABLE = 0.92
"""Share of the memory that a run may count on: allocators leave gaps."""

CHECKPOINT_BYTES = 16
"""Of a checkpoint for each parameter: weights, average and AdamW's two moments, in float32."""

_GRADIENT_BYTES = 4


@dataclass(frozen=True)
class Measurement:
    """Training steps on one device.

    Attributes:
        when: date and time, ISO 8601.
        clips: in each measured step; less than 1 where a clip of fewer frames is all that fits.
        steps: how many were measured.
        seconds: that one of them took, on average.
        peak: of a matrix product on this device, operations a second.
        memory: the most bytes that steps of some numbers of clips held, fewest clips first.
    """

    when: str
    clips: float
    steps: int
    seconds: float
    peak: float
    memory: list[tuple[float, int]]

    @property
    def clips_per_s(self) -> float:
        """The rate."""
        return self.clips / self.seconds

    def memory_of(self, clips: float) -> float:
        """The bytes that a step of so many clips holds, on the line through what was measured."""
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


def bytes_of_copies(parameters: int, device: torch.device) -> int:
    """What is copied to be written as a checkpoint, where that takes memory of the device."""
    return CHECKPOINT_BYTES * parameters if device.type == "cpu" else 0


def bytes_without_clips(parameters: int, device: torch.device) -> int:
    """What a training run of a network holds, its clips apart."""
    own = (CHECKPOINT_BYTES + _GRADIENT_BYTES) * parameters
    return own + bytes_of_copies(parameters, device)


def place_of_measurement(
    folder: Path, config: Config, device: torch.device, dtype: torch.dtype
) -> Path:
    """Where a measurement is kept: by all that speed and memory depend on."""
    data, train = config.data, config.train
    told = {
        "device": device_name(device),
        "precision": str(dtype),
        "versions": [__version__, torch.__version__],
        "network": config.model.model_dump(),
        "clip": [data.frames, data.num_images, config.latent_size, config.vae.latent_channels],
        "objective": config.diffusion.objective,
        "step": [train.batch_size // train.accumulate, train.checkpointing, train.compile],
    }
    name = sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    return folder / "training" / f"{name}.json"


def kept_measurement(path: Path) -> Measurement | None:
    """An earlier measurement; None where there is none that can be read."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        memory = [(clips, count) for clips, count in values["memory"]]
        return Measurement(**{**values, "memory": memory})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def keep_measurement(path: Path, measurement: Measurement) -> None:
    """Write it for later; a folder that cannot be written to is no reason to fail."""
    with suppress(OSError):
        write_text(path, json.dumps(asdict(measurement)) + "\n")
