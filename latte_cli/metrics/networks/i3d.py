"""I3D (Carreira and Zisserman 2017); FVD is computed from its Kinetics-400 logits.

The layers are those of DeepMind's graph: TensorFlow's SAME padding, with the odd row at the
end, and batch normalization with eps 1e-3, here folded into the convolutions. All numbers are
float32: with bf16 matrix products a Fréchet distance of few clips changes by 0.1 to 0.4 percent.
"""

# Axes: b clips, f frames, h height, w width, c channels, 3 color channels (RGB).

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latte_cli.metrics.networks.layers import channels_last, convolve, fold_batch_norm
from latte_cli.runtime.errors import ShapeError

SIZE = 224
CLASSES = 400
MIN_FRAMES = 9  # the last pooling needs two time steps

# Input width, then output widths of the convolutions: 1x1; 1x1, 3x3; 1x1, 3x3; 1x1 after pooling.
_MIXED = {
    "Mixed_3b": (192, 64, 96, 128, 16, 32, 32),
    "Mixed_3c": (256, 128, 128, 192, 32, 96, 64),
    "Mixed_4b": (480, 192, 96, 208, 16, 48, 64),
    "Mixed_4c": (512, 160, 112, 224, 24, 64, 64),
    "Mixed_4d": (512, 128, 128, 256, 24, 64, 64),
    "Mixed_4e": (512, 112, 144, 288, 32, 64, 64),
    "Mixed_4f": (528, 256, 160, 320, 32, 128, 128),
    "Mixed_5b": (832, 256, 160, 320, 32, 128, 128),
    "Mixed_5c": (832, 384, 192, 384, 48, 128, 128),
}
_FIRST = (("Conv3d_1a_7x7", 3, 64, 7), ("Conv3d_2b_1x1", 64, 64, 1), ("Conv3d_2c_3x3", 64, 192, 3))


class I3D(nn.Module):
    """The network, in eval mode, with random weights until `load_published` is called."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = nn.Conv3d(3, 64, 7, stride=2)
        self.Conv3d_2b_1x1 = nn.Conv3d(64, 64, 1)
        self.Conv3d_2c_3x3 = nn.Conv3d(64, 192, 3, padding=1)
        self.mixed = nn.ModuleDict({name: Mixed(*widths) for name, widths in _MIXED.items()})
        self.logits = nn.Conv3d(1024, CLASSES, 1)
        self.eval().requires_grad_(False)

    def forward(self, frames: Tensor) -> Tensor:
        """Logits of clips, averaged over time.

        Args:
            frames: (b, f, h, w, 3) uint8, f at least 9; resized to 224 x 224 whatever their
                aspect ratio, and scaled to [-1, 1].

        Returns:
            (b, 400) float32.

        Raises:
            ShapeError: if clips are too short.
        """
        return self.classify(self.pool(preprocess(frames)))

    def pool(self, clips: Tensor) -> Tensor:
        """The 1024 features before the logits, averaged over time.

        Args:
            clips: (b, 3, f, 224, 224) float in [-1, 1].

        Returns:
            (b, 1024).
        """
        x = convolve(self.Conv3d_1a_7x7, F.pad(clips, _padding(clips.shape[2:], 7, 2)))
        x = convolve(self.Conv3d_2b_1x1, max_pool_same(x, (1, 3, 3), (1, 2, 2)))
        x = max_pool_same(convolve(self.Conv3d_2c_3x3, x), (1, 3, 3), (1, 2, 2))
        for name, block in self.mixed.items():
            if name == "Mixed_4b":
                x = max_pool_same(x, (3, 3, 3), (2, 2, 2))
            elif name == "Mixed_5b":
                x = max_pool_same(x, (2, 2, 2), (2, 2, 2))
            x = block(x)
        return F.avg_pool3d(x, (2, 7, 7), stride=1).mean(dim=(2, 3, 4))

    def classify(self, pooled: Tensor) -> Tensor:
        """Logits, (b, 400), of pooled features, (b, 1024)."""
        return F.linear(pooled, self.logits.weight.flatten(1), self.logits.bias)

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Load weights under their published names (`published_shapes`)."""
        folded = fold_batch_norm(state, "conv3d")
        ours = {
            f"mixed.{name}" if name.startswith("Mixed") else name: tensor
            for name, tensor in folded.items()
        }
        for block in _MIXED:
            for kind in ("weight", "bias"):
                parts = [ours.pop(f"mixed.{block}.{branch}.{kind}") for branch in _REDUCED]
                ours[f"mixed.{block}.reduce.{kind}"] = torch.cat(parts)
        self.load_state_dict(ours)
        channels_last(self)


