"""The one place that chooses how attention is computed."""

# Axes: n tokens attended over, e width of a head; any axes may stand before them.

import torch
import torch.nn.functional as F
from torch import Tensor

# On the CPU in bf16, PyTorch's fused kernel is slow on short sequences, most of all backward;
# in float32 it wins at every length. `tests/benchmarks/attention.py` prints the ratios.
EXPLICIT_BELOW = 512


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(e)) v over the last but one axis.

    Args:
        q: queries, (..., n, e), any floating type.
        k: keys, shaped as q.
        v: values, shaped as q.

    Returns:
        (..., n, e), in the type of v.
    """
    short = q.dtype == torch.bfloat16 and q.shape[-2] < EXPLICIT_BELOW
    if q.device.type == "cpu" and short:
        return explicit_attention(q, k, v)
    return F.scaled_dot_product_attention(q, k, v)


def explicit_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention with its weights written out: (..., n, e) -> (..., n, e)."""
    scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-2, -1))
    return torch.matmul(scores.softmax(dim=-1).to(v.dtype), v)
