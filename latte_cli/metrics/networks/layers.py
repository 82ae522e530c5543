"""Shared by the feature networks: fast convolutions, folded batch normalization."""

# Axes: b clips, f frames, h height, w width, c channels.

from collections.abc import Mapping
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def convolve(layer: nn.Conv3d, x: Tensor) -> Tensor:
    """A convolution and a ReLU, equal to the layer's own up to rounding.

    Args:
        layer: without dilation and groups.
        x: (b, c, f, h, w) float32.

    Returns:
        The same with another c; on the CPU with channels last in memory.
    """
    if x.device.type != "cpu":
        return F.relu_(layer(x))
    assert layer.bias is not None
    if layer.kernel_size == (1, 1, 1):  # a matrix product; PyTorch would copy first
        rows = x.movedim(1, -1)
        flat = F.relu_(F.linear(rows.flatten(0, -2), layer.weight.flatten(1), layer.bias))
        return flat.reshape(*rows.shape[:-1], -1).movedim(-1, 1)
    x = x.contiguous(memory_format=torch.channels_last_3d)
    if not _has_onednn():
        return F.relu_(layer(x))
    # PyTorch uses oneDNN for large inputs only, but it is faster for small ones, too.
    assert not isinstance(layer.padding, str)
    return torch.mkldnn_convolution(
        x, layer.weight, layer.bias, layer.padding, layer.stride, layer.dilation, 1
    ).relu_()


def channels_last(network: nn.Module) -> None:
    """Store the weights of convolutions with channels last, like their inputs."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Conv3d):
            layout = formats[layer.weight.ndim]
            layer.weight.data = layer.weight.data.contiguous(memory_format=layout)


@cache
def _has_onednn() -> bool:
    """Whether oneDNN has kernels for 3D convolutions on this CPU."""
    capability = torch.backends.cpu.get_cpu_capability()
    return bool(torch.backends.mkldnn.is_available()) and capability.startswith("AVX")


def fold_batch_norm(state: Mapping[str, Tensor], conv: str, eps: float = 1e-3) -> dict[str, Tensor]:
    """Weights of the equivalent network without batch normalization.

    Args:
        state: weights under published names: `NAME.<conv>.weight` without bias, followed by
            `NAME.bn.weight`, `.bias`, `.running_mean` and `.running_var`; other tensors stay.
        conv: name of the convolution, such as `conv3d`.
        eps: added to the variance; 1e-3 in both of Google's networks.

    Returns:
        `NAME.weight` and `NAME.bias` for each, float32, computed in float64; `<conv>` is removed
        from the names of tensors without batch normalization.
    """
    folded = {
        name.replace(f".{conv}.", "."): tensor.float()
        for name, tensor in state.items()
        if ".bn." not in name
    }
    for name in (name for name in state if name.endswith(".bn.running_var")):
        layer = name.removesuffix(".bn.running_var")
        norm = {part: state[f"{layer}.bn.{part}"].double() for part in ("weight", "bias")}
        mean = state[f"{layer}.bn.running_mean"].double()
        scale = norm["weight"] / torch.sqrt(state[name].double() + eps)
        weight = state[f"{layer}.{conv}.weight"].double()
        broadcast = scale.reshape(-1, *[1] * (weight.ndim - 1))
        folded[f"{layer}.weight"] = (weight * broadcast).float()
        folded[f"{layer}.bias"] = (norm["bias"] - mean * scale).float()
    return folded
