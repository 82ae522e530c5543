"""LPIPS 0.1, a distance of images that follows human perception (Zhang et al. 2018)."""

# Axes: n frames, h height, w width, c channels, 3 color channels (RGB).

from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latte_cli.runtime.errors import ShapeError

_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)
_MIN_SIZE = 31  # height and width, pixels; smaller frames vanish in the second pooling
# AlexNet's convolutions: input and output width, size, stride, padding, max pooling before it.
_CONVOLUTIONS = {
    "features.0": (3, 64, 11, 4, 2, False),
    "features.3": (64, 192, 5, 1, 2, True),
    "features.6": (192, 384, 3, 1, 1, True),
    "features.8": (384, 256, 3, 1, 1, False),
    "features.10": (256, 256, 3, 1, 1, False),
}


class Lpips(nn.Module):
    """AlexNet's five convolutions and a weight for each of their channels, in eval mode.

    The weights are random until `load_published` is called.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(*shape[:5]) for shape in _CONVOLUTIONS.values())
        self.weights = nn.ParameterList(
            torch.zeros(shape[1], 1, 1) for shape in _CONVOLUTIONS.values()
        )
        self.register_buffer("shift", torch.tensor(_SHIFT).reshape(3, 1, 1))
        self.register_buffer("scale", torch.tensor(_SCALE).reshape(3, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distance of each frame from its counterpart, without resizing.

        Args:
            a: (n, h, w, 3) uint8, h and w at least 31.
            b: the same shape.

        Returns:
            (n,) float32, 0 for equal frames.

        Raises:
            ShapeError: if shapes differ, or frames are too small.
        """
        if a.shape != b.shape or a.ndim != 4 or a.shape[-1] != 3:
            raise ShapeError(
                f"frames of shapes {tuple(a.shape)} and {tuple(b.shape)}: both must be the same "
                "(n, h, w, 3)",
                hint="pair each frame with one of the same size",
            )
        if min(a.shape[1:3]) < _MIN_SIZE:
            raise ShapeError(
                f"frames of {tuple(a.shape[1:3])} pixels, LPIPS takes {_MIN_SIZE} or more",
                hint="leave LPIPS out, or compare larger frames",
            )
        total = torch.zeros(len(a), device=a.device)
        layers = zip(self._layers(a), self._layers(b), self.weights, strict=True)
        for layer_a, layer_b, weight in layers:
            squares = (_unit(layer_a) - _unit(layer_b)).square()
            total += (squares * weight).sum(dim=1).mean(dim=(1, 2))
        return total

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Load weights under their published names (`published_shapes`)."""
        ours = {}
        for number, name in enumerate(_CONVOLUTIONS):
            for part in ("weight", "bias"):
                ours[f"convolutions.{number}.{part}"] = state[f"{name}.{part}"]
            ours[f"weights.{number}"] = state[f"lin{number}.model.1.weight"][0]
        self.load_state_dict(ours, strict=False)

    def _layers(self, frames: Tensor) -> Iterator[Tensor]:
        """The output of each layer, (n, c, h, w)."""
        x = (frames.movedim(-1, 1).float() / 127.5 - 1 - self.shift) / self.scale
        for layer, (*_, pooled) in zip(self.convolutions, _CONVOLUTIONS.values(), strict=True):
            x = layer(F.max_pool2d(x, 3, 2) if pooled else x).relu_()
            yield x


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of AlexNet's convolutions and of the channel weights."""
    shapes: dict[str, tuple[int, ...]] = {}
    for number, (name, (width, out, size, *_)) in enumerate(_CONVOLUTIONS.items()):
        shapes[f"{name}.weight"] = (out, width, size, size)
        shapes[f"{name}.bias"] = (out,)
        shapes[f"lin{number}.model.1.weight"] = (1, out, 1, 1)
    return shapes


def _unit(x: Tensor) -> Tensor:
    """Normalize the channel vector of each position to length 1."""
    return x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)
