"""The parts of a Latte network. Parameter names are those of the published checkpoints."""

# Axes: b clips, f frames, s tokens of a frame, d width, m heads, e width of a head.

from contextlib import AbstractContextManager
from typing import Literal, NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from latte_cli.models.attention import attend
from latte_cli.models.positions import timestep_features

Axis = Literal["space", "time"]

# How heads are laid out so that the axis attended over comes last but one.
_SPLIT = {
    "space": "b f s (three m e) -> three b f m s e",
    "time": "b f s (three m e) -> three b s m f e",
}
_MERGE = {"space": "b f m s e -> b f s (m e)", "time": "b s m f e -> b f s (m e)"}


def in_float32(c: Tensor) -> AbstractContextManager[None]:
    """Compute conditioning in float32, even under autocast.

    It costs next to nothing, a vector a clip, and in bf16 a label's small share of it is rounded
    away beside the timestep's.
    """
    return torch.autocast(c.device.type, enabled=False)


class Modulation(NamedTuple):
    """Scale, shift and gate of one sub-layer, each (b, 1, 1, d)."""

    shift: Tensor
    scale: Tensor
    gate: Tensor

    def before(self, x: Tensor) -> Tensor:
        """Shift and scale a sub-layer's input, (b, f, s, d)."""
        return x * (1 + self.scale) + self.shift


class PatchEmbedding(nn.Module):
    """Uniform frame patch embedding: each frame cut into p x p patches (Latte, section 3.3)."""

    def __init__(self, in_channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, width, kernel_size=patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        """(b, f, c, h, w) -> (b, f, s, d), tokens in reading order."""
        b = x.shape[0]
        tokens: Tensor = self.proj(rearrange(x, "b f c h w -> (b f) c h w"))
        return rearrange(tokens, "(b f) d h w -> b f (h w) d", b=b)


class TimestepEmbedding(nn.Module):
    """A timestep as a vector: (b,) -> (b, d)."""

    def __init__(self, width: int, features: int = 256) -> None:
        super().__init__()
        self.features = features
        self.mlp = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """(b,) -> (b, d)."""
        embedded: Tensor = self.mlp(timestep_features(t, self.features))
        return embedded


class LabelEmbedding(nn.Module):
    """A class label as a vector: (b,) -> (b, d). The row after the last class is the null label."""

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(num_classes + 1, width)

    def forward(self, y: Tensor) -> Tensor:
        """(b,) long -> (b, d)."""
        embedded: Tensor = self.embedding_table(y)
        return embedded


class Attention(nn.Module):
    """Multi-head self-attention along one named axis of (b, f, s, d) tokens."""

    def __init__(self, width: int, num_heads: int, axis: Axis) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.axis = axis
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(b, f, s, d) -> (b, f, s, d)."""
        q, k, v = rearrange(self.qkv(x), _SPLIT[self.axis], three=3, m=self.num_heads)
        out: Tensor = self.proj(rearrange(attend(q, k, v), _MERGE[self.axis]))
        return out


class Mlp(nn.Module):
    """Two linear layers with a tanh-approximated GELU between."""

    def __init__(self, width: int, ratio: int = 4) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, ratio * width)
        self.act = nn.GELU(approximate="tanh")
        self.fc2 = nn.Linear(ratio * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(b, f, s, d) -> (b, f, s, d)."""
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out


class Block(nn.Module):
    """Attention along one axis, then an MLP, each modulated by S-AdaLN (Latte, equation 4)."""

    def __init__(self, width: int, num_heads: int, axis: Axis) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.attn = Attention(width, num_heads, axis)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.mlp = Mlp(width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Tokens (b, f, s, d) and conditioning (b, 1, 1, d) -> tokens."""
        with in_float32(c):
            parts = self.adaLN_modulation(c).chunk(6, dim=-1)
        attention, mlp = Modulation(*parts[:3]), Modulation(*parts[3:])
        x = x + attention.gate * self.attn(attention.before(self.norm1(x)))
        out: Tensor = x + mlp.gate * self.mlp(mlp.before(self.norm2(x)))
        return out


class FinalLayer(nn.Module):
    """Tokens to patches of predicted noise and covariance: (b, f, s, d) -> (b, f, s, p p 2c)."""

    def __init__(self, width: int, patch: int, out_channels: int) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.linear = nn.Linear(width, patch * patch * out_channels)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Tokens (b, f, s, d) and conditioning (b, 1, 1, d) -> patches (b, f, s, p p 2c)."""
        with in_float32(c):
            shift, scale = self.adaLN_modulation(c).chunk(2, dim=-1)
        out: Tensor = self.linear(self.norm_final(x) * (1 + scale) + shift)
        return out
