"""This process among those that torchrun started; alone, where none did."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from latte_cli.runtime.errors import LatteError, TrainingError

if TYPE_CHECKING:
    from torch import Tensor

Item = TypeVar("Item")

_PATIENCE = timedelta(minutes=10)
"""How long processes wait for one that is alive but silent; torchrun sees at once which has ended.

Long enough for previews drawn by one process, a full disk that it waits for, or compilation.
"""

_kept: list[object] = []


def rank() -> int:
    """This process's number, 0 to `world_size() - 1`."""
    return int(os.environ.get("RANK", "0"))


def local_rank() -> int:
    """Its number among those on this machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def world_size() -> int:
    """How many processes work together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_world_size() -> int:
    """How many of them run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process is the one that speaks and writes for all."""
    return rank() == 0


def own_shard_first(items: Sequence[Item]) -> list[Item]:
    """Items in the order in which this process tries them: its own share, then that of others."""
    order = [(rank() + ahead) % world_size() for ahead in range(world_size())]
    return [item for owner in order for item in items[owner :: world_size()]]


@contextmanager
def process_group(device_type: str) -> Iterator[None]:
    """Let the processes that torchrun started speak with each other; alone, do nothing.

    Tensors on the CPU go by gloo, and those on GPUs by NCCL.

    Args:
        device_type: `cpu` or `cuda`, where the network is.

    Raises:
        TrainingError: if another process has ended or cannot be reached.
    """
    if world_size() == 1:
        yield
        return
    import torch
    import torch.distributed as dist

    backend = "gloo"
    if device_type == "cuda":
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(local_rank())
    try:
        dist.init_process_group(backend, timeout=_PATIENCE)
        yield
        dist.barrier()  # whoever ends first would be taken for one that has died
        # If DDP were the last to let go of the group, it would wait for gloo's thread, and that
        # perhaps for the interpreter's lock, which DDP holds.
        _kept.append(dist.group.WORLD)
        dist.destroy_process_group()
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        reason = str(error).strip().splitlines()[0]
        raise TrainingError(
            f"process {rank()} of {world_size()} has lost another one: {reason}",
            hint="that one's own message says why; the same command goes on from the newest "
            "checkpoint",
        ) from error


def is_distributed() -> bool:
    """Whether this process speaks with others: inside `process_group`, and if there are others."""
    if world_size() == 1:
        return False
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()


def barrier() -> None:
    """Go on once every process has come here."""
    if is_distributed():
        import torch.distributed as dist

        dist.barrier()


def broadcast_from_main(function: Callable[[], Item]) -> Item:
    """What a function gives on the main process, on every process; its errors, too.

    Raises:
        LatteError: as the function does.
    """
    if not is_distributed():
        return function()
    import torch.distributed as dist

    told: list[Item | LatteError | None] = [None]
    if is_main():
        try:
            told = [function()]
        except LatteError as error:
            told = [error]
    dist.broadcast_object_list(told)
    if isinstance(told[0], LatteError):
        raise told[0]
    return told[0]  # type: ignore[return-value]  # what the function gave, None included


def is_sharded(value: "Tensor") -> bool:
    """Whether this process holds but a part of a tensor, as of the weights under `train.shard`."""
    if not is_distributed():
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(value, DTensor)


def local_shard(value: "Tensor") -> "Tensor":
    """What this process holds of a tensor: all of it, unless it is sharded."""
    return value.to_local() if is_sharded(value) else value  # type: ignore[attr-defined]  # DTensor


def whole(value: "Tensor") -> "Tensor":
    """All of a tensor; if it is sharded, every process asks for it at the same time."""
    return value.full_tensor() if is_sharded(value) else value  # type: ignore[attr-defined]  # same


def distribute_like(value: "Tensor", like: "Tensor") -> "Tensor":
    """A whole tensor, held as another is: if that one is sharded, each process keeps its part.

    Args:
        value: the same on every process.
        like: of the same shape, on the device where it is to be.
    """
    value = value.to(like.device)
    if not is_sharded(like):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value, like.device_mesh, like.placements)  # type: ignore[attr-defined]  # same


def all_reduce_sum(values: "Tensor") -> "Tensor":
    """The element-wise sum over all processes, on every one of them; alone, the values."""
    if is_distributed():
        import torch.distributed as dist

        dist.all_reduce(values)
    return values


def all_reduce_max(value: int) -> int:
    """The largest of all processes' values, none of which is negative, on every one of them."""
    import torch

    values = torch.zeros(world_size(), dtype=torch.long)
    values[rank()] = value
    return int(all_reduce_sum(values).max())


class RequestSync:
    """Lets all processes do at the same step what one of them was asked to do.

    The answer is that of the step before, so that nobody waits for it.
    """

    def __init__(self) -> None:
        self._asked: Callable[[], int] | None = None

    def exchange(self, request: int) -> int:
        """The largest request of any process; alone, at once."""
        if not is_distributed():
            return request
        import torch
        import torch.distributed as dist

        agreed = self._asked() if self._asked is not None else 0
        value = torch.tensor(max(request, 0))
        work = dist.all_reduce(value, dist.ReduceOp.MAX, async_op=True)

        def answer() -> int:
            assert work is not None
            work.wait()
            return int(value)

        self._asked = answer
        return agreed
