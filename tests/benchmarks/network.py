"""The network against a plain one: forward pass and training step on the CPU.

    python tests/benchmarks/network.py [--size S] [--rounds 7] [--compile]

Ours in bf16 and in float32, and the plain reference network of `tests/reference.py` in float32,
taken in turn in one run, medians. The clip is 16 frames of 32 x 32 x 4 latents. Work is counted,
not guessed; the matrix peak is that of a 4096 x 4096 product in the same run. A profile of one
training step follows: shares of the time that operations take themselves.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers.reference import ReferenceLatte

from latte_cli.config import load_config
from latte_cli.models import build_model

PEAK_SIDE = 4096
TYPES = {"bf16": torch.bfloat16, "float32": torch.float32}
OPERATIONS = {
    "mm": ("mm", "addmm", "_linear_pointwise", "mkldnn_convolution", "convolution_backward"),
    "softmax with bmm": (
        *("bmm", "_softmax", "_softmax_backward_data"),
        *(f"_scaled_dot_product_flash_attention_for_cpu{end}" for end in ("", "_backward")),
    ),
    "GELU": ("gelu", "gelu_backward"),
    "copies": ("copy_", "_to_copy", "clone", "cat"),
    "modulation": (
        *("addcmul", "mul", "sum", "add", "add_"),
        *("native_layer_norm", "native_layer_norm_backward"),
    ),
}
"""Operations by their part of a step; gradients of shifts, scales and gates are sums."""
FUSED = ("Torch-Compiled", "CompiledFunction", "## Call CompiledFxGraph")


def networks(size: str, compiled: bool) -> tuple[nn.Module, nn.Module]:
    """Ours and the plain one, with the same weights."""
    ours = build_model(load_config(None, [f"model.size={size}"]))
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.02)
    shape = ours.shape
    plain = ReferenceLatte(32, 16, shape.patch, shape.width, shape.depth, shape.heads)
    plain.load_state_dict(ours.state_dict())
    if compiled:
        for block in ours.blocks:
            block.compile()
    return ours, plain


def forward(model: nn.Module, clip: tuple[Tensor, Tensor], dtype: torch.dtype) -> None:
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        model(*clip)


def training(model: nn.Module, clip: tuple[Tensor, Tensor], dtype: torch.dtype) -> None:
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        out = model(*clip)
    out.float().square().mean().backward()
    model.zero_grad(set_to_none=True)


def product(a: Tensor) -> None:
    a @ a


def seconds(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def flops_of(run: Callable[[], None]) -> float:
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def shares(run: Callable[[], None]) -> dict[str, float]:
    """Each part's share of the time that a profile of a run finds, largest first."""
    run()  # blocks that another mode of PyTorch has run are compiled again
    with torch.profiler.profile() as profile:
        run()
    part_of = {name: part for part, names in OPERATIONS.items() for name in names}
    times = dict.fromkeys([*OPERATIONS, "fused by the compiler", "rest"], 0.0)
    for event in profile.key_averages():
        part = part_of.get(event.key.rpartition("::")[2], "rest")
        if event.key.startswith(FUSED):
            part = "fused by the compiler"
        times[part] += event.self_cpu_time_total
    total = sum(times.values())
    return {part: each / total for part, each in sorted(times.items(), key=lambda each: -each[1])}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", default="S")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compile", action="store_true", help="compile our blocks")
    options = parser.parse_args()
    torch.manual_seed(0)
    ours, plain = networks(options.size, options.compile)
    clip = (torch.randn(1, 16, 4, 32, 32), torch.tensor([500]))
    ways: dict[str, Callable[[], None]] = {}
    for name, pass_ in (("forward", forward), ("training", training)):
        ways[f"{name}, plain float32"] = partial(pass_, plain, clip, torch.float32)
        for kind, dtype in TYPES.items():
            ways[f"{name}, ours {kind}"] = partial(pass_, ours, clip, dtype)
    for kind, dtype in TYPES.items():
        side = torch.randn(PEAK_SIDE, PEAK_SIDE).to(dtype)
        ways[f"product, {kind}"] = partial(product, side)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds + 1):  # the first warms up
        for name, run in ways.items():
            times[name].append(seconds(run))
    took = {name: statistics.median(found[1:]) for name, found in times.items()}
    tell(options.size, ours, clip, took)
    for kind in TYPES:
        found = shares(ways[f"training, ours {kind}"])
        print(f"training, ours {kind}: {', '.join(f'{k} {v:.1%}' for k, v in found.items() if v)}")


def tell(size: str, ours: nn.Module, clip: tuple[Tensor, Tensor], took: dict[str, float]) -> None:
    """Print GFLOP/s, the share of the matrix peak, and times as fast as the plain network."""
    work = flops_of(partial(forward, ours, clip, torch.float32))
    print(f"Latte-{size}/2, {work / 1e9:.0f} GFLOP forward, {torch.get_num_threads()} threads")
    peaks = {kind: 2 * PEAK_SIDE**3 / took[f"product, {kind}"] for kind in TYPES}
    for kind, peak in peaks.items():
        print(f"matrix peak, {kind}: {peak / 1e9:.0f} GFLOP/s")
    for name, times in (("forward", 1), ("training", 3)):
        plain = took[f"{name}, plain float32"]
        print(f"{name:8}  plain float32  {plain:6.2f} s")
        for kind, peak in peaks.items():
            ours_took = took[f"{name}, ours {kind}"]
            rate = times * work / ours_took
            print(
                f"{name:8}  ours {kind:8}  {ours_took:6.2f} s  {rate / 1e9:4.0f} GFLOP/s"
                f"  {rate / peak:4.0%} of the peak  {plain / ours_took:.2f} times as fast"
            )


if __name__ == "__main__":
    main()
