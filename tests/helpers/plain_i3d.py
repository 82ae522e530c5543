"""I3D in its plain form: convolutions, norms, ReLUs and paddings are separate steps, in float32."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = {
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


def same(x: Tensor, size: tuple[int, int, int], stride: tuple[int, int, int]) -> Tensor:
    """TensorFlow's SAME padding with zeros, also for max pooling of inputs >= 0."""
    ends: list[int] = []
    for length, k, s in zip(x.shape[2:], size, stride, strict=True):
        total = max(k - (s if length % s == 0 else length % s), 0)
        ends = [total // 2, total - total // 2, *ends]
    return F.pad(x, ends)


class Unit(nn.Module):
    def __init__(self, width: int, out: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.size, self.stride = (size,) * 3, (stride,) * 3
        self.conv3d = nn.Conv3d(width, out, size, stride, bias=False)
        self.bn = nn.BatchNorm3d(out, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv3d(same(x, self.size, self.stride))))


class Pool(nn.Module):
    def __init__(self, size: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.size, self.stride = size, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool3d(same(x, self.size, self.stride), self.size, self.stride)


class Block(nn.Module):
    def __init__(self, width: int, b0: int, b1a: int, b1b: int, b2a: int, b2b: int, b3b: int):
        super().__init__()
        self.b0 = Unit(width, b0, 1)
        self.b1a, self.b1b = Unit(width, b1a, 1), Unit(b1a, b1b, 3)
        self.b2a, self.b2b = Unit(width, b2a, 1), Unit(b2a, b2b, 3)
        self.b3a, self.b3b = Pool((3, 3, 3), (1, 1, 1)), Unit(width, b3b, 1)

    def forward(self, x: Tensor) -> Tensor:
        branches = [self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x))]
        return torch.cat([*branches, self.b3b(self.b3a(x))], dim=1)


class Last(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(1024, 400, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3d(F.avg_pool3d(x, (2, 7, 7), stride=1)).mean(dim=(2, 3, 4))


class PlainI3D(nn.Module):
    """Loads published weights by name; counters of seen batches may be missing."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv3d_1a_7x7 = Unit(3, 64, 7, 2)
        self.Conv3d_2b_1x1, self.Conv3d_2c_3x3 = Unit(64, 64, 1), Unit(64, 192, 3)
        for name, widths in WIDTHS.items():
            setattr(self, name, Block(*widths))
        self.logits = Last()
        self.eval().requires_grad_(False)

    def forward(self, clips: Tensor) -> Tensor:
        """(b, 3, f, 224, 224) in [-1, 1] to logits, (b, 400)."""
        thirds = Pool((1, 3, 3), (1, 2, 2))
        x = thirds(self.Conv3d_1a_7x7(clips.contiguous()))
        x = thirds(self.Conv3d_2c_3x3(self.Conv3d_2b_1x1(x)))
        for name in WIDTHS:
            if name == "Mixed_4b":
                x = Pool((3, 3, 3), (2, 2, 2))(x)
            elif name == "Mixed_5b":
                x = Pool((2, 2, 2), (2, 2, 2))(x)
            x = getattr(self, name)(x)
        return self.logits(x)
