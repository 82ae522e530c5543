"""The training step: losses, gradients, one optimizer update, and the EMA."""

# Axes: b clips.

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from latte_cli.checkpoints.averages import NARROW, WIDE, power_weight
from latte_cli.config.train_section import TrainConfig
from latte_cli.data.batch import Batch
from latte_cli.diffusion import Diffusion, LossTerms
from latte_cli.models import Latte
from latte_cli.models.inputs import Route
from latte_cli.runtime.devices import autocast
from latte_cli.runtime.distributed import all_reduce_sum, local_shard, rank, world_size
from latte_cli.runtime.randomness import seeded
from latte_cli.runtime.signals import Interrupted
from latte_cli.training.parallel import clip_gradients, no_sync_until_last
from latte_cli.training.state import TrainState
from latte_cli.training.targets.flow_map import (
    at_turn,
    flow_map_clip_losses,
    map_step_clip_losses,
)
from latte_cli.training.targets.guidance import guidance_shift
from latte_cli.training.targets.teacher import for_teacher, teacher_path, teacher_shift


@dataclass(frozen=True)
class StepMetrics:
    """Metrics of one step, as tensors on the device: reading one waits for the device.

    Attributes:
        loss: mean over the clips of all processes, 0-d float32, as are mse and vlb.
        mse: of the prediction, without its weight in the loss.
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
    train: TrainConfig,
    dtype: torch.dtype,
    interruptible: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> StepMetrics:
    """Take one optimizer step on one batch, without waiting for the device.

    Args:
        state: changed in place; its step is incremented. A bad step (see `SpikeGuard`) leaves the
            network, the EMA and the optimizer as they were.
        batches: this process's micro-batches, all of one size, on the state's device.
        diffusion: the objective.
        train: the optimizer's settings.
        dtype: of the matrix products, by autocast.
        interruptible: entered while gradients are computed; if it raises `Interrupted`, the state
            is as before the step.

    Raises:
        Interrupted: see `interruptible`.
    """
    optimizer, turn = state.optimizer, train.drawn_before(state.batch_number)
    batches = [at_turn(batch, diffusion, turn) for batch in batches]
    state.set_position_scale(train)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(train, state.step, group["peak_lr"])
    try:
        with interruptible():
            per_clip = accumulate_gradients(state, batches, diffusion, train, dtype)
    except Interrupted:
        optimizer.zero_grad(set_to_none=True)
        raise
    loss, mse, vlb = all_reduce_sum(per_clip.mean(1) / world_size()).unbind()

    max_norm = train.clip_grad_norm if state.step >= train.clip_from_step else None
    grad_norm = clip_gradients(state.model, max_norm)
    bad = state.guard.check(loss, grad_norm)
    optimizer.found_inf = bad  # type: ignore[attr-defined]  # as GradScaler does: 1 skips the step
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)  # here, so that the forward pass has their memory
    state.step += 1
    state.set_position_scale(train)  # for what is sampled and measured after this step
    if state.narrow is None:
        warmup = train.ema_warmup == "adaptive"
        update_ema(state.ema, state.model, train.ema_decay, state.step, skip=bad, warmup=warmup)
    else:
        update_power_averages(state.ema, state.narrow, state.model, state.step)
    return StepMetrics(
        loss=loss,
        mse=mse,
        vlb=vlb,
        grad_norm=grad_norm,
        t=torch.cat([batch.t for batch in batches]),
        loss_per_clip=per_clip[0],
    )


def accumulate_gradients(
    state: TrainState,
    batches: Sequence[Batch],
    diffusion: Diffusion,
    train: TrainConfig,
    dtype: torch.dtype,
) -> Tensor:
    """Sum the gradients of the mean loss; return each clip's loss, mse and vlb, (3, b) float32."""
    network, per_clip = state.network, []
    for number, batch in enumerate(batches, 1):
        with no_sync_until_last(network, last=number == len(batches)):
            _seed_dropout(state, train, number)
            target = _target(state, batch, number, diffusion, train, dtype)
            if diffusion.is_flow_map:
                terms = _flow_map_losses(state, batch, diffusion, dtype, target)
            else:
                called = _routed(network, batch, state, train)
                terms = clip_losses(called, batch, diffusion, train, dtype, target)
            (terms.total.mean() / len(batches)).backward()
        per_clip.append(torch.stack([terms.total, terms.mse, terms.vlb]).detach())
    return torch.cat(per_clip, dim=1)


def _flow_map_losses(
    state: TrainState,
    batch: Batch,
    diffusion: Diffusion,
    dtype: torch.dtype,
    target: Tensor | None,
) -> LossTerms:
    network, model = state.network, state.model
    assert isinstance(model, Latte), "the configuration is checked"
    if diffusion.map_timesteps is None:
        return flow_map_clip_losses(network, model, batch, diffusion, dtype, target)
    assert target is not None, "the configuration is checked"
    return map_step_clip_losses(network, model, batch, target, diffusion, dtype)


