"""Inception-v3 as FID uses it: TensorFlow's network of 2015-12-05, with its resizing.

It differs from the usual one in average pooling, which does not count padding, in the last block,
which uses max pooling, and in its 1008 classes.
"""

# Axes: n frames, c channels, h height, w width, 3 color channels (RGB).

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latte_cli.metrics.networks.layers import channels_last, fold_batch_norm
from latte_cli.runtime.errors import ShapeError

SIZE = 299
WIDTH = 2048
CLASSES = 1008


class Conv(nn.Conv2d):
    """A convolution and a ReLU; with `pad`, stride 1 keeps the size."""

    def __init__(
        self, width: int, out: int, size: int | tuple[int, int], stride: int = 1, pad: bool = True
    ) -> None:
        height, across = (size, size) if isinstance(size, int) else size
        ends = (height // 2, across // 2) if pad else (0, 0)
        super().__init__(width, out, (height, across), stride, ends)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) to the same shape with another c."""
        return super().forward(x).relu_()


class Inception(nn.Module):
    """The network, in eval mode, with random weights until `load_published` is called."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, 2, pad=False)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3, pad=False)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = Conv(80, 192, 3, pad=False)
        self.Mixed_5b = BlockA(192, 32)
        self.Mixed_5c = BlockA(256, 64)
        self.Mixed_5d = BlockA(288, 64)
        self.Mixed_6a = ReductionA(288)
        self.Mixed_6b = BlockB(768, 128)
        self.Mixed_6c = BlockB(768, 160)
        self.Mixed_6d = BlockB(768, 160)
        self.Mixed_6e = BlockB(768, 192)
        self.Mixed_7a = ReductionB(768)
        self.Mixed_7b = BlockC(1280, max_pool=False)
        self.Mixed_7c = BlockC(2048, max_pool=True)
        self.fc = nn.Linear(WIDTH, CLASSES)
        self.eval().requires_grad_(False)

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled features and logits of frames.

        Args:
            frames: (n, h, w, 3) uint8; resized to 299 x 299 and scaled to [-1, 1).

        Returns:
            (n, 2048) features and (n, 1008) logits without bias, float32.

        Raises:
            ShapeError: if these are not frames.
        """
        x = preprocess(frames)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        features = x.mean(dim=(2, 3))
        return features, features @ self.fc.weight.T

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Load weights under their published names (`published_shapes`)."""
        self.load_state_dict(fold_batch_norm(state, "conv"))
        channels_last(self)


