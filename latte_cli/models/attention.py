"""Attention along an axis of the tokens or of whole frames; the choice of its implementation."""

# Axes: b clips, f frames, s tokens of a frame, d width, m heads, n tokens attended over,
# l tokens of text, e width of a head, r queries of a frame.

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from latte_cli.models.embeddings import rotate
from latte_cli.models.kernels.pieces import attend_in_pieces, split

Axis = Literal["space", "time", "frames"]
"""Tokens of a frame, tokens of a location over time, or whole frames over time."""

Joint = Literal["temporal-mask", "only-video"]

# In bf16, PyTorch's fused kernels are slow on short sequences: on the CPU especially backward, and
# on a GPU they take tiles of 64 or 128 queries, of which a clip of 16 frames fills a part. In
# float32 on the CPU they are faster at every length, once heads lie side by side.
# `tests/benchmarks/attention.py` prints the ratios.
EXPLICIT_BELOW = {"cpu": 512, "cuda": 33}
# Along time in float32 on the CPU, explicit weights are faster for what they save in copies.
_IN_PIECES_BELOW = 65
_as_on_gpu = False
# What Triton's kernel takes: weights and heads that fit into registers.
_KERNEL_FRAMES, _KERNEL_WIDTH = 64, 128

# Layouts of heads with the attended axis second to last. In space they are views of queries, keys
# and values; along time no batch of matrices has these strides, and products need copies.
_SPLIT_HEADS = {"space": "b f s (m e) -> (b f) m s e", "time": "b f s (m e) -> b (s m) f e"}
_MERGE_HEADS = {"space": "(b f) m s e -> b f s (m e)", "time": "b (s m) f e -> b f s (m e)"}


@dataclass(frozen=True)
class Images:
    """The images behind a clip's frames in joint training, and how temporal attention treats them.

    Attributes:
        count: how many of the frames are images.
        joint: `temporal-mask`: video attends to video, each image to itself; `only-video`:
            images skip temporal modules (Latte, section 3.3.4).
    """

    count: int = 0
    joint: Joint = "temporal-mask"

    @property
    def skipped(self) -> int:
        """Frames at the end that skip temporal modules."""
        return self.count if self.joint == "only-video" else 0


NO_IMAGES = Images()


@contextmanager
def as_on_gpu() -> Iterator[None]:
    """Let the CPU compute attention as a GPU does, whose memory is then counted on it."""
    global _as_on_gpu
    before, _as_on_gpu = _as_on_gpu, True
    try:
        yield
    finally:
        _as_on_gpu = before


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(e)) v over the second to last axis.

    Args:
        q: queries, (..., n, e), any floating type.
        k: keys, (..., l, e).
        v: values, shaped as k.
        mask: keys to attend to, bool, broadcastable to (..., n, l), at least one for each query;
            None for all.

    Returns:
        (..., n, e), in the dtype of v.
    """
    if not _is_short(q, k.shape[-2]):
        return _fused_attention(q, k, v, mask)
    can_loop = not torch.compiler.is_compiling()  # which would unroll the loop over clips
    if q.device.type == "cpu" and can_loop and not torch.is_grad_enabled():
        return sequential_attention(q, k, v, mask)
    return explicit_attention(q, k, v, mask)


def _is_short(x: Tensor, keys: int) -> bool:
    """Whether explicit weights are faster than fused kernels."""
    device = "cuda" if _as_on_gpu else x.device.type
    return x.dtype == torch.bfloat16 and keys < EXPLICIT_BELOW.get(device, 0)


def _fused_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """PyTorch's kernels; see `attend`.

    They take at most four axes: given five, PyTorch silently falls back to explicit attention.
    """
    if q.ndim <= 4:
        return F.scaled_dot_product_attention(q, k, v, mask)
    batch = q.shape[:-3]
    q, k, v = (part.flatten(0, -4) for part in (q, k, v))
    if mask is not None:
        mask = mask.expand(*batch, *mask.shape[-3:]).flatten(0, -4)
    out: Tensor = F.scaled_dot_product_attention(q, k, v, mask)
    return out.reshape(*batch, *out.shape[1:])


def explicit_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention with explicit weights; see `attend`."""
    scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-2, -1))
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return torch.matmul(scores.softmax(dim=-1).to(v.dtype), v)


