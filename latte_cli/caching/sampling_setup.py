"""What a calibrated schedule belongs to, and how a sampling run differs from that."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from latte_cli.config import Config
from latte_cli.config.cache_options import check_cacheable
from latte_cli.diffusion import Diffusion, build_sampler
from latte_cli.models.trained import weights_checksum


@dataclass(frozen=True)
class CacheKey:
    """What a schedule is valid for: with any other value its step numbers mean nothing.

    Attributes:
        weights_sha256: checksum of the network's weights.
        sampler: ours by name, or the diffusers class that a pipeline is published with.
        objective: what the network predicts: eps, v or flow.
        timesteps: of the denoising steps, ascending.
    """

    weights_sha256: str
    sampler: str
    objective: str
    timesteps: tuple[int | float, ...]

    @property
    def steps(self) -> int:
        """Denoising steps."""
        return len(self.timesteps)

    def differences(self, other: "CacheKey") -> list[str]:
        """Messages that name what differs from another key; empty if nothing does."""
        found = [
            f"{name} {here}, not {there}"
            for name, here, there in (
                ("the sampler", self.sampler, other.sampler),
                ("steps", self.steps, other.steps),
                ("the objective", self.objective, other.objective),
            )
            if here != there
        ]
        if self.weights_sha256 != other.weights_sha256:
            found.insert(0, "other weights")
        if not found and self.timesteps != other.timesteps:
            found.append("other timesteps")
        return found


@dataclass(frozen=True)
class Conditions:
    """The sampling settings that a schedule was calibrated under.

    Under others it skips the same steps, but they are no longer the best ones, and their effect on
    the clips has not been measured.

    Attributes:
        guidance: scale; 1 for an unconditional network.
        frames: that the network sees at once.
        size: height and width of a frame, pixels; None: as the network was trained.
        eta: noise that ddim adds.
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
        self, others: Sequence["Conditions"], trained: tuple[int, int] | None = None
    ) -> list[str]:
        """Messages that name what differs from any of other conditions; empty if nothing does.

        Args:
            others: of each kind of clips to sample.
            trained: height and width that the network was trained on, pixels, which a size of None
                stands for; None: not known.
        """
        found = []
        for field in fields(self):
            here = getattr(self, field.name)
            there = dict.fromkeys(getattr(each, field.name) for each in others)
            there.pop(here, None)
            if field.name == "size" and here in (None, trained):
                there = {size: None for size in there if size not in (None, trained)}
            if there:
                values = " or ".join(_format(field.name, value) for value in there)
                name = field.name.replace("_", " ")
                found.append(f"{name} {_format(field.name, here)}, not {values}")
        return found


@dataclass(frozen=True)
class SamplingSetup:
    """A sampling run as far as a calibrated schedule depends on it.

    Attributes:
        key: what the schedule must have been calibrated for.
        conditions: of the clips to sample, each kind once; at least one.
        trained: height and width of a frame that the network was trained on, pixels; None where
            that is not known, or conditions always have a size.
    """

    key: CacheKey
    conditions: tuple[Conditions, ...]
    trained: tuple[int, int] | None = None


def checkpoint_setup(checkpoint: Path, config: Config, frames: int | None = None) -> SamplingSetup:
    """The setup of sampling from a class-conditional or unconditional checkpoint.

    Args:
        checkpoint: a folder, or a file of weights.
        config: `diffusion` and `sample` are read, `data.size`, `data.frames` and the labels.
        frames: that the network sees at once; None: `data.frames`.

    Raises:
        ConfigError: if the sampler does not go with the objective or the number of steps.
    """
    sample, size = config.sample, config.data.size
    check_cacheable(config.diffusion, sample)
    diffusion = Diffusion(**config.diffusion.model_dump())
    sampler = build_sampler(sample.sampler, diffusion, sample.steps, sample.eta)
    key = CacheKey(
        weights_checksum(checkpoint),
        sample.sampler,
        config.diffusion.objective,
        tuple(sampler.timesteps),
    )
    conditions = Conditions(1.0, frames or config.data.frames, (size, size), sample.eta)
    if config.model.num_classes is not None and sample.guidance != 1:
        conditions = replace(
            conditions,
            guidance=sample.guidance,
            guidance_interval=sample.guidance_interval,
            guided_channels=sample.guided_channels,
        )
    return SamplingSetup(key, (conditions,))


def trained_size(network: Path, autoencoder: Path) -> tuple[int, int] | None:
    """Height and width of a frame that a pipeline's network was trained on, pixels.

    Args:
        network: folder of the network, in diffusers' layout.
        autoencoder: folder of the one that decodes its latents.

    Returns:
        What their configurations say; None if they do not, or cannot be read.
    """
    try:
        side, levels = (
            json.loads((folder / "config.json").read_text(encoding="utf-8"))[name]
            for folder, name in ((network, "sample_size"), (autoencoder, "block_out_channels"))
        )
        pixels = int(side) * 2 ** (len(levels) - 1)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return pixels, pixels


def _format(name: str, value: Any) -> str:
    if value is None:
        return "as trained" if name == "size" else "all"
    if name == "size":
        return f"{value[0]}x{value[1]}"
    if isinstance(value, tuple):
        return " to ".join(f"{part:g}" for part in value)
    return f"{value:g}"
