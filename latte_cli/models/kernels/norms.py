"""Layer norms with shift and scale, and gated residuals: plain, or by one kernel."""

# Axes: b clips, f frames, s tokens of a frame, d width.

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn


def autocast_disabled(c: Tensor) -> AbstractContextManager[None]:
    """Compute conditioning in float32, even under autocast.

    It is one vector per clip and costs almost nothing; in bf16 the label's small part of it would
    be rounded away beside the timestep's.
    """
    if not torch.amp.is_autocast_available(c.device.type):  # as on the meta device
        return nullcontext()
    return torch.autocast(c.device.type, enabled=False)


def to_autocast_dtype(x: Tensor) -> Tensor:
    """Cast to autocast's dtype once, for several layers that would each cast it again."""
    return x.to(_autocast_dtype(x))


def _autocast_dtype(x: Tensor) -> torch.dtype:
    """The type that linear layers compute x in."""
    device = x.device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return x.dtype
    return torch.get_autocast_dtype(device)


class Modulation(NamedTuple):
    """Shift, scale and gate of one sub-layer, each (b, 1, 1, d), or (b, f, 1, d) with images.

    None is no change.
    """

    shift: Tensor | None = None
    scale: Tensor | None = None
    gate: Tensor | None = None

    def modulate(self, x: Tensor) -> Tensor:
        """Shift and scale a sub-layer's input, (b, f, s, d)."""
        if self.scale is None or self.shift is None:
            return x
        return torch.addcmul(self.shift, x, 1 + self.scale)

    def add_gated(self, x: Tensor, out: Tensor) -> Tensor:
        """Add a sub-layer's gated output to the residual stream, (b, f, s, d)."""
        return x + out if self.gate is None else torch.addcmul(x, self.gate, out)

    def select(self, clips: slice, frames: slice) -> "Modulation":
        """The modulation of some frames of some clips."""
        return Modulation(
            *(p if p is None else p[clips, frames if p.shape[1] > 1 else slice(None)] for p in self)
        )


def modulated_norm(norm: nn.LayerNorm, x: Tensor, modulation: Modulation, kernels: bool) -> Tensor:
    """Normalize, shift and scale.

    Args:
        norm: without parameters.
        x: (b, f, s, d).
        modulation: its shift and scale are used.
        kernels: whether Triton's may be used; see `choice`.

    Returns:
        (b, f, s, d); by a kernel in the type that the next linear layer takes.
    """
    if modulation.shift is None or modulation.scale is None or not _takes_kernels(kernels):
        return modulation.modulate(norm(x))
    how = (modulation.shift, modulation.scale, _autocast_dtype(x), norm.eps)
    y: Tensor = torch.ops.latte.add_norm_modulate(x, None, None, *how)[1]
    return y


def add_and_norm(
    norm: nn.LayerNorm, x: Tensor, out: Tensor, gate: Tensor | None, after: Modulation
) -> tuple[Tensor, Tensor]:
    """Add a sub-layer's gated output, then normalize, shift and scale for the next, in a kernel.

    Args:
        norm: of the next sub-layer, without parameters.
        x: the residual stream, (b, f, s, d).
        out: of the sub-layer, shaped as x.
        gate: of the sub-layer; None is no change, and no kernel.
        after: the modulation of the next sub-layer.

    Returns:
        The residual stream, and the input of the next sub-layer.
    """
    if gate is None or after.shift is None or after.scale is None or not _takes_kernels(True):
        x = Modulation(gate=gate).add_gated(x, out)
        return x, after.modulate(norm(x))
    how = (after.shift, after.scale, _autocast_dtype(x), norm.eps)
    total, y = torch.ops.latte.add_norm_modulate(x, out, gate, *how)
    return total, y


def _takes_kernels(kernels: bool) -> bool:
    """Kernels have no forward-mode derivative, which `torch.func` may ask for."""
    return kernels and (
        torch.compiler.is_compiling() or not torch._C._are_functorch_transforms_active()
    )
