"""Attention on the CPU, forward and backward: written out against PyTorch's fused kernel.

    python tests/benchmarks/attention.py

Prints milliseconds and the ratio for each length, in bf16 and float32, both ways taken in turn in
one run, medians. `latte_cli.models.attention` chooses by these figures.
"""

# Axes: b clips, m heads, n tokens attended over, e width of a head.

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from latte_cli.models.attention import EXPLICIT_BELOW, explicit_attention

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


if __name__ == "__main__":
    main()
