"""The training step."""

# Axes: b clips.

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latte_cli.config import Config
from latte_cli.data.batch import Batch
from latte_cli.diffusion import Diffusion
from latte_cli.runtime.distributed import all_reduce_sum, world_size
from latte_cli.training.ema import update_ema
from latte_cli.training.losses import clip_losses
from latte_cli.training.parallel import clip_gradients, no_sync_until_last
from latte_cli.training.state import TrainState


@dataclass(frozen=True)
class StepMetrics:
    """What a step showed, as tensors on the device: reading one waits for the device.

    Attributes:
        loss: mean over the clips of all processes, 0-d float32, as mse and vlb.
        mse: of the prediction, without the weight that it has in the loss.
        vlb: variational bound.
        grad_norm: before clipping, 0-d float32.
        t: timesteps of this process's clips, (b,) long.
        loss_per_clip: of this process's clips, (b,) float32.
    """

    loss: Tensor
    mse: Tensor
    vlb: Tensor
    grad_norm: Tensor
    t: Tensor
    loss_per_clip: Tensor


def train_step(
    state: TrainState,
    batches: Sequence[Batch],
    diffusion: Diffusion,
    config: Config,
    dtype: torch.dtype,
) -> StepMetrics:
    """One optimizer step on one batch, without waiting for the device.

    Args:
        state: changed in place, its step counted up. A bad step (see `SpikeGuard`) leaves network,
            average and optimizer as they were.
        batches: this process's share of the batch, in portions of one size, on the state's device.
        diffusion: the objective.
        config: `train` is read.
        dtype: of the products.
    """
    train, optimizer = config.train, state.optimizer
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(config, state.step)
    losses = _gradients(state.network, batches, diffusion, config, dtype)
    loss, mse, vlb = all_reduce_sum(losses.mean(1) / world_size()).unbind()

    limit = train.clip_grad_norm if state.step >= train.clip_from_step else None
    grad_norm = clip_gradients(state.model, limit)
    bad = state.guard.judge(loss, grad_norm)
    optimizer.found_inf = bad  # type: ignore[attr-defined]  # as GradScaler does: 1 skips the step
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)  # here, so that the forward pass finds them gone
    state.step += 1
    update_ema(state.ema, state.model, train.ema_decay, state.step, skip=bad)
    return StepMetrics(
        loss=loss,
        mse=mse,
        vlb=vlb,
        grad_norm=grad_norm,
        t=torch.cat([batch.t for batch in batches]),
        loss_per_clip=losses[0],
    )


def _gradients(
    network: nn.Module,
    batches: Sequence[Batch],
    diffusion: Diffusion,
    config: Config,
    dtype: torch.dtype,
) -> Tensor:
    """Add up the gradients of the mean loss; each clip's loss, mse and vlb, (3, b) float32."""
    per_clip = []
    for number, batch in enumerate(batches, 1):
        with no_sync_until_last(network, last=number == len(batches)):
            terms = clip_losses(network, batch, diffusion, config, dtype)
            (terms.total.mean() / len(batches)).backward()
        per_clip.append(torch.stack([terms.total, terms.mse, terms.vlb]).detach())
    return torch.cat(per_clip, dim=1)


def learning_rate(config: Config, step: int) -> float:
    """The rate of the step after `step`: linear warm-up, then constant or half a cosine to zero."""
    train = config.train
    warm = min(1.0, (step + 1) / (train.warmup_steps + 1))
    if train.lr_schedule == "constant":
        return train.lr * warm
    span = max(1, train.steps - train.warmup_steps)
    progress = min(1.0, max(0, step - train.warmup_steps) / span)
    return train.lr * warm * 0.5 * (1 + math.cos(math.pi * progress))