class BlockA(nn.Module):
    """At 35 x 35: 1x1; 5x5; two 3x3; average pooling."""

    def __init__(self, width: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(width, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = Conv(width, 48, 1), Conv(48, 64, 5)
        self.branch3x3dbl_1 = Conv(width, 64, 1)
        self.branch3x3dbl_2, self.branch3x3dbl_3 = Conv(64, 96, 3), Conv(96, 96, 3)
        self.branch_pool = Conv(width, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, 35, 35) to the same shape with another c."""
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat(
            [self.branch1x1(x), five, double, self.branch_pool(_average_pool(x))], dim=1
        )


class ReductionA(nn.Module):
    """From 35 x 35 to 17 x 17: 3x3; two 3x3; max pooling."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch3x3 = Conv(width, 384, 3, 2, pad=False)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(width, 64, 1), Conv(64, 96, 3)
        self.branch3x3dbl_3 = Conv(96, 96, 3, 2, pad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, 35, 35) to (n, c + 480, 17, 17)."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], dim=1)


class BlockB(nn.Module):
    """At 17 x 17: 1x1; factorized 7x7; two factorized 7x7; average pooling."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.branch1x1 = Conv(width, 192, 1)
        self.branch7x7_1 = Conv(width, inner, 1)
        self.branch7x7_2 = Conv(inner, inner, (1, 7))
        self.branch7x7_3 = Conv(inner, 192, (7, 1))
        self.branch7x7dbl_1 = Conv(width, inner, 1)
        self.branch7x7dbl_2 = Conv(inner, inner, (7, 1))
        self.branch7x7dbl_3 = Conv(inner, inner, (1, 7))
        self.branch7x7dbl_4 = Conv(inner, inner, (7, 1))
        self.branch7x7dbl_5 = Conv(inner, 192, (1, 7))
        self.branch_pool = Conv(width, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 768, 17, 17) to the same."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat(
            [self.branch1x1(x), seven, double, self.branch_pool(_average_pool(x))], dim=1
        )


class ReductionB(nn.Module):
    """From 17 x 17 to 8 x 8: 3x3; factorized 7x7, 3x3; max pooling."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Conv(width, 192, 1), Conv(192, 320, 3, 2, pad=False)
        self.branch7x7x3_1 = Conv(width, 192, 1)
        self.branch7x7x3_2, self.branch7x7x3_3 = Conv(192, 192, (1, 7)), Conv(192, 192, (7, 1))
        self.branch7x7x3_4 = Conv(192, 192, 3, 2, pad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(n, 768, 17, 17) to (n, 1280, 8, 8)."""
        three = self.branch3x3_2(self.branch3x3_1(x))
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        return torch.cat([three, self.branch7x7x3_4(seven), F.max_pool2d(x, 3, 2)], dim=1)


class BlockC(nn.Module):
    """At 8 x 8: 1x1; 1x3 beside 3x1; 3x3, then 1x3 beside 3x1; average or max pooling."""

    def __init__(self, width: int, *, max_pool: bool) -> None:
        super().__init__()
        self.max_pool = max_pool
        self.branch1x1 = Conv(width, 320, 1)
        self.branch3x3_1 = Conv(width, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = Conv(384, 384, (1, 3)), Conv(384, 384, (3, 1))
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(width, 448, 1), Conv(448, 384, 3)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = Conv(384, 384, (1, 3)), Conv(384, 384, (3, 1))
        self.branch_pool = Conv(width, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, 8, 8) to (n, 2048, 8, 8)."""
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, 1, 1) if self.max_pool else _average_pool(x)
        branches = [self.branch1x1(x), self.branch3x3_2a(three), self.branch3x3_2b(three)]
        branches += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double)]
        return torch.cat([*branches, self.branch_pool(pooled)], dim=1)


def preprocess(frames: Tensor) -> Tensor:
    """Resize and scale frames.

    Args:
        frames: (n, h, w, 3) uint8.

    Returns:
        (n, 3, 299, 299) float32, (x - 128) / 128.

    Raises:
        ShapeError: if these are not frames.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3:
        raise ShapeError(
            f"frames of shape {tuple(frames.shape)}: Inception takes (n, h, w, 3)",
            hint="flatten clips into their frames first",
        )
    pixels = resize_tensorflow1(frames.movedim(-1, 1).float(), SIZE)
    return pixels.sub_(128).div_(128)


def resize_tensorflow1(pixels: Tensor, size: int) -> Tensor:
    """Bilinear resizing without antialiasing, as in TensorFlow 1.

    Pixel i of the result lies at i * old / new of the input: the first pixels stay first, but the
    last need not stay last.

    Args:
        pixels: (n, c, h, w) float.
        size: height and width of the result.

    Returns:
        (n, c, size, size).
    """
    return _resize_axis(_resize_axis(pixels, 3, size), 2, size)


def _resize_axis(pixels: Tensor, axis: int, size: int) -> Tensor:
    length = pixels.shape[axis]
    # TensorFlow computes positions in float32, which determines the last digits of the weights.
    positions = torch.arange(size, dtype=torch.float32, device=pixels.device) * (length / size)
    before = positions.long()
    after = (before + 1).clamp(max=length - 1)
    shape = [size if number == axis else 1 for number in range(pixels.ndim)]
    fraction = (positions - before).to(pixels.dtype).reshape(shape)
    first = pixels.index_select(axis, before)
    return first + (pixels.index_select(axis, after) - first) * fraction


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the published weights, including batch normalization."""
    with torch.device("meta"):
        network = Inception()
    shapes: dict[str, tuple[int, ...]] = {}
    for name, layer in network.named_modules():
        if isinstance(layer, Conv):
            shapes[f"{name}.conv.weight"] = tuple(layer.weight.shape)
            for part in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{name}.bn.{part}"] = (layer.out_channels,)
    return shapes | {"fc.weight": (CLASSES, WIDTH), "fc.bias": (CLASSES,)}


def _average_pool(x: Tensor) -> Tensor:
    """Average of 3x3 windows; padding is not counted."""
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
