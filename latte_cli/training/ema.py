"""The exponential moving average of a network's weights."""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from latte_cli.runtime.distributed import local_shard

M = TypeVar("M", bound=nn.Module)


def make_ema(model: M) -> M:
    """A frozen copy of a network, to be moved after it."""
    ema = copy.deepcopy(model).eval()
    ema.requires_grad_(False)
    return ema


@torch.no_grad()
def update_ema(
    ema: nn.Module, model: nn.Module, decay: float, step: int, skip: Tensor | None = None
) -> None:
    """Move the average: ema <- d ema + (1 - d) model, in float32, all tensors in one call.

    Args:
        ema: from `make_ema`; sharded as the network is, if that is.
        model: the network just stepped.
        decay: d in the long run.
        step: steps taken so far, from 1. Early on d is at most (1 + step) / (10 + step), so that a
            short run's average is not its initialisation.
        skip: 0-d float on the network's device: 1 leaves the average as it is, 0 moves it. Whether
            it does is then decided on the device, without waiting for it.
    """
    weight = 1 - min(decay, (1 + step) / (10 + step))
    ours: list[Tensor] = [local_shard(value) for value in ema.parameters()]
    theirs: list[Tensor] = [local_shard(value) for value in model.parameters()]
    if skip is None:
        torch._foreach_lerp_(ours, theirs, weight)
    else:
        torch._foreach_lerp_(ours, theirs, weights=[weight * (1 - skip)] * len(ours))
