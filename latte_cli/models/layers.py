"""The parts of a Latte network. Parameter names are those of the published checkpoints."""

# Axes: b clips, f frames, s tokens of a frame, d width, r queries of a frame.

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from latte_cli.models.attention import (
    NO_IMAGES,
    Axis,
    Images,
    attend_along,
    attend_frames,
    attend_in_time,
)
from latte_cli.models.embeddings import interpolate_grid
from latte_cli.models.kernels.gelu import TanhGelu
from latte_cli.models.kernels.norms import (
    Modulation,
    add_and_norm,
    autocast_disabled,
    modulated_norm,
    to_autocast_dtype,
)

_CHUNK_TOKENS = 2048

Grid = tuple[int, int]  # rows and columns of a frame's tokens


def run_block(block: nn.Module, *inputs: object, recompute: bool) -> Tensor:
    """A block's output; `recompute` saves its activations' memory by a second forward pass."""
    if recompute and torch.is_grad_enabled():
        return cast(Tensor, checkpoint(block, *inputs, use_reentrant=False))
    return cast(Tensor, block(*inputs))


def chunked(
    layers: Callable[[Tensor, Modulation], Tensor], x: Tensor, modulation: Modulation
) -> Tensor:
    """Apply layers that treat tokens independently: (b, f, s, d) -> (b, f, s, d).

    On the CPU some frames at a time, so that the four times wider activations stay in the cache and
    in memory that the process already holds: allocation took a sixth of the time.
    """
    if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return layers(x, modulation)
    out, chunk = torch.empty_like(x), max(1, _CHUNK_TOKENS // x.shape[2])
    for clip in range(len(x)):
        for start in range(0, x.shape[1], chunk):
            part = slice(clip, clip + 1), slice(start, start + chunk)
            out[part] = layers(x[part], modulation.select(*part))
    return out


class Attention(nn.Module):
    """Multi-head self-attention of (b, f, s, d) tokens, its heads divided among named axes."""

    kernels = False  # see `kernels.choice`

    def __init__(
        self, width: int, num_heads: int, axes: Sequence[Axis], rotary: bool = False
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.axes = tuple(axes)
        self.rotary = rotary
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, images: Images = NO_IMAGES) -> Tensor:
        """(b, f, s, d) -> (b, f, s, d)."""
        joined: Tensor = self.qkv(x)
        if self.axes == ("time",) and not self.rotary:
            return cast(
                Tensor, self.proj(attend_in_time([joined], self.num_heads, images, self.kernels))
            )
        count = len(self.axes)
        qkv = [part.chunk(count, dim=-1) for part in joined.chunk(3, dim=-1)]
        attended = [
            attend_along(
                axis, q, k, v, self.num_heads // count, images, self.rotary and axis == "time"
            )
            for axis, q, k, v in zip(self.axes, *qkv, strict=True)
        ]
        out: Tensor = self.proj(torch.cat(attended, dim=-1) if count > 1 else attended[0])
        return out


class FrameQueries(NamedTuple):
    """Tokens along a side of the trained frame, and how many queries and keys they become."""

    grid: int
    queries: int


class FrameAttention(nn.Module):
    """Frames as matrices of their tokens that attend to each other (FrameDiT, CVPR 2026 Findings).

    A frame z of s tokens has r queries softmax(U)^T z W + B, and as many keys with U, W and B of
    their own. With the axis "time" (FrameDiT-H) the tokens of each location attend to each other
    beside it, and one linear layer joins both: linear layers of each before it would add nothing.
    """

    kernels = False  # see `kernels.choice`

    def __init__(
        self,
        width: int,
        num_heads: int,
        axes: Sequence[Axis],
        frame: FrameQueries,
        rotary: bool = False,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.axes = tuple(axes)
        self.rotary = rotary
        self.grid = frame.grid
        self.qkv = nn.Linear(width, 3 * width) if "time" in axes else None
        # U, transposed, and B: of queries, then of keys.
        self.qk_logits = nn.Parameter(torch.empty(2, frame.queries, frame.grid**2))
        self.qk_bias = nn.Parameter(torch.empty(2, frame.queries, width))
        self.q = nn.Linear(width, width, bias=False)
        self.k = nn.Linear(width, width, bias=False)
        self.v = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(len(self.axes) * width, width)

    def forward(self, x: Tensor, images: Images = NO_IMAGES, grid: Grid | None = None) -> Tensor:
        """(b, f, s, d) -> (b, f, s, d); s are the rows and columns of `grid`, or as trained."""
        x = to_autocast_dtype(x)
        logits: Tensor = self.qk_logits
        if grid is not None and grid != (self.grid, self.grid):
            with autocast_disabled(x):
                logits = interpolate_grid(logits, self.grid, grid)
        # One product for queries and keys: (2 r, s) with (b, f, s, d).
        pooled = torch.matmul(logits.softmax(dim=-1).flatten(0, 1), x)
        of_q, of_k = pooled.chunk(2, dim=2)
        bias_q, bias_k = to_autocast_dtype(self.qk_bias)
        q, k = self.q(of_q) + bias_q, self.k(of_k) + bias_k
        out = attend_frames(q, k, self.v(x), self.num_heads, images, self.rotary)
        if self.qkv is not None:
            out = torch.cat([self._attend_in_time(self.qkv(x), images), out], dim=-1)
        return cast(Tensor, self.proj(out))

    def _attend_in_time(self, qkv: Tensor, images: Images) -> Tensor:
        if not self.rotary:
            return attend_in_time([qkv], self.num_heads, images, self.kernels)
        q, k, v = qkv.chunk(3, dim=-1)
        return attend_along("time", q, k, v, self.num_heads, images, rotary=True)


class Mlp(nn.Module):
    """Two linear layers with a tanh-approximated GELU between."""

    def __init__(self, width: int, ratio: int = 4) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, ratio * width)
        self.act = TanhGelu()
        self.fc2 = nn.Linear(ratio * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(b, f, s, d) -> (b, f, s, d)."""
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out


class Block(nn.Module):
    """One or two attentions, then an MLP, each modulated by S-AdaLN (Latte, section 3.3.2).

    A second attention has its own shift and scale and shares the gate of the first: so 3/4 as many
    blocks of Variant 3 have as many parameters as Variant 1.

    Args:
        width: of a token.
        num_heads: of each attention.
        attentions: for each attention the axes that it attends along.
        modulated: whether conditioning modulates the layer norms.
        rotary: rotate temporal queries and keys by their position.
        frame: of attention over whole frames.
    """

    kernels = False  # see `kernels.choice`

    def __init__(
        self,
        width: int,
        num_heads: int,
        attentions: Sequence[Sequence[Axis]],
        modulated: bool = True,
        rotary: bool = False,
        frame: FrameQueries | None = None,
    ) -> None:
        super().__init__()
        first, *others = attentions
        self.sees_frames = "frames" in first
        # Norms have no parameters: the linear layer after each can express them.
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.attn: Attention | FrameAttention
        if self.sees_frames:
            assert frame is not None
            self.attn = FrameAttention(width, num_heads, first, frame, rotary)
        else:
            self.attn = Attention(width, num_heads, first, rotary)
        self.temporal_attn = Attention(width, num_heads, others[0], rotary) if others else None
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.mlp = Mlp(width)
        self.num_modulations = 8 if others else 6
        self.adaLN_modulation = (
            nn.Sequential(nn.SiLU(), nn.Linear(width, self.num_modulations * width))
            if modulated
            else None
        )
        self.temporal_only = not others and "space" not in first

    def forward(
        self, x: Tensor, c: Tensor, images: Images = NO_IMAGES, grid: Grid | None = None
    ) -> Tensor:
        """Tokens (b, f, s, d), conditioning (b, 1 or f, 1, d) -> tokens; see `FrameAttention`."""
        if images.skipped and self.temporal_only:
            video = x.shape[1] - images.skipped
            out = self.forward(x[:, :video], c[:, :video], NO_IMAGES, grid)
            return torch.cat([out, x[:, video:]], dim=1)
        attention, mlp, temporal = self._modulations(c)
        y = modulated_norm(self.norm1, x, attention, self.kernels)
        attended = self.attn(y, images, grid) if self.sees_frames else self.attn(y, images)
        if self.kernels and self.temporal_attn is None:
            x, y = add_and_norm(self.norm2, x, attended, attention.gate, mlp)
            return mlp.add_gated(x, self.mlp(y))
        x = attention.add_gated(x, attended)
        if self.temporal_attn is not None:
            x = self._attend_in_time(x, temporal, images)
        return chunked(self._mlp, x, mlp)

    def _mlp(self, x: Tensor, modulation: Modulation) -> Tensor:
        return modulation.add_gated(x, self.mlp(modulation.modulate(self.norm2(x))))

    def _modulations(self, c: Tensor) -> tuple[Modulation, Modulation, Modulation]:
        """Those of attention, of the MLP and of a second attention."""
        if self.adaLN_modulation is None:
            return Modulation(), Modulation(), Modulation()
        with autocast_disabled(c):
            shift, scale, gate, *rest = self.adaLN_modulation(c).chunk(self.num_modulations, dim=-1)
        second = Modulation(rest[3], rest[4], gate) if self.temporal_attn else Modulation()
        return Modulation(shift, scale, gate), Modulation(*rest[:3]), second

    def _attend_in_time(self, x: Tensor, modulation: Modulation, images: Images) -> Tensor:
        """The second attention, which images may skip."""
        assert self.temporal_attn is not None
        if images.skipped:
            video = x.shape[1] - images.skipped
            own = modulation.select(slice(None), slice(video))
            out = self._attend_in_time(x[:, :video], own, NO_IMAGES)
            return torch.cat([out, x[:, video:]], dim=1)
        return modulation.add_gated(
            x, self.temporal_attn(modulation.modulate(self.norm1(x)), images)
        )


class FinalLayer(nn.Module):
    """Tokens to patches of predicted noise and covariance: (b, f, s, d) -> (b, f, s, p p 2c)."""

    def __init__(self, width: int, patch: int, out_channels: int, modulated: bool = True) -> None:
        super().__init__()
        self.norm_final = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.linear = nn.Linear(width, patch * patch * out_channels)
        self.adaLN_modulation = (
            nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width)) if modulated else None
        )

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Tokens (b, f, s, d) and conditioning (b, 1 or f, 1, d) -> patches (b, f, s, p p 2c)."""
        modulation = Modulation()
        if self.adaLN_modulation is not None:
            with autocast_disabled(c):
                modulation = Modulation(*self.adaLN_modulation(c).chunk(2, dim=-1))
        out: Tensor = self.linear(modulation.modulate(self.norm_final(x)))
        return out
