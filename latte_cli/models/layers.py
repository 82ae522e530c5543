"""The parts of a Latte network. Parameter names are those of the published checkpoints."""

# Axes: b clips, f frames, s tokens of a frame, d width.

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from latte_cli.models.attention import NO_IMAGES, Axis, Images, attend_along

_STRETCH = 2048  # tokens


def autocast_disabled(c: Tensor) -> AbstractContextManager[None]:
    """Compute conditioning in float32, even under autocast.

    It costs next to nothing, a vector a clip, and in bf16 a label's small share of it is rounded
    away beside the timestep's.
    """
    if not torch.amp.is_autocast_available(c.device.type):  # as on the meta device
        return nullcontext()
    return torch.autocast(c.device.type, enabled=False)


def to_autocast_dtype(x: Tensor) -> Tensor:
    """In the type that products are taken in, for several at once: each would cast it anew."""
    kind = x.device.type
    if not torch.amp.is_autocast_available(kind) or not torch.is_autocast_enabled(kind):
        return x
    return x.to(torch.get_autocast_dtype(kind))


def run_block(block: nn.Module, *inputs: object, recompute: bool) -> Tensor:
    """A block's output; `recompute` trades the memory inside it for a second forward pass."""
    if recompute and torch.is_grad_enabled():
        return cast(Tensor, checkpoint(block, *inputs, use_reentrant=False))
    return cast(Tensor, block(*inputs))


class Modulation(NamedTuple):
    """Scale, shift and gate of one sub-layer, each (b, 1, 1, d), or (b, f, 1, d) with images.

    Without conditioning all three are None and change nothing.
    """

    shift: Tensor | None = None
    scale: Tensor | None = None
    gate: Tensor | None = None

    def before(self, x: Tensor) -> Tensor:
        """Shift and scale a sub-layer's input, (b, f, s, d)."""
        if self.scale is None or self.shift is None:
            return x
        return torch.addcmul(self.shift, x, 1 + self.scale)

    def of_first(self, frames: int) -> "Modulation":
        """The part for the first frames."""
        return Modulation(*(part if part is None else part[:, :frames] for part in self))

    def of(self, clip: int, frames: slice) -> "Modulation":
        """The part for some frames of one clip."""
        clips = slice(clip, clip + 1)
        return Modulation(
            *(p if p is None else p[clips, frames if p.shape[1] > 1 else slice(None)] for p in self)
        )

    def after(self, x: Tensor, change: Tensor) -> Tensor:
        """Add a sub-layer's output to what went into it, gated, (b, f, s, d)."""
        return x + change if self.gate is None else torch.addcmul(x, self.gate, change)


def chunked(
    layers: Callable[[Tensor, Modulation], Tensor], x: Tensor, modulation: Modulation
) -> Tensor:
    """Layers that treat each token alone: (b, f, s, d) -> (b, f, s, d).

    On the CPU some frames at a time, so that what is four times as wide inside stays in the cache,
    and in memory that the process holds already: fresh memory took a sixth of the time.
    """
    if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return layers(x, modulation)
    out, at_once = torch.empty_like(x), max(1, _STRETCH // x.shape[2])
    for clip in range(len(x)):
        for first in range(0, x.shape[1], at_once):
            frames = slice(first, first + at_once)
            part = layers(x[clip : clip + 1, frames], modulation.of(clip, frames))
            out[clip : clip + 1, frames] = part
    return out


class Attention(nn.Module):
    """Multi-head self-attention of (b, f, s, d) tokens, its heads shared out among named axes."""

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
        ways = len(self.axes)
        parts = [part.chunk(ways, dim=-1) for part in self.qkv(x).chunk(3, dim=-1)]
        seen = [
            attend_along(
                axis, q, k, v, self.num_heads // ways, images, self.rotary and axis == "time"
            )
            for axis, q, k, v in zip(self.axes, *parts, strict=True)
        ]
        out: Tensor = self.proj(torch.cat(seen, dim=-1) if ways > 1 else seen[0])
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
    """One or two attentions, then an MLP, each modulated by S-AdaLN (Latte, section 3.3.2).

    A second attention has a shift and a scale of its own and shares the gate of the first: with
    that, 3/4 as many blocks of Variant 3 have the parameters of Variant 1's.

    Args:
        width: of a token.
        num_heads: of each attention.
        attentions: for each attention the axes among which its heads are shared out.
        modulated: by conditioning; without it layer norm stands alone.
        rotary: turn temporal queries and keys by their position.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        attentions: Sequence[Sequence[Axis]],
        modulated: bool = True,
        rotary: bool = False,
    ) -> None:
        super().__init__()
        first, *others = attentions
        # Norms have no parameters: the linear layer behind each could express them.
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.attn = Attention(width, num_heads, first, rotary)
        self.temporal_attn = Attention(width, num_heads, others[0], rotary) if others else None
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.mlp = Mlp(width)
        self.parts = 8 if others else 6
        self.adaLN_modulation = (
            nn.Sequential(nn.SiLU(), nn.Linear(width, self.parts * width)) if modulated else None
        )
        self.temporal_alone = tuple(first) == ("time",)

    def forward(self, x: Tensor, c: Tensor, images: Images = NO_IMAGES) -> Tensor:
        """Tokens (b, f, s, d) and conditioning (b, 1 or f, 1, d) -> tokens."""
        if images.skipped and self.temporal_alone:
            video = x.shape[1] - images.skipped
            seen = self._changed(x[:, :video], c[:, :video], NO_IMAGES)
            return torch.cat([seen, x[:, video:]], dim=1)
        return self._changed(x, c, images)

    def _changed(self, x: Tensor, c: Tensor, images: Images) -> Tensor:
        """The same, of frames that this block sees."""
        attention, mlp, temporal = self._modulations(c)
        x = attention.after(x, self.attn(attention.before(self.norm1(x)), images))
        if self.temporal_attn is not None:
            x = self._attend_in_time(x, temporal, images)
        return chunked(self._mlp, x, mlp)

    def _mlp(self, x: Tensor, modulation: Modulation) -> Tensor:
        """The block's second half."""
        return modulation.after(x, self.mlp(modulation.before(self.norm2(x))))

    def _modulations(self, c: Tensor) -> tuple[Modulation, Modulation, Modulation]:
        """Of attention, of the MLP, and of a second attention."""
        if self.adaLN_modulation is None:
            return Modulation(), Modulation(), Modulation()
        with autocast_disabled(c):
            shift, scale, gate, *rest = self.adaLN_modulation(c).chunk(self.parts, dim=-1)
        second = Modulation(rest[3], rest[4], gate) if self.temporal_attn else Modulation()
        return Modulation(shift, scale, gate), Modulation(*rest[:3]), second

    def _attend_in_time(self, x: Tensor, modulation: Modulation, images: Images) -> Tensor:
        """The second attention, which leaves skipped images as they are."""
        assert self.temporal_attn is not None
        if images.skipped:
            video = x.shape[1] - images.skipped
            seen = self._attend_in_time(x[:, :video], modulation.of_first(video), NO_IMAGES)
            return torch.cat([seen, x[:, video:]], dim=1)
        return modulation.after(x, self.temporal_attn(modulation.before(self.norm1(x)), images))


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
        out: Tensor = self.linear(modulation.before(self.norm_final(x)))
        return out
