"""Residual, gate, layer norm, shift and scale in one pass over the tokens, in Triton.

Each row is read once, and its gradients are computed from the row itself: mean and variance are not
kept. A program takes some rows of one group, the tokens that share shift, scale and gate, and adds
up the gradients of these. The plain form is `norms.Modulation` around a layer norm.

Importing this module needs Triton, and registers `torch.ops.latte.add_norm_modulate`.
"""

# Axes: b clips, f frames, s tokens of a frame, d width, g groups.

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_ROWS = 16  # of a program


@triton.jit
def _normalized(h, inside, WIDTH: tl.constexpr, EPS: tl.constexpr):
    """A row without mean and with variance 1, and what it was multiplied by; zero outside."""
    centered = tl.where(inside, h - tl.sum(h, 0) / WIDTH, 0.0)
    factor = 1 / tl.sqrt(tl.sum(centered * centered, 0) / WIDTH + EPS)
    return centered * factor, factor


@triton.jit
def _norm_forward(
    x, out, gate, shift, scale, total, y, rows, by_group,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, GATED: tl.constexpr,
    EPS: tl.constexpr,
):  # fmt: skip
    """Compute total = x + gate out, and y = norm(total) (1 + scale) + shift, of some rows."""
    chunks = tl.cdiv(rows, ROWS)
    group, first = (tl.program_id(0) // chunks).to(tl.int64), tl.program_id(0) % chunks * ROWS
    c = tl.arange(0, BLOCK)
    own = group * by_group + c
    factor = 1 + tl.load(scale + own, c < WIDTH, 0.0).to(tl.float32)
    offset = tl.load(shift + own, c < WIDTH, 0.0).to(tl.float32)
    if GATED:
        weight = tl.load(gate + own, c < WIDTH, 0.0).to(tl.float32)
    for number in range(ROWS):
        row = first + number
        inside = c < tl.where(row < rows, WIDTH, 0)
        at = (group * rows + row) * WIDTH + c
        h = tl.load(x + at, inside, 0.0).to(tl.float32)
        if GATED:
            h += weight * tl.load(out + at, inside, 0.0).to(tl.float32)
            tl.store(total + at, h, inside)
        normal, _ = _normalized(h, inside, WIDTH, EPS)
        tl.store(y + at, normal * factor + offset, inside)


@triton.jit
def _norm_backward(
    total, out, gate, scale, d_total, d_y, d_x, d_out, sums, rows, by_group,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, ROWS: tl.constexpr, GATED: tl.constexpr,
    EPS: tl.constexpr,
):  # fmt: skip
    """Gradients of some rows of a group, and their sums for shift, scale and gate, (3, d)."""
    chunks = tl.cdiv(rows, ROWS)
    group, first = (tl.program_id(0) // chunks).to(tl.int64), tl.program_id(0) % chunks * ROWS
    c = tl.arange(0, BLOCK)
    own = group * by_group + c
    factor = 1 + tl.load(scale + own, c < WIDTH, 0.0).to(tl.float32)
    if GATED:
        weight = tl.load(gate + own, c < WIDTH, 0.0).to(tl.float32)
    of_shift = tl.zeros((BLOCK,), tl.float32)
    of_scale, of_gate = of_shift, of_shift
    for number in range(ROWS):
        row = first + number
        inside = c < tl.where(row < rows, WIDTH, 0)
        at = (group * rows + row) * WIDTH + c
        h = tl.load(total + at, inside, 0.0).to(tl.float32)
        normal, rate = _normalized(h, inside, WIDTH, EPS)
        change = tl.load(d_y + at, inside, 0.0).to(tl.float32)
        of_shift += change
        of_scale += change * normal
        change *= factor
        along = tl.sum(change * normal, 0) / WIDTH
        change = rate * (change - tl.sum(change, 0) / WIDTH - normal * along)
        if GATED:
            change += tl.load(d_total + at, inside, 0.0).to(tl.float32)
            of_gate += change * tl.load(out + at, inside, 0.0).to(tl.float32)
            tl.store(d_out + at, change * weight, inside)
        tl.store(d_x + at, change, inside)
    sums += tl.program_id(0).to(tl.int64) * (3 * WIDTH) + c
    tl.store(sums, of_shift, c < WIDTH)
    tl.store(sums + WIDTH, of_scale, c < WIDTH)
    if GATED:
        tl.store(sums + 2 * WIDTH, of_gate, c < WIDTH)


def _grouped(x: Tensor, *parts: Tensor) -> tuple[tuple[int, int], list[Tensor]]:
    """Groups and rows of each, and modulations as (g, d) with one stride and adjacent widths."""
    groups = x.shape[0] * parts[0].shape[1]
    flat = [part.reshape(groups, x.shape[-1]) for part in parts]
    alike = {part.stride() for part in flat}
    if len(alike) > 1 or flat[0].stride(-1) != 1:
        flat = [part.contiguous() for part in flat]
    return (groups, x[..., 0].numel() // groups), flat


def _launch(
    kernel: Any, x: Tensor, size: tuple[int, int], gated: bool, eps: float, *given: Any
) -> None:
    groups, rows = size
    width = x.shape[-1]
    block = triton.next_power_of_2(width)
    with torch.cuda.device_of(x):
        kernel[(groups * triton.cdiv(rows, _ROWS),)](
            *given, width, block, _ROWS, gated, eps, num_warps=min(8, max(1, block // 256))
        )


@torch.library.custom_op("latte::add_norm_modulate", mutates_args=())
def add_norm_modulate(
    x: Tensor,
    out: Tensor | None,
    gate: Tensor | None,
    shift: Tensor,
    scale: Tensor,
    dtype: torch.dtype,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """Compute total = x + gate out, and norm(total) (1 + scale) + shift.

    Args:
        x: (b, f, s, d).
        out: of the layer before, shaped as x; None: total is x, and its place is left empty.
        gate: (b, 1, 1, d), or (b, f, 1, d) where frames differ; None without out.
        shift: shaped as gate.
        scale: shaped as gate.
        dtype: of the second result; the first has that of x.
        eps: of the layer norm.

    Returns:
        Both (b, f, s, d), contiguous.
    """
    gated, x = gate is not None, x.contiguous()
    total = torch.empty_like(x) if gated else x.new_empty(0)
    y = torch.empty(x.shape, dtype=dtype, device=x.device)
    by_token = x if out is None else out.contiguous()
    size, by_group = _grouped(x, shift if gate is None else gate, shift, scale)
    given = (x, by_token, *by_group, total, y, size[1], by_group[0].stride(0))
    _launch(_norm_forward, x, size, gated, eps, *given)
    return total, y


@torch.library.custom_op("latte::add_norm_modulate_backward", mutates_args=())
def _gradients(
    d_total: Tensor | None,
    d_y: Tensor,
    total: Tensor,
    out: Tensor | None,
    gate: Tensor | None,
    scale: Tensor,
    eps: float,
) -> list[Tensor]:
    """Gradients of x, shift and scale; then, with a gate, of out and gate."""
    total, d_y = total.contiguous(), d_y.contiguous()
    by_token = [total if each is None else each.contiguous() for each in (out, d_total)]
    size, by_group = _grouped(total, scale if gate is None else gate, scale)
    d_x, d_out = torch.empty_like(total), torch.empty_like(by_token[0])
    chunks = triton.cdiv(size[1], _ROWS)
    sums = torch.empty(size[0], chunks, 3, total.shape[-1], device=total.device)
    given = (total, by_token[0], *by_group, by_token[1], d_y, d_x, d_out, sums, size[1])
    _launch(_norm_backward, total, size, gate is not None, eps, *given, by_group[0].stride(0))
    summed = sums.sum(1).to(scale.dtype).view(*scale.shape[:3], 3, -1).unbind(3)
    of_shift, of_scale, of_gate = (each.clone() for each in summed)
    return [d_x, of_shift, of_scale, *([] if gate is None else [d_out, of_gate])]


@add_norm_modulate.register_fake
def _(
    x: Tensor,
    out: Tensor | None,
    gate: Tensor | None,
    shift: Tensor,
    scale: Tensor,
    dtype: torch.dtype,
    eps: float,
) -> tuple[Tensor, Tensor]:
    return x.new_empty(0 if gate is None else x.shape), x.new_empty(x.shape, dtype=dtype)


@_gradients.register_fake
def _(
    d_total: Tensor | None,
    d_y: Tensor,
    total: Tensor,
    out: Tensor | None,
    gate: Tensor | None,
    scale: Tensor,
    eps: float,
) -> list[Tensor]:
    others = () if out is None or gate is None else (out, gate)
    return [each.new_empty(each.shape) for each in (total, scale, scale, *others)]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, out, gate, _, scale, _, ctx.eps = inputs
    ctx.save_for_backward(x if gate is None else output[0], out, gate, scale)


def _backpropagate(ctx: Any, d_total: Tensor, d_y: Tensor) -> tuple[Any, ...]:
    total, out, gate, scale = ctx.saved_tensors
    gated = gate is not None
    d_x, d_shift, d_scale, *others = _gradients(
        d_total if gated else None, d_y, total, out, gate, scale, ctx.eps
    )
    d_out, d_gate = others if gated else (None, None)
    return d_x, d_out, d_gate, d_shift, d_scale, None, None


add_norm_modulate.register_autograd(_backpropagate, setup_context=_keep)
