"""C3D finetuned on UCF101; the Inception Score of videos is computed from its class probabilities.

The network is Tran et al.'s (2015) as TGAN's authors converted it (Saito et al. 2017 and 2020),
with pooling that includes the last odd row. Whole frames are resized to 112 x 112.
"""

# Axes: b clips, f frames, h height, w width, c channels, 3 color channels.

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latte_cli.metrics.networks.layers import channels_last, convolve
from latte_cli.runtime.errors import ShapeError

FRAMES = 16
CLASSES = 101
SIZE = 112
MEAN_SHAPE = (3, FRAMES, 128, 171)  # of the mean clip; channel order B, G, R
_CROP = slice(8, 8 + SIZE)

_CONVOLUTIONS = {
    "conv1a": (3, 64),
    "conv2a": (64, 128),
    "conv3a": (128, 256),
    "conv3b": (256, 256),
    "conv4a": (256, 512),
    "conv4b": (512, 512),
    "conv5a": (512, 512),
    "conv5b": (512, 512),
}
_LINEAR = {"fc6": (8192, 4096), "fc7": (4096, 4096), "fc8": (4096, CLASSES)}
_POOLED = ("conv1a", "conv2a", "conv3b", "conv4b", "conv5b")  # followed by pooling


class C3D(nn.Module):
    """The network, in eval mode, with random weights until `load_published` is called."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleDict(
            {name: nn.Conv3d(*widths, 3, padding=1) for name, widths in _CONVOLUTIONS.items()}
        )
        self.fc6, self.fc7, self.fc8 = (nn.Linear(*widths) for widths in _LINEAR.values())
        self.register_buffer("mean", torch.zeros(1, 3, FRAMES, SIZE, SIZE))
        self.eval().requires_grad_(False)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Features and logits of clips.

        Args:
            frames: (b, 16, h, w, 3) uint8 RGB; resized here.

        Returns:
            `fc7`, (b, 4096) float32, and logits of UCF101's classes, (b, 101).

        Raises:
            ShapeError: if clips are not of 16 frames.
        """
        x = self.preprocess(frames)
        for name, layer in self.convolutions.items():
            assert isinstance(layer, nn.Conv3d)
            x = convolve(layer, x)
            if name in _POOLED:
                size = (1, 2, 2) if name == "conv1a" else (2, 2, 2)
                x = F.max_pool3d(x, size, ceil_mode=True)
        features = self.fc7(self.fc6(x.flatten(1)).relu_()).relu_()
        return features, self.fc8(features)

    def preprocess(self, frames: Tensor) -> Tensor:
        """Resize clips and subtract the mean clip.

        Args:
            frames: (b, 16, h, w, 3) uint8 RGB.

        Returns:
            (b, 3, 16, 112, 112) float32, channel order B, G, R.

        Raises:
            ShapeError: if these are not clips of 16 frames.
        """
        if frames.ndim != 5 or frames.shape[1] != FRAMES or frames.shape[-1] != 3:
            raise ShapeError(
                f"clips of shape {tuple(frames.shape)}: C3D takes (b, {FRAMES}, h, w, 3)",
                hint=f"cut clips of {FRAMES} frames",
            )
        pixels = frames.flip(-1).flatten(0, 1).movedim(-1, 1).float()
        # Without antialiasing, and corner pixels stay corner pixels, as in Chainer.
        pixels = F.interpolate(pixels, (SIZE, SIZE), mode="bilinear", align_corners=True)
        resized: Tensor = pixels.unflatten(0, frames.shape[:2])
        return resized.movedim(2, 1) - self.mean

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Load weights under their published names (`published_shapes`)."""
        ours = {
            f"convolutions.{name}" if name.startswith("conv") else name: tensor
            for name, tensor in state.items()
        }
        ours["mean"] = state["mean"][None, :, :, _CROP, _CROP].clone()
        self.load_state_dict(ours)
        channels_last(self)


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights, and of the mean clip."""
    shapes: dict[str, tuple[int, ...]] = {"mean": MEAN_SHAPE}
    for name, (width, out) in _CONVOLUTIONS.items():
        shapes |= {f"{name}.weight": (out, width, 3, 3, 3), f"{name}.bias": (out,)}
    for name, (width, out) in _LINEAR.items():
        shapes |= {f"{name}.weight": (out, width), f"{name}.bias": (out,)}
    return shapes
