"""Attention and norms alone, at Latte-XL/2's shapes: each way against the others."""

# Axes: b clips, f frames, s tokens of a frame, d width, m heads, e width of a head.

from collections.abc import Callable, Iterator
from unittest import mock

import torch
import torch.nn.functional as F
from einops import rearrange
from helpers.networks import relative_error
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from gpu_parts.context import Context, Row, reason
from latte_cli.models import attention
from latte_cli.models.kernels.choice import why_not
from latte_cli.models.kernels.norms import Modulation
from latte_cli.models.kernels.pieces import attend_in_pieces

HEADS = 16
WARPS = (1, 2, 4)

Results = Tensor | tuple[Tensor, ...]
Way = tuple[str, Callable[..., Results]]


def _compare(
    context: Context, layer: str, ways: list[Way], given: list[Tensor], moved: int
) -> Iterator[Row]:
    """Times forward and with a backward pass, and errors against the first way in float32.

    Args:
        context: of the part.
        layer: its name.
        ways: names and functions of `given`.
        given: tensors that gradients are taken of.
        moved: bytes that both passes together must at least read and write.
    """
    leaves = [each.clone().requires_grad_() for each in given]
    wanted = _tuple(ways[0][1](*(each.float() for each in given)))
    upstream = [torch.randn_like(each) for each in wanted]
    for name, way in ways:
        if context.left < 2:
            yield {"layer": layer, "way": name, "note": "no time left"}
            continue

        def both(way: Callable[..., Results] = way) -> None:
            out = _tuple(way(*leaves))
            given = [a.to(b.dtype) for a, b in zip(upstream, out, strict=True)]
            torch.autograd.grad(out, leaves, given)

        try:
            with torch.no_grad():
                found = _tuple(way(*given))
                forward = context.time_of(lambda way=way: way(*given))
            step = context.time_of(both)
        except Exception as failed:
            yield {"layer": layer, "way": name, "note": reason(failed)}
            continue
        pairs = zip(found, wanted, strict=True)
        yield {
            "layer": layer,
            "way": name,
            "forward, ms": forward * 1e3,
            "with backward, ms": step * 1e3,
            "GB/s of what must move": moved / step / 1e9,
            "relative error": max(relative_error(a.float(), b) for a, b in pairs),
        }
        context.forget()


def _tuple(results: Results) -> tuple[Tensor, ...]:
    return (results,) if isinstance(results, Tensor) else results


def layers(context: Context) -> Iterator[Row]:
    """Attention over time and in space, then residual, gate, norm and modulation."""
    clips, frames, places, width = (2, 4, 4, 64) if context.tiny else (8, 16, 256, 1152)
    heads = 4 if context.tiny else HEADS
    qkv = torch.randn(clips, frames, places, 3 * width)
    qkv = qkv.to(context.device, torch.bfloat16)
    moved = 11 * qkv.nbytes // 3  # q k v and out; then q k v, upstream and three gradients
    yield from _compare(context, "attention over time", _over_time(context, heads), [qkv], moved)
    yield from _compare(context, "attention in space", _in_space(context, heads), [qkv], moved)
    x = torch.randn(clips, frames, places, width, device=context.device)
    out = torch.randn_like(x).bfloat16()
    parts = torch.randn(clips, 1, 1, 3 * width, device=context.device)
    # x, out and both results; then the residual, out, both upstreams and both gradients.
    moved = 5 * x.nbytes + 5 * out.nbytes
    yield from _compare(context, "residual and norm", _norms(context), [x, out, parts], moved)


def _over_time(context: Context, heads: int) -> list[Way]:
    def fused(qkv: Tensor) -> Tensor:
        with mock.patch.dict(attention.EXPLICIT_BELOW, {context.device.type: 0}):
            return attention.attend_along("time", *qkv.chunk(3, dim=-1), heads)

    def by_clip(qkv: Tensor) -> Tensor:
        layout = "f s (k m e) -> k s m f e"
        clips = [rearrange(clip, layout, k=3, m=heads) for clip in qkv]
        parts = [F.scaled_dot_product_attention(*clip) for clip in clips]
        return torch.stack([rearrange(part, "s m f e -> f s (m e)") for part in parts])

    def explicit(qkv: Tensor) -> Tensor:
        return attend_in_pieces([qkv], heads, qkv.shape[1], True)

    ways: list[Way] = [
        ("fused, copied first", fused),
        ("fused, a clip at a time", by_clip),
        ("explicit weights", explicit),
    ]
    if context.on_gpu and not why_not(context.device):
        from latte_cli.models.kernels import triton_attention

        def kernel(qkv: Tensor, warps: int | None = None) -> Tensor:
            chosen = (lambda rows, dtype: warps) if warps else triton_attention.warps
            with mock.patch.object(triton_attention, "warps", chosen):
                return torch.ops.latte.attend_in_time([qkv], heads, qkv.shape[1], True)

        ways.append(("Triton's kernel", kernel))
        for warps in WARPS:
            name = f"Triton's kernel, {warps} warps"
            ways.append((name, lambda qkv, warps=warps: kernel(qkv, warps)))
    return ways


def _in_space(context: Context, heads: int) -> list[Way]:
    def attend(qkv: Tensor) -> Tensor:
        return attention.attend_along("space", *qkv.chunk(3, dim=-1), heads)

    def by(backend: SDPBackend) -> Callable[[Tensor], Tensor]:
        def run(qkv: Tensor) -> Tensor:
            with sdpa_kernel(backend):
                return attend(qkv)

        return run

    ways: list[Way] = [("as PyTorch chooses", attend)]
    if context.on_gpu:
        for backend in ("FLASH_ATTENTION", "CUDNN_ATTENTION", "EFFICIENT_ATTENTION"):
            ways.append((backend.lower(), by(getattr(SDPBackend, backend))))
    return ways


def _norms(context: Context) -> list[Way]:
    def plain(x: Tensor, out: Tensor, parts: Tensor) -> tuple[Tensor, Tensor]:
        modulation = Modulation(*parts.chunk(3, dim=-1))
        total = modulation.add_gated(x, out)
        normal = F.layer_norm(total, total.shape[-1:], eps=1e-6)
        return total, modulation.modulate(normal).to(out.dtype)

    ways: list[Way] = [("plain", plain)]
    if context.on_gpu:
        ways.append(("compiled", torch.compile(plain)))
    if context.on_gpu and not why_not(context.device):
        from latte_cli.models.kernels import triton_norm  # noqa: F401

        def kernel(x: Tensor, out: Tensor, parts: Tensor) -> tuple[Tensor, Tensor]:
            shift, scale, gate = parts.chunk(3, dim=-1)
            return torch.ops.latte.add_norm_modulate(x, out, gate, shift, scale, out.dtype, 1e-6)

        ways.append(("Triton's kernel", kernel))
    return ways
