"""The exponential moving average of a network's weights."""

import copy
from typing import TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


def make_ema(model: M) -> M:
    """A frozen copy of a network, to be moved after it."""
    ema = copy.deepcopy(model).eval()
    ema.requires_grad_(False)
    return ema


@torch.no_grad()
def update_ema(ema: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the average: ema <- d ema + (1 - d) model, in float32, all tensors in one call.

    Args:
        ema: from `make_ema`.
        model: the network just stepped.
        decay: d in the long run.
        step: steps taken so far, from 1. Early on d is at most (1 + step) / (10 + step), so that a
            short run's average is not its initialisation.
    """
    warm = min(decay, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()), 1 - warm)