def sequential_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """A loop over the first axis, so that weights stay in the CPU's cache; no gradients."""
    *batch, heads, length, _ = q.shape
    # In the layout that merging the heads needs.
    out = v.new_empty(*batch, length, heads, v.shape[-1]).transpose(-3, -2)
    for index in range(len(q)):
        own_mask = None if mask is None else mask.expand(len(q), *mask.shape[1:])[index]
        out[index] = explicit_attention(q[index], k[index], v[index], own_mask)
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
        axis: of the tokens, to attend along; for "frames" there is `attend_frames`.
        q: queries, (b, f, s, d).
        k: keys, shaped as q.
        v: values, shaped as q.
        heads: that d is split into.
        images: which frames are images; only matters along time.
        rotary: rotate queries and keys by their position.

    Returns:
        (b, f, s, d); zero for images that skip temporal attention.
    """
    if axis == "time" and images.count:
        video = q.shape[1] - images.count
        out = attend_along(axis, q[:, :video], k[:, :video], v[:, :video], heads, rotary=rotary)
        return _append_images(out, v, images)
    clips = len(q)
    q, k, v = (rearrange(part, _SPLIT_HEADS[axis], m=heads) for part in (q, k, v))
    if rotary:
        q, k = rotate(q), rotate(k)
    return rearrange(attend(q, k, v), _MERGE_HEADS[axis], b=clips, m=heads)


def attend_in_time(
    parts: Sequence[Tensor], heads: int, images: Images = NO_IMAGES, kernels: bool = False
) -> Tensor:
    """Attend at each location over the frames, by the fastest way that there is.

    Args:
        parts: queries, keys and values side by side, one (b, f, s, 3 d), or three (b, f, s, d).
        heads: that d is split into.
        images: which frames are images.
        kernels: whether Triton's may be used; see `kernels.choice`.

    Returns:
        (b, f, s, d); zero for images that skip temporal attention.
    """
    x, video = parts[0], parts[0].shape[1] - images.count
    width = x.shape[-1] // heads // (3 if len(parts) == 1 else 1)
    how = (heads, video, not images.skipped)
    compiling = torch.compiler.is_compiling()
    # Of forward-mode derivatives, neither the kernel nor the pieces know.
    if not compiling and torch._C._are_functorch_transforms_active():
        return attend_along("time", *split(parts), heads, images)
    if kernels and x.shape[1] <= _KERNEL_FRAMES and width <= _KERNEL_WIDTH:
        return cast(Tensor, torch.ops.latte.attend_in_time(list(parts), *how))
    in_float = x.device.type == "cpu" and video < _IN_PIECES_BELOW and not _as_on_gpu
    if not compiling and (in_float or _is_short(x, video)):
        return attend_in_pieces(parts, *how)
    return attend_along("time", *split(parts), heads, images)


def attend_frames(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    images: Images = NO_IMAGES,
    rotary: bool = False,
) -> Tensor:
    """Attend to whole frames: a frame weights each other frame once, for all of its tokens.

    The score of two frames is the sum of all products of their queries and keys, over sqrt(r e)
    (FrameDiT, frame-level attention).

    Args:
        q: queries, (b, f, r, d).
        k: keys, shaped as q.
        v: values, (b, f, s, d).
        heads: that d is split into.
        images: which frames are images.
        rotary: rotate queries and keys by the position of their frame.

    Returns:
        (b, f, s, d); zero for images that skip temporal attention.
    """
    if images.count:
        video = v.shape[1] - images.count
        out = attend_frames(q[:, :video], k[:, :video], v[:, :video], heads, rotary=rotary)
        return _append_images(out, v, images)
    split, places = "b f r (m e) -> b m r f e", v.shape[2]
    q, k = (rearrange(part, split, m=heads) for part in (q, k))
    if rotary:
        q, k = rotate(q), rotate(k)
    q, k = (rearrange(part, "b m r f e -> b m f (r e)") for part in (q, k))
    v = rearrange(v, "b f s (m e) -> b m f (s e)", m=heads)
    # Weights are few, (b, m, f, f), and the vectors wider than PyTorch's fused kernels take.
    return rearrange(explicit_attention(q, k, v), "b m f (s e) -> b f s (m e)", s=places)


def _append_images(out: Tensor, v: Tensor, images: Images) -> Tensor:
    """The images' rows behind the video's: an image attends to itself, so its softmax is 1."""
    rest = v[:, out.shape[1] :]
    return torch.cat([out, torch.zeros_like(rest) if images.skipped else rest], dim=1)
