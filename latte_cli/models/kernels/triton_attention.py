"""Attention over time in Triton: reads queries, keys and values where they lie, pads nothing.

One program computes one head at one location: at most 64 frames, so that all weights fit into its
registers. PyTorch's fused kernels take tiles of 64 or 128 queries, most of them empty for a clip of
16 frames, and need copies of queries, keys and values. The plain form is `pieces.attend_in_pieces`.

Importing this module needs Triton, and registers `torch.ops.latte.attend_in_time`.
"""

# Axes: b clips, f frames and then images, s locations, d width, m heads, e width of a head.

import os
from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from latte_cli.models.kernels.pieces import split

_FEWEST = 16  # rows and columns of a product on tensor cores
_INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")


@triton.jit
def _product(a, b):
    """On tensor cores; float32 in three products of TF32, which lose nothing of note."""
    if _INTERPRETED:  # Triton's interpreter would multiply the bits of bf16
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, input_precision="tf32x3")


@triton.jit
def _weights(q, k, f, video, scale, KEEP: tl.constexpr):
    """softmax(q k^T): among the video's frames, and of each image to itself."""
    scores = _product(q, tl.trans(k)) * (scale * 1.4426950408889634)
    seen = (f[:, None] < video) & (f[None] < video) | (f[:, None] == f[None])
    scores = tl.where(seen, scores, float("-inf"))
    weights = tl.exp2(scores - tl.max(scores, 1)[:, None])
    weights = weights / tl.sum(weights, 1)[:, None]
    return weights if KEEP else tl.where(f[:, None] < video, weights, 0.0)


@triton.jit
def _attend_forward(
    q, k, v, out, frames, video, places, heads, by_clip, by_frame, by_place, scale,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, KEEP: tl.constexpr,
):  # fmt: skip
    """The output, (b, f, s, m e), of one head at one location of one clip."""
    head, place = tl.program_id(0) % heads, tl.program_id(0) // heads
    clip, place = (place // places).to(tl.int64), place % places
    f, e = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    inside = (f[:, None] < frames) & (e[None] < WIDTH)
    at = clip * by_clip + place * by_place + head * WIDTH + (f[:, None] * by_frame + e[None])
    queries, keys = tl.load(q + at, inside, 0.0), tl.load(k + at, inside, 0.0)
    values = tl.load(v + at, inside, 0.0)
    weights = _weights(queries, keys, f, video, scale, KEEP)
    result = _product(weights.to(values.dtype), values)
    row = heads * WIDTH
    at = (clip * frames * places + place) * row + head * WIDTH
    tl.store(out + at + (f[:, None] * (places * row) + e[None]), result, inside)


@triton.jit
def _attend_backward(
    q, k, v, grad, dq, dk, dv, frames, video, places, heads, by_clip, by_frame, by_place,
    to_clip, to_frame, to_place, scale,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, KEEP: tl.constexpr,
):  # fmt: skip
    """Gradients of one head at one location, from weights computed again: nothing is kept."""
    head, place = tl.program_id(0) % heads, tl.program_id(0) // heads
    clip, place = (place // places).to(tl.int64), place % places
    f, e = tl.arange(0, ROWS), tl.arange(0, COLUMNS)
    inside = (f[:, None] < frames) & (e[None] < WIDTH)
    at = clip * by_clip + place * by_place + head * WIDTH + (f[:, None] * by_frame + e[None])
    queries, keys = tl.load(q + at, inside, 0.0), tl.load(k + at, inside, 0.0)
    values = tl.load(v + at, inside, 0.0)
    row = heads * WIDTH
    at = (clip * frames * places + place) * row + head * WIDTH
    upstream = tl.load(grad + at + (f[:, None] * (places * row) + e[None]), inside, 0.0)
    weights = _weights(queries, keys, f, video, scale, KEEP)
    at = clip * to_clip + place * to_place + head * WIDTH + (f[:, None] * to_frame + e[None])
    turned = tl.trans(weights).to(upstream.dtype)
    tl.store(dv + at, _product(turned, upstream), inside)
    change = _product(upstream, tl.trans(values))
    change = weights * (change - tl.sum(weights * change, 1)[:, None]) * scale
    change = change.to(queries.dtype)
    tl.store(dq + at, _product(change, keys), inside)
    tl.store(dk + at, _product(tl.trans(change), queries), inside)


def warps(rows: int, dtype: torch.dtype) -> int:
    """Of a program: as few as leave everything in registers."""
    return max(1, rows // 16) * (dtype.itemsize // 2)


def _launch(kernel: Any, q: Tensor, tensors: Sequence[Any], heads: int, keep: bool) -> None:
    """Start one program for each head at each location."""
    b, f, s, d = q.shape
    width, rows = d // heads, max(_FEWEST, triton.next_power_of_2(f))
    columns = max(_FEWEST, triton.next_power_of_2(width))
    with torch.cuda.device_of(q):
        kernel[(b * s * heads,)](
            *tensors, width**-0.5, width, rows, columns, keep, num_warps=warps(rows, q.dtype)
        )


def _strided_alike(parts: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values with equal strides and adjacent widths; copies of any others."""
    q, k, v = split(parts)
    alike = q.stride() == k.stride() == v.stride() and q.stride(-1) == 1
    return (q, k, v) if alike else (q.contiguous(), k.contiguous(), v.contiguous())


@torch.library.custom_op("latte::attend_in_time", mutates_args=())
def attend_in_time(parts: Sequence[Tensor], heads: int, video: int, keep: bool) -> Tensor:
    """Attend at each location over the frames.

    Args:
        parts: queries, keys and values side by side, one (b, f, s, 3 d), or three (b, f, s, d); f
            is at most 64, e at most 128.
        heads: that d is split into.
        video: frames that attend to each other; images follow.
        keep: whether an image attends to itself, or its output is zero.

    Returns:
        (b, f, s, d), contiguous.
    """
    q, k, v = _strided_alike(parts)
    out = q.new_empty(q.shape)
    places = (q.shape[1], video, q.shape[2], heads)
    _launch(_attend_forward, q, (q, k, v, out, *places, *q.stride()[:3]), heads, keep)
    return out


@torch.library.custom_op("latte::attend_in_time_backward", mutates_args=())
def _gradients(
    grad: Tensor, parts: Sequence[Tensor], heads: int, video: int, keep: bool
) -> list[Tensor]:
    """Gradients of the parts, each contiguous."""
    grad, (q, k, v) = grad.contiguous(), _strided_alike(parts)
    found = [torch.empty(part.shape, dtype=q.dtype, device=q.device) for part in parts]
    dq, dk, dv = split(found)
    given = (q, k, v, grad, dq, dk, dv, q.shape[1], video, q.shape[2], heads)
    _launch(_attend_backward, q, (*given, *q.stride()[:3], *dq.stride()[:3]), heads, keep)
    return found


@attend_in_time.register_fake
def _(parts: Sequence[Tensor], heads: int, video: int, keep: bool) -> Tensor:
    *axes, width = parts[0].shape
    return parts[0].new_empty(*axes, width // 3 if len(parts) == 1 else width)


@_gradients.register_fake
def _(grad: Tensor, parts: Sequence[Tensor], heads: int, video: int, keep: bool) -> list[Tensor]:
    return [part.new_empty(part.shape) for part in parts]


def _keep_inputs(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    parts, *ctx.how = inputs
    ctx.save_for_backward(*parts)


def _backpropagate(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    return _gradients(grad, list(ctx.saved_tensors), *ctx.how), None, None, None


attend_in_time.register_autograd(_backpropagate, setup_context=_keep_inputs)
