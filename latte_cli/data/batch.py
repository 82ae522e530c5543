"""A training batch: clips, and all the randomness that is spent on them."""

# Axes: b clips, f frames, i images, c latent channels, h w latent size.

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Clips and all the randomness that a training step spends on them.

    Attributes:
        x_start: scaled latents, (b, f + i, c, h, w) float32: a clip's frames, then images.
        noise: standard normal, shaped as x_start.
        t: timesteps, (b,) long.
        y: labels, some replaced by the null label, (b,) long; None for an unconditional network.
        y_image: the images' labels, (b, i) long, as y; None without images or labels.
        num_images: how many of the frames are images of joint training.
    """

    x_start: Tensor
    noise: Tensor
    t: Tensor
    y: Tensor | None
    y_image: Tensor | None = None
    num_images: int = 0

    @property
    def cond(self) -> dict[str, Any]:
        """What the network is told beside the timestep, as its keyword arguments."""
        labels = {"y": self.y, "y_image": self.y_image}
        told = {name: value for name, value in labels.items() if value is not None}
        return {**told, "num_images": self.num_images}

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device, copied without waiting."""
        return self._with_each(lambda value: value.to(device, non_blocking=True))

    def pinned(self) -> "Batch":
        """The same batch in memory that a GPU can copy from without waiting."""
        return self._with_each(Tensor.pin_memory)

    def _with_each(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        return replace(
            self,
            x_start=function(self.x_start),
            noise=function(self.noise),
            t=function(self.t),
            y=None if self.y is None else function(self.y),
            y_image=None if self.y_image is None else function(self.y_image),
        )