def _seed_dropout(state: TrainState, train: TrainConfig, micro_batch: int) -> None:
    """Make the dropout of adapters, which torch samples itself, the same in a resumed run."""
    if train.lora is not None and train.lora.dropout:
        own = seeded(train.seed, state.batch_number, rank() // train.sequence_parallel, micro_batch)
        torch.manual_seed(own.initial_seed())


def _routed(network: nn.Module, batch: Batch, state: TrainState, train: TrainConfig) -> Any:
    """The network with part of the tokens waiting, as `train.route` says at this step."""
    route = train.route
    if route is None or state.step >= route.off_from * train.steps:
        return network
    assert batch.positions is not None
    blocks = route.blocks(len(state.model.blocks))
    return partial(network, route=Route(blocks, batch.positions))


def _target(
    state: TrainState,
    batch: Batch,
    micro_batch: int,
    diffusion: Diffusion,
    train: TrainConfig,
    dtype: torch.dtype,
) -> Tensor | None:
    """What `train.teacher` or `train.guidance_target` adds to the target; None if both are off.

    Between `map_levels` it is the teacher's path instead. A teacher is asked once for each batch,
    however often that is drawn.
    """
    if state.teacher is None or train.teacher_reuse == 1:
        return _new_target(state, batch, diffusion, train, dtype)
    key = (train.drawn_batch(state.batch_number), micro_batch)
    if (kept := state.answers.find(key)) is None:
        kept = _new_target(state, batch, diffusion, train, dtype)
        assert kept is not None, "there is a teacher"
        state.answers.keep(key, kept)
    return kept.to(batch.noise.device)


def _new_target(
    state: TrainState, batch: Batch, diffusion: Diffusion, train: TrainConfig, dtype: torch.dtype
) -> Tensor | None:
    """See `_target`."""
    teacher = state.teacher
    if teacher is not None and train.guidance_target is None:
        asked = (teacher, batch, diffusion, train.teacher_guidance, teacher.null_label)
        with autocast(batch.x_start.device, dtype):
            if diffusion.map_timesteps is not None:
                return teacher_path(*asked, train.teacher_steps)
            return teacher_shift(*asked)
    if train.guidance_target is None:
        return None
    own = state.ema if train.guidance_target_from == "ema" else state.model
    network = own if teacher is None else teacher
    assert isinstance(network, Latte), "the configuration is checked"
    null_label = network.null_label
    assert null_label is not None, "the configuration is checked"
    labeled = batch if teacher is None else for_teacher(batch, null_label)
    with autocast(batch.x_start.device, dtype):
        return guidance_shift(network, labeled, null_label, diffusion, train)


def clip_losses(
    model: Any,
    batch: Batch,
    diffusion: Diffusion,
    train: TrainConfig,
    dtype: torch.dtype,
    target_shift: Tensor | None = None,
) -> LossTerms:
    """Compute the losses of each clip, weighted by `train.snr_floor` and `train.min_snr_gamma`.

    Args:
        model: called as model(x_t, t, **batch.cond).
        batch: on the model's device.
        diffusion: the objective.
        train: snr_floor and min_snr_gamma are read.
        dtype: of the matrix products, by autocast.
        target_shift: see `Diffusion.losses`.

    Returns:
        total = weight * mse + vlb, with mse itself unweighted; each (b,) float32.
    """
    with autocast(batch.x_start.device, dtype):
        terms = diffusion.losses(
            model, batch.x_start, batch.t, batch.noise, target_shift=target_shift, **batch.cond
        )
    weight = diffusion.loss_weight(batch.t, train.snr_floor, train.min_snr_gamma)
    return LossTerms(weight * terms.mse + terms.vlb, terms.mse, terms.vlb)


def learning_rate(train: TrainConfig, step: int, peak: float) -> float:
    """The learning rate at `step`: linear warm-up, then constant, or half a cosine to zero.

    Args:
        train: warmup_steps, lr_schedule and steps are read.
        step: steps taken so far.
        peak: the rate after warm-up.
    """
    warm = min(1.0, (step + 1) / (train.warmup_steps + 1))
    if train.lr_schedule == "constant":
        return peak * warm
    span = max(1, train.steps - train.warmup_steps)
    progress = min(1.0, max(0, step - train.warmup_steps) / span)
    return peak * warm * 0.5 * (1 + math.cos(math.pi * progress))


@torch.no_grad()
def update_ema(
    ema: nn.Module,
    model: nn.Module,
    decay: float,
    step: int,
    skip: Tensor | None = None,
    *,
    warmup: bool = True,
) -> None:
    """Update the EMA: ema <- d ema + (1 - d) model, in float32, all tensors in one call.

    Args:
        ema: a copy of the network; sharded if the network is.
        model: the network after its step.
        decay: d in the long run.
        step: steps taken so far, from 1.
        skip: 0-d float on the network's device: 1 leaves the EMA as it is, 0 updates it. The
            choice is made on the device, without waiting for it.
        warmup: early on d is at most (1 + step) / (10 + step), so that the EMA of a short run is
            not its initialization.
    """
    weight = 1 - (min(decay, (1 + step) / (10 + step)) if warmup else decay)
    ours: list[Tensor] = [local_shard(value) for value in ema.parameters()]
    theirs: list[Tensor] = [local_shard(value) for value in model.parameters()]
    if skip is None:
        torch._foreach_lerp_(ours, theirs, weight)
    else:
        torch._foreach_lerp_(ours, theirs, weights=[weight * (1 - skip)] * len(ours))


@torch.no_grad()
def update_power_averages(
    ema: nn.Module, narrow: Mapping[str, Tensor], model: nn.Module, step: int
) -> None:
    """Update the two power-function averages; see `checkpoints.averages`.

    Skipped steps count, with the weights that they left as they were: the profile that snapshots
    are combined by is over all steps.

    Args:
        ema: the wide one, a copy of the network; sharded if the network is.
        narrow: the parameters of the other, in the network's order.
        model: the network after its step.
        step: steps taken so far, from 1.
    """
    theirs = [local_shard(value) for value in model.parameters()]
    for width, values in ((WIDE, list(ema.parameters())), (NARROW, list(narrow.values()))):
        ours = [local_shard(value) for value in values]
        torch._foreach_lerp_(ours, theirs, power_weight(width, step))
