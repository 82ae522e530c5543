"""A text-to-video step against diffusers' class, on the CPU.

    python tests/benchmarks/t2v_step.py [--rounds 7] [--train [--compile]]

One call of the network for one denoising step: two clips, as guidance has it, of 16 frames of
32 x 32 x 4 latents, told 120 tokens of text; width 384, 6 spatial and 6 temporal blocks, the same
weights. Ours and diffusers' are taken in turn in one run; medians. In bf16 ours is float32 weights
under autocast, as `latte t2v` runs it, and diffusers' a network of bf16 weights.

With --train, the gradients of a training step of these two clips: in bf16 both networks have
float32 weights under the same autocast. --compile also takes ours with compiled blocks.

Wanted: at least 1.3 times as fast in float32, with outputs within 1e-4 of the largest, and at least
1.15 times in bf16; in training not slower.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from functools import partial

import torch
from diffusers import LatteTransformer3DModel
from torch import Tensor, nn

from latte_cli.models import LatteT2V, load_latte_t2v
from latte_cli.runtime.devices import autocast
from latte_cli.training.compiling.blocks import compile_blocks

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


def step_of_ours(model: LatteT2V, x: Tensor, t: Tensor, text: Tensor, dtype: torch.dtype) -> Tensor:
    with autocast(CPU, dtype):
        return model(x, t, text=text).float()


def step_of_theirs(
    model: nn.Module, x: Tensor, t: Tensor, text: Tensor, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Their axes are (b, c, f, h, w)."""
    own = next(model.parameters()).dtype
    with autocast(CPU, dtype):
        out = model(x.transpose(1, 2).to(own), t, text.to(own), return_dict=False)[0]
    return out.float().transpose(1, 2)


def with_gradients(model: nn.Module, run: Callable[[], Tensor]) -> Tensor:
    """The output, once the gradients of its mean square are computed."""
    model.zero_grad(set_to_none=True)
    out = run()
    out.square().mean().backward()
    return out.detach()


def seconds(run: Callable[[], Tensor]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def runs_of(options: argparse.Namespace) -> dict[str, Callable[[], Tensor]]:
    """What is timed, by name."""
    ours, theirs = networks()
    x, text = torch.randn(2, 16, 4, 32, 32), torch.randn(2, TOKENS, TEXT_WIDTH)
    inputs = (x, torch.tensor([501, 501]), text)
    bf16 = torch.bfloat16
    if not options.train:
        theirs_bf16 = deepcopy(theirs).to(bf16)
        return {
            "ours, float32": lambda: step_of_ours(ours, *inputs, torch.float32),
            "diffusers, float32": lambda: step_of_theirs(theirs, *inputs),
            "ours, bf16": lambda: step_of_ours(ours, *inputs, bf16),
            "diffusers, bf16": lambda: step_of_theirs(theirs_bf16, *inputs),
        }
    runs = {}
    for name, dtype in (("float32", torch.float32), ("bf16", bf16)):
        runs[f"ours, {name}"] = partial(
            with_gradients, ours, partial(step_of_ours, ours, *inputs, dtype)
        )
        runs[f"diffusers, {name}"] = partial(
            with_gradients, theirs, partial(step_of_theirs, theirs, *inputs, dtype)
        )
    if options.compile:
        compiled = deepcopy(ours)
        compile_blocks(compiled)
        runs["compiled, bf16"] = partial(
            with_gradients, compiled, partial(step_of_ours, compiled, *inputs, bf16)
        )
    return runs


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    runs = runs_of(options)
    with nullcontext() if options.train else torch.no_grad():
        outputs = {name: run() for name, run in runs.items()}  # the first call is not counted
        spent: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(options.rounds):
            for name, run in runs.items():
                spent[name].append(seconds(run))
    print(f"{options.rounds} rounds on {torch.get_num_threads()} threads")
    for name, values in spent.items():
        print(f"{name:>20}  {statistics.median(values):7.3f} s a step")
    for name in runs:
        who, dtype = name.split(", ")
        if who != "diffusers":
            mine, other = outputs[name], outputs[f"diffusers, {dtype}"]
            error = float((mine - other).abs().max() / other.abs().max())
            pairs = zip(spent[f"diffusers, {dtype}"], spent[name], strict=True)
            ratio = statistics.median(slow / fast for slow, fast in pairs)
            print(
                f"{name}: {ratio:.2f} times as fast; outputs differ by {error:.1e} of the largest"
            )


if __name__ == "__main__":
    main()
