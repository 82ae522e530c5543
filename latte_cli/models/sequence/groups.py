"""Processes in groups, and exchanges between those of a group that gradients go back through."""

# Axes: b clips, f frames, n processes.

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor

from latte_cli.runtime.distributed import is_distributed, rank, world_size


@dataclass(frozen=True)
class SequenceGroup:
    """The processes that share a clip.

    Attributes:
        group: of torch.distributed.
        size: how many they are.
        rank: of this process among them.
    """

    group: Any
    size: int
    rank: int


def sequence_group(size: int) -> SequenceGroup | None:
    """The processes, `size` in a row, of which this one is; None if it has clips alone.

    Every process must call this at the same time; their number must be a multiple of the size.
    """
    if size == 1 or not is_distributed():
        return None
    firsts = range(0, world_size(), size)
    groups = [dist.new_group([*range(first, first + size)]) for first in firsts]
    return SequenceGroup(groups[rank() // size], size, rank() % size)


def all_to_all(parts: Tensor, group: SequenceGroup) -> Tensor:
    """Part i of each process goes to process i: (n, …) -> (n, …), by sender."""
    return cast(Tensor, _AllToAll.apply(parts, group))  # type: ignore[no-untyped-call]  # torch's


class _AllToAll(torch.autograd.Function):
    """`all_to_all_single`, whose gradients go the way back."""

    @staticmethod
    def forward(ctx: Any, parts: Tensor, group: SequenceGroup) -> Tensor:
        ctx.group = group
        parts = parts.contiguous()
        received = torch.empty_like(parts)
        dist.all_to_all_single(received, parts, group=group.group)
        return received

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _AllToAll.forward(ctx, gradient, ctx.group), None


def gather_frames(x: Tensor, group: SequenceGroup) -> Tensor:
    """All processes' frames in a row: (b, f, …) -> (b, n f, …).

    Every process computes the same loss of them, and gradients are averaged over processes: so the
    gradient of a process's own frames counts n times.
    """
    return cast(Tensor, _Gather.apply(x.contiguous(), group))  # type: ignore[no-untyped-call]  # torch's


class _Gather(torch.autograd.Function):
    """`all_gather` along frames, see `gather_frames`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: SequenceGroup) -> Tensor:
        ctx.group, ctx.each = group, x.shape[1]
        parts = [torch.empty_like(x) for _ in range(group.size)]
        dist.all_gather(parts, x, group=group.group)
        return torch.cat(parts, dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        first = ctx.group.rank * ctx.each
        return ctx.group.size * gradient[:, first : first + ctx.each], None
