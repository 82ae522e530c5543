"""Attention on the CPU, forward and backward: written out against PyTorch's fused kernel.

    python tests/benchmarks/attention.py

Prints milliseconds and the ratio for each length, in bf16 and float32, both ways taken in turn in
one run, medians. Then, for attention over the frames of clips, the same of copies of whole clips
and of pieces (`latte_cli.models.kernels.pieces`), in time of the processor, which other programs
change less. `latte_cli.models.attention` chooses by these figures.
"""

# Axes: b clips, f frames, s locations, d width, m heads, n tokens attended over, e width of a head.

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from latte_cli.models.attention import (
    EXPLICIT_BELOW,
    attend_along,
    attend_in_time,
    explicit_attention,
)

TOKENS = 8192  # in all, so that every length has the same work outside attention
HEADS, WIDTH = 6, 64
ROUNDS = 15


def step(attend: Callable[[Tensor, Tensor, Tensor], Tensor], parts: list[Tensor]) -> float:
    """Seconds of one forward and backward pass."""
    started = time.perf_counter()
    attend(*parts).sum().backward()
    return time.perf_counter() - started


def main() -> None:
    below = EXPLICIT_BELOW["cpu"]
    print(f"{torch.get_num_threads()} threads; written out in bf16 below {below} tokens")
    for dtype in (torch.bfloat16, torch.float32):
        for length in (8, 16, 64, 256, 512, 1024):
            shape = (TOKENS // length, HEADS, length, WIDTH)
            parts = [torch.randn(shape, dtype=dtype, requires_grad=True) for _ in range(3)]
            ways = {"written out": explicit_attention, "fused": F.scaled_dot_product_attention}
            times: dict[str, list[float]] = {name: [] for name in ways}
            for _ in range(ROUNDS):
                for name, attend in ways.items():
                    times[name].append(step(attend, parts))
            ours, fused = (statistics.median(times[name][3:]) for name in ways)
            print(
                f"{dtype!s:15} {length:5} tokens   written out {ours * 1e3:8.2f} ms   "
                f"fused {fused * 1e3:8.2f} ms   ratio {fused / ours:5.2f}"
            )
    over_time()


def over_time() -> None:
    """Clips of Latte-S/2 and XL/2, from queries, keys and values side by side, under autocast."""
    ways: dict[str, Callable[[Tensor, int], Tensor]] = {
        "copied whole": lambda qkv, heads: attend_along("time", *qkv.chunk(3, dim=-1), heads),
        "in pieces": lambda qkv, heads: attend_in_time([qkv], heads),
    }
    for clips, width, heads in ((1, 384, 6), (4, 384, 6), (1, 1152, 16)):
        for dtype in (torch.bfloat16, torch.float32):
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
            for _ in range(ROUNDS):
                qkv = torch.randn(clips, 16, 256, 3 * width, dtype=dtype, requires_grad=True)
                for name, attend in ways.items():
                    times[name].append(both_passes(attend, qkv, heads))
            told = [f"{clips} x 16 x 256 x {width}, {dtype!s:15}"]
            for name, found in times.items():
                forward, both = (statistics.median(each) for each in zip(*found[3:], strict=True))
                told.append(f"{name} {forward * 1e3:6.1f} ms, with backward {both * 1e3:6.1f} ms")
            print("   ".join(told))


def both_passes(
    attend: Callable[[Tensor, int], Tensor], qkv: Tensor, heads: int
) -> tuple[float, float]:
    """The processor's seconds of a forward pass without gradients, and of one with its backward."""
    with torch.autocast("cpu", torch.bfloat16, enabled=qkv.dtype == torch.bfloat16):
        started = time.process_time()
        with torch.no_grad():
            attend(qkv, heads)
        forward = time.process_time() - started
        started = time.process_time()
        out = attend(qkv, heads)
    took = time.process_time() - started
    upstream = torch.randn_like(out)
    started = time.process_time()
    torch.autograd.grad(out, qkv, upstream)
    return forward, took + time.process_time() - started


if __name__ == "__main__":
    main()
