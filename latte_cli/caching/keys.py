"""What a calibrated schedule is for, and how that differs from what it is to be used for."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class CacheKey:
    """What a schedule speaks of. With any other of these its numbers of steps mean nothing.

    Attributes:
        weights_sha256: checksum of the network's weights.
        sampler: ours by name, or the class of diffusers that a pipeline is published with.
        objective: what the network predicts: eps, v or flow.
        timesteps: what the network is told at each step, ascending.
    """

    weights_sha256: str
    sampler: str
    objective: str
    timesteps: tuple[int, ...]

    @property
    def steps(self) -> int:
        """Denoising steps."""
        return len(self.timesteps)

    def differences(self, asked: "CacheKey") -> list[str]:
        """What is other than asked for, in words; nothing if it is the same."""
        other = [
            f"{name} {there}, not {here}"
            for name, there, here in (
                ("the sampler", self.sampler, asked.sampler),
                ("steps", self.steps, asked.steps),
                ("the objective", self.objective, asked.objective),
            )
            if there != here
        ]
        if self.weights_sha256 != asked.weights_sha256:
            other.insert(0, "other weights")
        if not other and self.timesteps != asked.timesteps:
            other.append("other timesteps")
        return other


@dataclass(frozen=True)
class Conditions:
    """How the clips were drawn that a schedule was chosen on.

    Under other conditions it skips the same steps, but they are no longer the best ones, and what
    it does to clips has not been measured.

    Attributes:
        guidance: scale; 1 where a network has nothing to be guided by.
        frames: that the network saw at once.
        size: height and width of a frame, pixels; None: as the network was trained.
        eta: noise that ddim added.
        guidance_interval: timesteps guided, as shares of all.
        guided_channels: latent channels guided, from the first; None: all.
    """

    guidance: float
    frames: int
    size: tuple[int, int] | None = None
    eta: float = 0.0
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    guided_channels: int | None = None

    def differences(
        self, asked: Sequence["Conditions"], trained: tuple[int, int] | None = None
    ) -> list[str]:
        """What is other for any of some clips, in words; nothing if all is the same.

        Args:
            asked: of each kind of clips.
            trained: height and width that the network was trained on, pixels, which a size of None
                is the same as; None: not known.
        """
        found = []
        for field in fields(self):
            there = getattr(self, field.name)
            others = {getattr(each, field.name): None for each in asked}  # in their order
            others.pop(there, None)
            if field.name == "size" and there in (None, trained):
                others = {size: None for size in others if size not in (None, trained)}
            if others:
                words = " or ".join(_in_words(field.name, value) for value in others)
                name = field.name.replace("_", " ")
                found.append(f"{name} {_in_words(field.name, there)}, not {words}")
        return found


@dataclass(frozen=True)
class CacheUse:
    """What a schedule is to be used for.

    Attributes:
        key: what it must have been calibrated for.
        conditions: of the clips to draw, each kind once; at least one.
        trained: height and width of a frame that the network was trained on, pixels; None where
            that is not known, or conditions tell their size.
    """

    key: CacheKey
    conditions: tuple[Conditions, ...]
    trained: tuple[int, int] | None = None


def _in_words(name: str, value: Any) -> str:
    if value is None:
        return "as trained" if name == "size" else "all"
    if name == "size":
        return f"{value[0]}x{value[1]}"
    if isinstance(value, tuple):
        return " to ".join(f"{part:g}" for part in value)
    return f"{value:g}"
