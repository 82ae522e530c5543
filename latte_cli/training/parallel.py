"""One batch over several devices: who takes which clips, and gradients that are the mean of all.

Each device holds the network, and its gradients are sent (DDP), or each holds a part of it, and
weights are sent, too, block by block, when they are wanted (FSDP).
"""

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from latte_cli.config.sections import TrainConfig
from latte_cli.models import Latte
from latte_cli.models.layers import Block
from latte_cli.runtime.devices import resolve_precision
from latte_cli.runtime.distributed import (
    distribute_like,
    is_distributed,
    is_sharded,
    rank,
    whole,
    world_size,
)
from latte_cli.runtime.errors import ConfigError


def micro_batches(train: TrainConfig) -> list[range]:
    """Which clips of each batch this process takes, in portions of one size.

    A batch, and so the loss, is the same whatever the number of processes and portions.

    Raises:
        ConfigError: if the batch does not divide among them.
    """
    processes, portions = world_size(), train.accumulate
    if train.batch_size % (processes * portions):
        nearest = max(1, round(train.batch_size / (processes * portions))) * processes * portions
        raise ConfigError(
            f"train.batch_size {train.batch_size} does not divide among {processes} processes "
            f"with train.accumulate {portions} each",
            hint=f"-o train.batch_size={nearest} does; it is the batch of all processes together",
        )
    own = range(rank(), train.batch_size, processes)
    size = len(own) // portions
    return [own[first : first + size] for first in range(0, len(own), size)]


def shard(model: Latte, ema: Latte, train: TrainConfig, device: torch.device) -> None:
    """Leave each process a part of every weight; alone, all of them.

    Blocks are sent in the type of the products, but for what they compute in float32, the
    modulation; gradients are added up in float32, and what is kept stays float32.

    Args:
        model: float32; what its blocks need is gathered for the time they need it.
        ema: its average, the same.
        train: shard and precision are read.
        device: where the parts are to be.
    """
    if train.shard == "none" or not is_distributed():
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    # A modulation is a view, but nothing is changed in place.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view", UserWarning)
    mesh = init_device_mesh(device.type, (world_size(),))
    dtype = resolve_precision(train.precision, device)
    products = MixedPrecisionPolicy(dtype, torch.float32, cast_forward_inputs=False)
    exact = MixedPrecisionPolicy(cast_forward_inputs=False)
    for network, policy in ((model, products), (ema, exact)):
        for block in network.blocks:
            modulation = cast(Block, block).adaLN_modulation
            if modulation is not None:
                fully_shard(modulation, mesh=mesh, mp_policy=exact)
            fully_shard(block, mesh=mesh, mp_policy=policy)
        fully_shard(network, mesh=mesh, mp_policy=exact)
    # What lies outside the blocks would stay whole until the backward pass, which never comes.
    ema.register_forward_hook(lambda network, *_: cast(FSDPModule, network).reshard())


def put_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy whole weights into a network that may be sharded.

    Args:
        network: which has all of them, in the same sizes.
        weights: the same on every process.
    """
    own = network.state_dict()
    network.load_state_dict({name: distribute_like(weights[name], own[name]) for name in own})


def wrap_ddp_or_fsdp(model: nn.Module) -> nn.Module:
    """What to call in the network's place: its gradients become the mean over all processes."""
    if not is_distributed() or is_sharded(next(model.parameters())):
        return model
    device = next(model.parameters()).device
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the setting's new name is PyTorch 2.13's
        return DistributedDataParallel(
            model,
            device_ids=[device] if device.type == "cuda" else None,
            broadcast_buffers=False,  # tables of positions, the same everywhere
            gradient_as_bucket_view=True,
        )


def no_sync_until_last(network: nn.Module, *, last: bool) -> AbstractContextManager[None]:
    """Around one portion of a batch: only the last one's gradients are sent to other processes.

    Sharded gradients are sent each time, since only parts of them fit.
    """
    if last or not isinstance(network, DistributedDataParallel):
        return nullcontext()
    return cast(AbstractContextManager[None], network.no_sync())


def clip_gradients(model: nn.Module, limit: float | None) -> torch.Tensor:
    """Scale gradients so that their norm is at most a limit.

    Args:
        model: with gradients.
        limit: largest norm; None leaves them as they are.

    Returns:
        The norm of all of them together, before, 0-d on the device.
    """
    parameters = list(model.parameters())
    norm = whole(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
    if limit is not None:
        nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return norm
