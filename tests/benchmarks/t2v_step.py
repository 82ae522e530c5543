"""A text-to-video step against diffusers' class, on the CPU.

    python tests/benchmarks/t2v_step.py [--rounds 7]

One call of the network for one denoising step: two clips, as guidance has it, of 16 frames of
32 x 32 x 4 latents, told 120 tokens of text; width 384, 6 spatial and 6 temporal blocks, the same
weights. Ours and diffusers' are taken in turn in one run; medians. In bf16 ours is float32 weights
under autocast, as `latte t2v` runs it, and diffusers' a network of bf16 weights.

Wanted: at least 1.3 times as fast in float32, with outputs within 1e-4 of the largest, and at least
1.15 times in bf16.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy

import torch
from diffusers import LatteTransformer3DModel
from torch import Tensor, nn

from latte_cli.models import LatteT2V, load_latte_t2v
from latte_cli.runtime.devices import autocast

WIDTH, HEADS, PAIRS, TOKENS, TEXT_WIDTH = 384, 6, 6, 120, 4096
CPU = torch.device("cpu")


def networks() -> tuple[LatteT2V, nn.Module]:
    """Ours and diffusers', with the same weights."""
    torch.manual_seed(0)
    theirs = LatteTransformer3DModel(
        num_attention_heads=HEADS,
        attention_head_dim=WIDTH // HEADS,
        in_channels=4,
        out_channels=8,
        num_layers=PAIRS,
        sample_size=32,
        patch_size=2,
        caption_channels=TEXT_WIDTH,
        cross_attention_dim=WIDTH,
        attention_bias=True,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        activation_fn="gelu-approximate",
        video_length=16,
    ).eval()
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        return load_latte_t2v(folder), theirs


@torch.no_grad()
def step_of_ours(model: LatteT2V, x: Tensor, t: Tensor, text: Tensor, dtype: torch.dtype) -> Tensor:
    with autocast(CPU, dtype):
        return model(x, t, text=text).float()


@torch.no_grad()
def step_of_theirs(model: nn.Module, x: Tensor, t: Tensor, text: Tensor) -> Tensor:
    """Their axes are (b, c, f, h, w)."""
    dtype = next(model.parameters()).dtype
    out = model(x.transpose(1, 2).to(dtype), t, text.to(dtype), return_dict=False)[0]
    return out.float().transpose(1, 2)


def seconds(run: Callable[[], Tensor]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    ours, theirs = networks()
    theirs_bf16 = deepcopy(theirs).to(torch.bfloat16)
    x, text = torch.randn(2, 16, 4, 32, 32), torch.randn(2, TOKENS, TEXT_WIDTH)
    t = torch.tensor([501, 501])

    runs = {
        "ours, float32": lambda: step_of_ours(ours, x, t, text, torch.float32),
        "diffusers, float32": lambda: step_of_theirs(theirs, x, t, text),
        "ours, bf16": lambda: step_of_ours(ours, x, t, text, torch.bfloat16),
        "diffusers, bf16": lambda: step_of_theirs(theirs_bf16, x, t, text),
    }
    outputs = {name: run() for name, run in runs.items()}  # the first call is not counted
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            spent[name].append(seconds(run))
    print(f"{rounds} rounds on {torch.get_num_threads()} threads")
    for name, values in spent.items():
        print(f"{name:>20}  {statistics.median(values):7.3f} s a step")
    for dtype in ("float32", "bf16"):
        mine, other = outputs[f"ours, {dtype}"], outputs[f"diffusers, {dtype}"]
        error = float((mine - other).abs().max() / other.abs().max())
        pairs = zip(spent[f"diffusers, {dtype}"], spent[f"ours, {dtype}"], strict=True)
        ratio = statistics.median(slow / fast for slow, fast in pairs)
        print(f"{dtype}: {ratio:.2f} times as fast; outputs differ by {error:.1e} of the largest")


if __name__ == "__main__":
    main()
