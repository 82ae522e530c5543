"""The one place that chooses how attention is computed, and along which axes."""

# Axes: b clips, f frames, s tokens of a frame, d width, m heads, n tokens attended over,
# l tokens of text, e width of a head.

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from latte_cli.models.positions import rotate

Axis = Literal["space", "time"]
Joint = Literal["temporal-mask", "only-video"]

# On the CPU in bf16, PyTorch's fused kernel is slow on short sequences, most of all backward;
# in float32 it wins at every length. `tests/benchmarks/attention.py` prints the ratios.
EXPLICIT_BELOW = 512

# How heads are laid out so that the axis attended over comes last but one. Both are views of what
# comes in: along time every location has heads of its own, which lie behind one another in memory.
_SPLIT = {"space": "b f s (m e) -> (b f) m s e", "time": "b f s (m e) -> b (s m) f e"}
_MERGE = {"space": "(b f) m s e -> b f s (m e)", "time": "b (s m) f e -> b f s (m e)"}


@dataclass(frozen=True)
class Images:
    """The images that stand behind a clip's frames, and what temporal attention does with them.

    Attributes:
        count: how many of the frames are images.
        joint: `temporal-mask`: video attends to video, each image to itself; `only-video`:
            images pass temporal modules by (Latte, section 3.3.4).
    """

    count: int = 0
    joint: Joint = "temporal-mask"

    @property
    def skipped(self) -> int:
        """Frames at the end that temporal modules do not see at all."""
        return self.count if self.joint == "only-video" else 0


NO_IMAGES = Images()


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(e)) v over the last but one axis.

    Args:
        q: queries, (..., n, e), any floating type.
        k: keys, (..., l, e).
        v: values, shaped as k.
        mask: keys to attend to, bool, broadcastable to (..., n, l), at least one for each query;
            None for all.

    Returns:
        (..., n, e), in the type of v.
    """
    short = q.dtype == torch.bfloat16 and k.shape[-2] < EXPLICIT_BELOW
    if q.device.type == "cpu" and short:
        written_out = explicit_attention if torch.is_grad_enabled() else one_after_another
        return written_out(q, k, v, mask)
    return _fused_attention(q, k, v, mask)


def _fused_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """PyTorch's kernels; see `attend`.

    They take four axes and no more: given five, PyTorch writes attention out without a word.
    """
    if q.ndim <= 4:
        return F.scaled_dot_product_attention(q, k, v, mask)
    lead = q.shape[:-3]
    q, k, v = (part.flatten(0, -4) for part in (q, k, v))
    if mask is not None:
        mask = mask.expand(*lead, *mask.shape[-3:]).flatten(0, -4)
    out: Tensor = F.scaled_dot_product_attention(q, k, v, mask)
    return out.reshape(*lead, *out.shape[1:])


def explicit_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention with its weights written out; see `attend`."""
    scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-2, -1))
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return torch.matmul(scores.softmax(dim=-1).to(v.dtype), v)


def one_after_another(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """The same along the first axis in turn, so that weights stay in the cache; no gradients."""
    *lead, heads, length, _ = q.shape
    out = v.new_empty(*lead, length, heads, v.shape[-1]).transpose(-3, -2)  # as it is merged
    for number in range(len(q)):
        one = None if mask is None else mask.expand(len(q), *mask.shape[1:])[number]
        out[number] = explicit_attention(q[number], k[number], v[number], one)
    return out


def attend_along(
    axis: Axis,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    images: Images = NO_IMAGES,
    rotary: bool = False,
) -> Tensor:
    """Attend within each frame ("space") or at each location over the frames ("time").

    Args:
        axis: which of the tokens' axes to attend along.
        q: queries, (b, f, s, d).
        k: keys, shaped as q.
        v: values, shaped as q.
        heads: that d is split into.
        images: which frames are images; matters along time alone.
        rotary: turn queries and keys by their position.

    Returns:
        (b, f, s, d). Where images are left out of temporal attention theirs is zero.
    """
    if axis == "time" and images.count:
        video = q.shape[1] - images.count
        seen = attend_along(
            axis, q[:, :video], k[:, :video], v[:, :video], heads, NO_IMAGES, rotary
        )
        own = v[:, video:]  # the softmax over an image alone is 1
        return torch.cat([seen, torch.zeros_like(own) if images.skipped else own], dim=1)
    clips = len(q)
    q, k, v = (rearrange(part, _SPLIT[axis], m=heads) for part in (q, k, v))
    if rotary:
        q, k = rotate(q), rotate(k)
    return rearrange(attend(q, k, v), _MERGE[axis], b=clips, m=heads)
