"""The processes started by torchrun; a single process if it was not used."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from latte_cli.runtime.errors import ConfigError, LatteError, TrainingError

if TYPE_CHECKING:
    from torch import Tensor

Item = TypeVar("Item")

_TIMEOUT = timedelta(minutes=10)
"""How long processes wait for a silent one; torchrun notices at once when one has ended.

Long enough for previews sampled by one process, waiting for a full disk, or compilation.
"""

_COUNTS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
_LAST_PORT = 65535
_ADDRESS = ("MASTER_ADDR", "MASTER_PORT")
_LAUNCHER_HINT = (
    "start several processes by torchrun, which sets RANK, WORLD_SIZE, LOCAL_RANK and "
    "LOCAL_WORLD_SIZE; for a single one unset them"
)

_kept_groups: list[object] = []


def check_launcher() -> None:
    """Check the variables by which a launcher numbers its processes.

    An empty one, as by `RANK=$SLURM_PROCID` outside of Slurm, is removed: it is one that is not
    set, and other libraries read it, too.

    Raises:
        ConfigError: if one is not a number, or they contradict each other.
    """
    for name in (*_COUNTS, *_ADDRESS):
        if not os.environ.get(name, name).strip():
            del os.environ[name]
    processes = world_size()
    if processes > 1 and "RANK" not in os.environ:
        raise ConfigError(
            f"WORLD_SIZE is {processes}, but RANK is not set or empty: which process is this?",
            hint=_LAUNCHER_HINT,
        )
    counts = {"RANK": rank()}
    if processes > 1:  # else LOCAL_RANK alone selects a GPU
        counts |= {"LOCAL_RANK": local_rank(), "LOCAL_WORLD_SIZE": local_world_size() - 1}
    for name, count in counts.items():
        if count >= processes:
            raise ConfigError(
                f"{name} is {os.environ[name]}, but WORLD_SIZE is "
                f"{os.environ.get('WORLD_SIZE', 'not set or empty')}",
                hint=_LAUNCHER_HINT,
            )


def rank() -> int:
    """The index of this process, 0 to `world_size() - 1`."""
    return _number("RANK", least=0)


def local_rank() -> int:
    """The index of this process among those on its node."""
    return _number("LOCAL_RANK", least=0)


def world_size() -> int:
    """The number of processes."""
    return _number("WORLD_SIZE", least=1)


def local_world_size() -> int:
    """The number of processes on this node."""
    return _number("LOCAL_WORLD_SIZE", least=1)


def _number(name: str, least: int) -> int:
    """The number in a launcher's variable; `least` if it is not set, or empty.

    Raises:
        ConfigError: if it is not a number, or a smaller one.
    """
    text = os.environ.get(name, "").strip()
    if not text:
        return least
    if not (text.isascii() and text.isdecimal()) or int(text) < least:
        raise ConfigError(f"{name} is `{text}`, not a number from {least} on", hint=_LAUNCHER_HINT)
    return int(text)


def is_main() -> bool:
    """Whether this is the process that prints and writes for all."""
    return rank() == 0


def own_shard_first(items: Sequence[Item]) -> list[Item]:
    """Items in the order in which this process tries them: its own share first."""
    order = [(rank() + offset) % world_size() for offset in range(world_size())]
    return [item for owner in order for item in items[owner :: world_size()]]


@contextmanager
def process_group(device_type: str) -> Iterator[None]:
    """Connect the processes started by torchrun; do nothing for a single process.

    Inside of another one the processes stay connected, and wait for one another at the end.

    Tensors on the CPU use gloo, those on GPUs NCCL.

    Args:
        device_type: of the network, `cpu` or `cuda`.

    Raises:
        ConfigError: if the launcher does not say where the first process is.
        TrainingError: if another process has ended or cannot be reached.
    """
    if world_size() == 1:
        yield
        return
    if is_distributed():  # connecting them a second time may never end
        yield
        barrier()
        return
    _check_address()
    import torch
    import torch.distributed as dist

    backend = "gloo"
    if device_type == "cuda":
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(local_rank())
    try:
        dist.init_process_group(backend, timeout=_TIMEOUT)
        yield
        dist.barrier()  # the first process to exit would look like one that has died
        # If DDP held the last reference to the group, it could deadlock: it would wait for gloo's
        # thread while it holds the interpreter's lock, which that thread may need.
        _kept_groups.append(dist.group.WORLD)
        dist.destroy_process_group()
    except RuntimeError as error:
        if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        reason = str(error).strip().splitlines()[0]
        raise TrainingError(
            f"process {rank()} of {world_size()} lost its connection to another one: {reason}",
            hint="that one's own message says why; run the same command again to resume from the "
            "newest checkpoint",
        ) from error


def _check_address() -> None:
    """Raise ConfigError unless the launcher says where the processes of a run meet."""
    for name in _ADDRESS:
        if not os.environ.get(name):
            raise ConfigError(
                f"WORLD_SIZE is {world_size()}, but {name} is not set or empty",
                hint="start by torchrun, or set MASTER_ADDR to the host of the first process and "
                "MASTER_PORT to a free port there, the same for all",
            )
    port = os.environ["MASTER_PORT"]
    if not (port.isascii() and port.isdecimal()) or int(port) > _LAST_PORT:
        raise ConfigError(
            f"MASTER_PORT is `{port}`, not a port", hint=f"a number up to {_LAST_PORT}"
        )


def is_distributed() -> bool:
    """Whether there are other processes, and `process_group` has connected them."""
    if world_size() == 1:
        return False
    import torch.distributed as dist

    return dist.is_available() and dist.is_initialized()


def barrier() -> None:
    """Wait until every process has reached this call."""
    if is_distributed():
        import torch.distributed as dist

        dist.barrier()


def broadcast_from_main(function: Callable[[], Item]) -> Item:
    """Call a function on the main process; return its result, or raise its error, on every one.

    Raises:
        LatteError: if the function does.
    """
    if not is_distributed():
        return function()
    import torch.distributed as dist

    result: list[Item | LatteError | None] = [None]
    if is_main():
        try:
            result = [function()]
        except LatteError as error:
            result = [error]
    dist.broadcast_object_list(result)
    if isinstance(result[0], LatteError):
        raise result[0]
    return result[0]  # type: ignore[return-value]  # an Item, which may be None


def is_sharded(value: "Tensor") -> bool:
    """Whether this process holds only a shard of a tensor, as of weights with `train.shard`."""
    if not is_distributed():
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(value, DTensor)


def local_shard(value: "Tensor") -> "Tensor":
    """The shard of a tensor that this process holds; all of it if it is not sharded."""
    return value.to_local() if is_sharded(value) else value  # type: ignore[attr-defined]  # DTensor


def full_tensor(value: "Tensor") -> "Tensor":
    """The full tensor; if it is sharded, every process must call this at the same time."""
    return value.full_tensor() if is_sharded(value) else value  # type: ignore[attr-defined]  # same


def distribute_like(value: "Tensor", like: "Tensor") -> "Tensor":
    """Distribute a full tensor like another one: if that is sharded, each process keeps a shard.

    Args:
        value: the same on every process.
        like: a tensor of the same shape, on the target device.
    """
    value = value.to(like.device)
    if not is_sharded(like):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value, like.device_mesh, like.placements)  # type: ignore[attr-defined]  # same


def all_reduce_sum(values: "Tensor") -> "Tensor":
    """The element-wise sum over all processes, on every process."""
    if is_distributed():
        import torch.distributed as dist

        dist.all_reduce(values)
    return values


def all_reduce_max(value: int) -> int:
    """The maximum over all processes of a non-negative value, on every process."""
    import torch

    values = torch.zeros(world_size(), dtype=torch.long)
    values[rank()] = value
    return int(all_reduce_sum(values).max())


class RequestSync:
    """Lets all processes act on a request at the same step, whichever process received it.

    The result is that of the exchange one step earlier, so that no process waits for it.
    """

    def __init__(self) -> None:
        self._pending: Callable[[], int] | None = None

    def exchange(self, request: int) -> int:
        """Send this process's request; return the largest one of the step before.

        A single process gets its own request back at once.
        """
        if not is_distributed():
            return request
        import torch
        import torch.distributed as dist

        previous = self._pending() if self._pending is not None else 0
        value = torch.tensor(max(request, 0))
        work = dist.all_reduce(value, dist.ReduceOp.MAX, async_op=True)

        def answer() -> int:
            assert work is not None
            work.wait()
            return int(value)

        self._pending = answer
        return previous
