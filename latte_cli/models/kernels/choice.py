"""Whether Triton's kernels are used, and if not, why."""

import warnings
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latte_cli.models.kernels.norms import Modulation
from latte_cli.models.kernels.pieces import attend_in_pieces
from latte_cli.models.latte import Latte
from latte_cli.models.latte_t2v import LatteT2V
from latte_cli.models.layers import Attention, Block, FrameAttention
from latte_cli.models.text_layers import TextAttention, TextBlock
from latte_cli.runtime.errors import LatteNote

_OLDEST = (3, 2)  # that the kernels have been compiled with
_CAPABILITY = (8, 0)  # of a GPU whose tensor cores multiply bf16
_TOLERANCE = 2e-2  # of a check in bf16, relative
_EPS = 1e-6


def set_kernels(model: nn.Module, *, attention: bool, norms: bool) -> None:
    """Let a network use Triton's kernels, or not.

    Args:
        model: the network.
        attention: over time.
        norms: layer norms with shift and scale; `torch.compile` makes such kernels itself.
    """
    for module in model.modules():
        if isinstance(module, Attention | FrameAttention | TextAttention):
            module.kernels = attention
        elif isinstance(module, Block | TextBlock):
            module.kernels = norms


def use_kernels(model: Latte | LatteT2V, device: torch.device, *, compiled: bool = False) -> None:
    """Let a network on a GPU use Triton's kernels, if they work there; else say why not.

    Args:
        model: the network.
        device: that it will be on.
        compiled: whether its blocks will be.
    """
    if device.type != "cuda":
        return
    reason = why_not(device) or _failure(device, model.shape.num_frames, model.shape.width)
    if reason:
        text = f"without Triton's kernels, which are faster: {reason}; train.kernels=off hides this"
        warnings.warn(LatteNote(text), stacklevel=2)
        return
    set_kernels(model, attention=True, norms=not compiled)


def why_not(device: torch.device) -> str:
    """Why a GPU has no kernels, as words; empty if nothing is missing."""
    wanted = ".".join(map(str, _OLDEST))
    try:
        found = version("triton")
    except PackageNotFoundError:
        return f"Triton is not installed (wanted: {wanted} or newer)"
    if tuple(int(part) for part in found.split(".")[:2]) < _OLDEST:
        return f"Triton {found} is too old (wanted: {wanted} or newer)"
    if torch.cuda.get_device_capability(device) < _CAPABILITY:
        return f"{torch.cuda.get_device_name(device)} is too old for them"
    return ""


@lru_cache
def _failure(device: torch.device, frames: int, width: int) -> str:
    """What goes wrong with kernels for a network of this size, as words; empty if nothing does."""
    try:
        from latte_cli.models.kernels import triton_attention, triton_norm  # noqa: F401

        errors = check_kernels(device, min(frames, 64), width)
    except Exception as error:  # a compiler, a driver and a device have many
        reason = str(error).strip().splitlines() or [""]
        return f"they fail on this machine: {type(error).__name__}: {reason[0]}"
    wrong = [name for name, error in errors.items() if not error < _TOLERANCE]
    return f"they compute another {wrong[0]} than PyTorch does" if wrong else ""


def check_kernels(device: torch.device, frames: int, width: int) -> dict[str, float]:
    """How far kernels are from plain PyTorch on random bf16 numbers.

    Args:
        device: to run on; the kernels have been imported.
        frames: of a clip, at most 64.
        width: of a token.

    Returns:
        The relative error of each result and gradient.
    """
    generator, heads = torch.Generator().manual_seed(0), max(1, width // 72)
    how = (heads, frames, True)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device, torch.bfloat16)

    x, out = normal(1, frames, 3, width), normal(1, frames, 3, width)
    modulation = [normal(1, 1, 1, width) for _ in range(3)]
    qkv = normal(1, frames, 3, 3 * (width // heads * heads))
    pairs: list[tuple[str, Callable[..., Tensor], Callable[..., Tensor], list[Tensor]]] = [
        (
            "attention over time",
            lambda qkv: torch.ops.latte.attend_in_time([qkv], *how),
            lambda qkv: attend_in_pieces([qkv], *how),
            [qkv],
        ),
        ("layer norm", _fused_norm, _plain_norm, [x, out, *modulation]),
    ]
    errors = {}
    with torch.enable_grad(), torch.autocast(device.type, enabled=False):
        for name, fused, plain, inputs in pairs:
            found = _with_gradients(fused, inputs)
            wanted = _with_gradients(plain, [each.float() for each in inputs])
            for number, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
                error = (ours.detach().float() - theirs.detach()).norm() / theirs.detach().norm()
                errors[f"gradient {number} of {name}" if number else name] = error.item()
    return errors


def _with_gradients(function: Callable[..., Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """A result, and the gradients of its sum for each input."""
    inputs = [each.detach().requires_grad_() for each in inputs]
    out = function(*inputs)
    return [out, *torch.autograd.grad(out, inputs, torch.ones_like(out))]


def _fused_norm(x: Tensor, out: Tensor, *modulation: Tensor) -> Tensor:
    both = torch.ops.latte.add_norm_modulate(x, out, *modulation, x.dtype, _EPS)
    return torch.cat(both, dim=-1)


def _plain_norm(x: Tensor, out: Tensor, *modulation: Tensor) -> Tensor:
    gate, shift, scale = modulation
    total = Modulation(gate=gate).add_gated(x, out)
    normal = F.layer_norm(total, total.shape[-1:], eps=_EPS)
    return torch.cat([total, Modulation(shift, scale).modulate(normal)], dim=-1)
