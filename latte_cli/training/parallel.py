"""One batch on several devices: DDP or FSDP, and gradients that are the mean over all of them."""

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from latte_cli.config.train_section import TrainConfig
from latte_cli.models import Latte, LatteT2V
from latte_cli.models.sequence.groups import sequence_group
from latte_cli.runtime.devices import resolve_precision
from latte_cli.runtime.distributed import (
    distribute_like,
    full_tensor,
    is_distributed,
    is_sharded,
    world_size,
)


def shard(
    model: Latte | LatteT2V, ema: Latte | LatteT2V, train: TrainConfig, device: torch.device
) -> None:
    """Shard network and EMA over the processes by FSDP, if `train.shard` says so.

    Blocks are gathered in the autocast type, except the modulation, which is computed in float32;
    gradients are reduced in float32, and the shards stay float32.

    Args:
        model: float32.
        ema: its moving average, likewise.
        train: shard and precision are read.
        device: of the shards.
    """
    if train.shard == "none" or not is_distributed():
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

    # A modulation is a view, but nothing is changed in place.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view", UserWarning)
    mesh = init_device_mesh(device.type, (world_size(),))
    dtype = resolve_precision(train.precision, device)
    mixed = MixedPrecisionPolicy(dtype, torch.float32, cast_forward_inputs=False)
    exact = MixedPrecisionPolicy(cast_forward_inputs=False)
    for network, policy in ((model, mixed), (ema, exact)):
        for block in network.blocks:
            modulation = getattr(block, "adaLN_modulation", None)
            if modulation is not None:
                fully_shard(modulation, mesh=mesh, mp_policy=exact)
            fully_shard(block, mesh=mesh, mp_policy=policy)
        fully_shard(network, mesh=mesh, mp_policy=exact)
    # Parameters outside the blocks would stay gathered until a backward pass, which never comes.
    ema.register_forward_hook(lambda network, *_: cast(FSDPModule, network).reshard())


def load_full_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy whole weights into a network that may be sharded.

    Args:
        network: with the same names and sizes.
        weights: the same on every process.
    """
    own = network.state_dict()
    network.load_state_dict({name: distribute_like(weights[name], own[name]) for name in own})


def wrap_ddp_or_fsdp(model: Latte | LatteT2V, sequence_parallel: int = 1) -> nn.Module:
    """The module to call for training, whose gradients are averaged over all processes.

    Args:
        model: on its device.
        sequence_parallel: processes that share each clip.
    """
    model.sequence_group = sequence_group(sequence_parallel)
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
    """Let DDP average gradients only after the last micro-batch.

    Sharded gradients are reduced after each one, since a device holds only its part of them.
    """
    if last or not isinstance(network, DistributedDataParallel):
        return nullcontext()
    return cast(AbstractContextManager[None], network.no_sync())


def clip_gradients(model: nn.Module, max_norm: float | None) -> torch.Tensor:
    """Scale the gradients so that their total norm is at most `max_norm`.

    Args:
        model: with gradients.
        max_norm: None leaves them as they are.

    Returns:
        Their total norm before, 0-d on the device.
    """
    parameters = [value for value in model.parameters() if value.grad is not None]
    norm = full_tensor(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
    if max_norm is not None:
        nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
    return norm