_REDUCED = ("b0", "b1a", "b2a")  # 1x1 convolutions of the same input, merged into `reduce`


class Mixed(nn.Module):
    """Four parallel branches: 1x1; 1x1, 3x3; 1x1, 3x3; 3x3 max pooling, 1x1."""

    def __init__(self, width: int, b0: int, b1a: int, b1b: int, b2a: int, b2b: int, b3b: int):
        super().__init__()
        self.widths = (b0, b1a, b2a)
        self.reduce = nn.Conv3d(width, sum(self.widths), 1)
        self.b1b = nn.Conv3d(b1a, b1b, 3, padding=1)
        self.b2b = nn.Conv3d(b2a, b2b, 3, padding=1)
        self.b3b = nn.Conv3d(width, b3b, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, f, h, w) to the same shape with another c."""
        b0, b1, b2 = convolve(self.reduce, x).split(self.widths, dim=1)
        b3 = convolve(self.b3b, max_pool_same(x, (3, 3, 3), (1, 1, 1)))
        return torch.cat([b0, convolve(self.b1b, b1), convolve(self.b2b, b2), b3], dim=1)


def preprocess(frames: Tensor) -> Tensor:
    """Resize and scale clips.

    Args:
        frames: (b, f, h, w, 3) uint8.

    Returns:
        (b, 3, f, 224, 224) float32 in [-1, 1], channels last in memory.

    Raises:
        ShapeError: if these are not clips, or too short.
    """
    if frames.ndim != 5 or frames.shape[-1] != 3 or frames.shape[1] < MIN_FRAMES:
        raise ShapeError(
            f"clips of shape {tuple(frames.shape)}: I3D takes (b, f, h, w, 3) with at least "
            f"{MIN_FRAMES} frames",
            hint=f"take clips of at least {MIN_FRAMES} frames",
        )
    pixels = frames.flatten(0, 1).movedim(-1, 1).float()
    if pixels.shape[-2:] != (SIZE, SIZE):  # without antialiasing, as the reference
        pixels = F.interpolate(pixels, (SIZE, SIZE), mode="bilinear", align_corners=False)
    signal: Tensor = pixels.mul_(2 / 255).sub_(1).unflatten(0, frames.shape[:2])
    return signal.movedim(2, 1)


def max_pool_same(x: Tensor, size: tuple[int, int, int], stride: tuple[int, int, int]) -> Tensor:
    """Max pooling with TensorFlow's SAME padding; `ceil_mode` adds the odd one at the end."""
    ends = [_total_padding(n, k, s) // 2 for n, k, s in zip(x.shape[2:], size, stride, strict=True)]
    return F.max_pool3d(x, size, stride, padding=ends, ceil_mode=True)


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the published weights, including batch normalization."""
    layers = {name: (out, width, size) for name, width, out, size in _FIRST}
    for block, (width, b0, b1a, b1b, b2a, b2b, b3b) in _MIXED.items():
        branches = {"b0": (b0, width, 1), "b1a": (b1a, width, 1), "b1b": (b1b, b1a, 3)}
        branches |= {"b2a": (b2a, width, 1), "b2b": (b2b, b2a, 3), "b3b": (b3b, width, 1)}
        layers |= {f"{block}.{branch}": shape for branch, shape in branches.items()}
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (out, width, size) in layers.items():
        shapes[f"{layer}.conv3d.weight"] = (out, width, size, size, size)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{layer}.bn.{part}"] = (out,)
    shapes["logits.conv3d.weight"] = (CLASSES, 1024, 1, 1, 1)
    shapes["logits.conv3d.bias"] = (CLASSES,)
    return shapes


def _total_padding(length: int, size: int, stride: int) -> int:
    """Total padding of both ends, for ceil(length / stride) windows."""
    return max((-(-length // stride) - 1) * stride + size - length, 0)


def _padding(lengths: torch.Size, size: int, stride: int) -> list[int]:
    """Padding of each end, last axis first, as `F.pad` takes it."""
    totals = [_total_padding(length, size, stride) for length in reversed(lengths)]
    return [end for total in totals for end in (total // 2, total - total // 2)]
