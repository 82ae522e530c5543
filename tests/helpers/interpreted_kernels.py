"""Triton's kernels in its interpreter, on the CPU, against plain PyTorch.

    TRITON_INTERPRET=1 python tests/helpers/interpreted_kernels.py

Prints a line of JSON: for each case the relative errors of result and gradients, and what
the layers around the kernel copied.
"""

# Axes: b clips, f frames, i images, s locations, d width, m heads, e width of a head.

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers.copies import copied_bytes
from helpers.networks import inputs, random_latte, random_text, relative_error, text_inputs
from latte_cli.models.attention import Images, attend_along
from latte_cli.models.kernels import triton_attention, triton_norm
from latte_cli.models.kernels.choice import set_kernels
from latte_cli.models.kernels.norms import Modulation
from latte_cli.models.layers import Attention

CLIPS, PLACES, HEADS = 2, 1, 2
LENGTHS = ((1, 0), (2, 1), (16, 8), (64, 0))  # frames of the video, images behind it


def errors_of(
    ours: Callable[..., Tensor], plain: Callable[..., Tensor], given: list[Tensor]
) -> list[float]:
    """Of the result and of each gradient, against float64 from the same numbers."""
    low, high = given, [each.double() for each in given]
    found = []
    for function, values in ((ours, low), (plain, high)):
        leaves = [value.clone().requires_grad_() for value in values]
        out = function(*leaves)
        generator = torch.Generator().manual_seed(0)
        upstream = torch.randn(out.shape, generator=generator).to(low[0].dtype).to(out.dtype)
        found.append([out, *torch.autograd.grad(out, leaves, upstream)])
    return [relative_error(a.double(), b) for a, b in zip(*found, strict=True)]


def attention_cases() -> Iterator[tuple[str, list[float]]]:
    """Both widths of heads, all lengths and types; each way of storing and of treating images."""
    number = 0
    for width in (64, 72):
        for frames, images in LENGTHS:
            for dtype in (torch.bfloat16, torch.float32):
                joined, keep = number % 3 > 0, number % 2 > 0
                number += 1
                joint = Images(images, "temporal-mask" if keep else "only-video")
                shape = (CLIPS, frames + images, PLACES, 3 * HEADS * width)
                qkv = torch.randn(shape, dtype=dtype)

                def ours(x, joined=joined, frames=frames, keep=keep):
                    parts = [x] if joined else list(x.chunk(3, dim=-1))
                    return torch.ops.latte.attend_in_time(parts, HEADS, frames, keep)

                def plain(x, joint=joint):
                    return attend_along("time", *x.chunk(3, dim=-1), HEADS, joint)

                name = f"{width} wide, {frames} frames, {images} images, {dtype}"
                yield name, errors_of(ours, plain, [qkv])


def norm_cases() -> Iterator[tuple[str, list[float]]]:
    """One modulation for a clip, or one for each frame; with and without a residual before."""
    for width, frames in ((64, 1), (72, 3)):
        for dtype in (torch.bfloat16, torch.float32):
            x = torch.randn(2, 3, 7, width)
            out = torch.randn(2, 3, 7, width, dtype=dtype)
            parts = torch.randn(2, frames, 1, 6 * width)
            for gated in (True, False):
                given = [x, parts, *([out] if gated else [])]

                def ours(x, parts, out=None, dtype=dtype):
                    shift, scale, gate = parts.chunk(6, dim=-1)[:3]
                    how = (None if out is None else gate, shift, scale, dtype, 1e-6)
                    total, y = torch.ops.latte.add_norm_modulate(x, out, *how)
                    return y.float() if out is None else torch.cat([total, y], dim=-1)

                def plain(x, parts, out=None):
                    modulation = Modulation(*parts.chunk(6, dim=-1)[:3])
                    total = x if out is None else modulation.add_gated(x, out)
                    y = modulation.modulate(F.layer_norm(total, total.shape[-1:], eps=1e-6))
                    return y if out is None else torch.cat([total, y], dim=-1)

                name = f"norm of {width}, {frames} modulations, {gated}, {dtype}"
                yield name, errors_of(ours, plain, given)


def network_cases() -> Iterator[tuple[str, list[float]]]:
    """Whole networks with kernels against the same without: output and gradients."""
    for design in (
        {"variant": 1, "joint": "only-video"},
        {"variant": 3, "joint": "temporal-mask"},
        {"variant": 6, "temporal_position": "rope"},
    ):
        model = random_latte(**design)
        yield str(design), network_errors(model, *inputs(model, clips=1, images=1))
    text_model = random_text(depth=2)
    yield "text", network_errors(text_model, *text_inputs(text_model, clips=1, images=1))
    compiled = random_latte(variant=1)
    for block in compiled.blocks:
        block.compile(backend="aot_eager", fullgraph=True)
    yield "compiled", network_errors(compiled, *inputs(compiled, clips=1))


def network_errors(model: nn.Module, x: Tensor, cond: dict[str, object]) -> list[float]:
    found = []
    for kernels in (False, True):
        set_kernels(model, attention=kernels, norms=kernels)
        model.zero_grad()
        out = model(x, **cond)
        out.square().mean().backward()
        gradients = [parameter.grad.flatten() for parameter in model.parameters()]
        found.append([out, torch.cat(gradients)])
    return [relative_error(ours, plain) for plain, ours in zip(*found, strict=True)]


def bytes_copied() -> list[float]:
    """Around the kernel, and around plain attention, in a temporal layer; and where q k v lay."""
    layer, x = Attention(128, 2, ["time"]), torch.randn(2, 5, 3, 128, requires_grad=True)
    found, storages, launch = [], [], triton_attention._launch
    layer.qkv.register_forward_hook(lambda _, __, out: storages.append(storage(out)))

    def watched(kernel, q, tensors, *how):
        storages.extend(storage(each) for each in tensors[:3])
        launch(kernel, q, tensors, *how)

    triton_attention._launch = watched
    for kernels in (True, False):
        set_kernels(layer, attention=kernels, norms=False)
        with copied_bytes() as copied:
            layer(x).sum().backward()
        found.append(sum(copied))
    return [*found, float(len(set(storages[:7])))]


def storage(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


def main() -> None:
    torch.manual_seed(0)
    triton_norm._ROWS = 4  # several programs for few rows
    found = {
        "attention": dict(attention_cases()),
        "norms": dict(norm_cases()),
        "networks": dict(network_cases()),
        "copies": bytes_copied(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
