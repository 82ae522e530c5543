"""Attention over time in plain PyTorch, some locations at a time.

Products need each head's frames side by side. Copied for the whole clip, that is most of the work
on a CPU; copied for as much as its cache holds, and written straight to where the next layer reads,
it is faster and takes no memory.
"""

# Axes: b clips, f frames, s locations, d width, m heads, e width of a head, n = (b s m) of a piece.

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.autograd.function import once_differentiable

_PIECE_BYTES = 3 << 19  # of a piece's queries

Piece = tuple[slice, slice]  # clips, locations


def split(parts: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, of one tensor as views, or of three."""
    q, k, v = parts[0].chunk(3, dim=-1) if len(parts) == 1 else parts
    return q, k, v


def _by_location(x: Tensor, heads: int, frames: int) -> Tensor:
    """A view: (b, f, s, d) -> (b, s, m, frames, e)."""
    return rearrange(x[:, :frames], "b f s (m e) -> b s m f e", m=heads)


def _pieces(x: Tensor) -> Iterator[Piece]:
    """Which clips and locations of (b, s, m, f, e) to take together; on a GPU all."""
    clips, places = x.shape[:2]
    if x.device.type != "cpu":
        yield slice(None), slice(None)
        return
    of_clip, of_place = x[0].numel() * x.itemsize, x[0, 0].numel() * x.itemsize
    step = max(1, _PIECE_BYTES // of_clip), max(1, _PIECE_BYTES // of_place)
    for clip in range(0, clips, step[0]):
        for place in range(0, places, step[1]):
            yield slice(clip, clip + step[0]), slice(place, place + step[1])


def _gather(x: Tensor, piece: Piece) -> Tensor:
    """A copy: (b, s, m, f, e) -> (n, f, e)."""
    return x[piece].reshape(-1, *x.shape[-2:])


def attend_in_pieces(parts: Sequence[Tensor], heads: int, video: int, keep: bool) -> Tensor:
    """Attend at each location over the frames.

    Args:
        parts: queries, keys and values side by side, one (b, f, s, 3 d), or three (b, f, s, d).
        heads: that d is split into.
        video: frames that attend to each other; images follow.
        keep: whether an image attends to itself, or its output is zero.

    Returns:
        (b, f, s, d), contiguous.
    """
    with torch.autocast(parts[0].device.type, enabled=False):  # all have one type already
        if torch.is_grad_enabled() and any(part.requires_grad for part in parts):
            out: Tensor = _InPieces.apply(  # type: ignore[no-untyped-call]  # PyTorch's
                heads, video, keep, *parts
            )
            return out
        return _forward(parts, heads, video, keep, kept=None)


def _forward(
    parts: Sequence[Tensor], heads: int, video: int, keep: bool, kept: list[Tensor] | None
) -> Tensor:
    """The output; what the backward pass needs of each piece is appended to `kept`."""
    values = split(parts)[2]
    out = values.new_empty(values.shape)
    out[:, video:] = values[:, video:] if keep else 0
    target = _by_location(out, heads, video)
    q, k, v = (_by_location(part, heads, video) for part in split(parts))
    for piece in _pieces(q):
        queries, keys, own = (_gather(part, piece) for part in (q, k, v))
        queries = queries * queries.shape[-1] ** -0.5
        weights = torch.bmm(queries, keys.transpose(1, 2)).softmax(dim=-1)
        target[piece] = torch.bmm(weights, own).view(target[piece].shape)
        if kept is not None:
            kept += [queries, keys, own, weights]
    return out


class _InPieces(torch.autograd.Function):
    """`_forward` with gradients that are written where the layer before reads them."""

    @staticmethod
    def forward(ctx: Any, heads: int, video: int, keep: bool, *parts: Tensor) -> Tensor:
        kept: list[Tensor] = []
        out = _forward(parts, heads, video, keep, kept)
        ctx.how = (heads, video, keep, [part.shape for part in parts])
        ctx.save_for_backward(*kept)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        heads, video, keep, shapes = ctx.how
        found = [grad.new_empty(shape) for shape in shapes]
        for part, of_values in zip(split(found), (False, False, True), strict=True):
            part[:, video:] = grad[:, video:] if of_values and keep else 0
        dq, dk, dv = (_by_location(part, heads, video) for part in split(found))
        upstream, kept = _by_location(grad, heads, video), iter(ctx.saved_tensors)
        for piece in _pieces(upstream):
            queries, keys, own, weights = (next(kept) for _ in range(4))
            own_grad, shape = _gather(upstream, piece), dq[piece].shape
            dv[piece] = torch.bmm(weights.transpose(1, 2), own_grad).view(shape)
            change = torch.bmm(own_grad, own.transpose(1, 2))
            change = torch.ops.aten._softmax_backward_data(change, weights, -1, weights.dtype)
            scale = queries.shape[-1] ** -0.5
            dq[piece] = torch.bmm(change, keys).mul_(scale).view(shape)
            dk[piece] = torch.bmm(change.transpose(1, 2), queries).view(shape)
        return None, None, None, *found
