"""The clips of a training step, with everything that is random about them."""

# Axes: b clips, f frames, i images, c latent channels, h w latent size.

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from latte_cli.data.texts.batches import Texts


@dataclass(frozen=True)
class Batch:
    """Training clips, and all the randomness that a training step uses on them.

    Attributes:
        x_start: scaled latents, (b, f + i, c, h, w) float32: a clip's frames, then images.
        noise: standard normal, shaped as x_start.
        t: timesteps, (b,) long.
        end: timesteps that the steps of a flow map lead to, (b,) long, -1 for the clean clip; None
            for other objectives.
        y: labels, some replaced by the null label, (b,) long; None for an unconditional network.
        teacher_y: labels for `train.teacher` of a network that takes text, (b,) long, -1 where its
            caption is replaced by the null text; else None.
        y_image: the images' labels, (b, i) long, as y; None without images or labels.
        num_images: how many of the frames are images of joint training.
        positions: of each clip's tokens that do not wait, (b, k) long; None without routing.
        texts: captions of the clips, some replaced by the null text; None without captions.
        image_texts: the images' captions, (b, i) of them, as texts; None without images or
            captions.
    """

    x_start: Tensor
    noise: Tensor
    t: Tensor
    y: Tensor | None
    y_image: Tensor | None = None
    num_images: int = 0
    end: Tensor | None = None
    positions: Tensor | None = None
    texts: Texts | None = None
    image_texts: Texts | None = None
    teacher_y: Tensor | None = None

    @property
    def cond(self) -> dict[str, Any]:
        """The network's conditioning besides the timesteps, as keyword arguments."""
        values = {"y": self.y, "y_image": self.y_image}
        for name, texts in (("text", self.texts), ("text_image", self.image_texts)):
            if texts is not None:
                values |= {name: texts.tokens.float(), f"{name}_mask": texts.mask}
        given = {name: value for name, value in values.items() if value is not None}
        return {**given, "num_images": self.num_images}

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device, copied without blocking."""
        return self._map(lambda value: value.to(device, non_blocking=True))

    def pinned(self) -> "Batch":
        """The same batch in pinned memory, from which copies to a GPU do not block."""
        return self._map(Tensor.pin_memory)

    def _map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        return replace(
            self,
            x_start=function(self.x_start),
            noise=function(self.noise),
            t=function(self.t),
            y=None if self.y is None else function(self.y),
            teacher_y=None if self.teacher_y is None else function(self.teacher_y),
            y_image=None if self.y_image is None else function(self.y_image),
            end=None if self.end is None else function(self.end),
            positions=None if self.positions is None else function(self.positions),
            texts=None if self.texts is None else self.texts.map(function),
            image_texts=None if self.image_texts is None else self.image_texts.map(function),
        )
