"""The training losses of a flow map."""

# Axes: b clips, f frames, i images, c latent channels, h w latent size.

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from latte_cli.data.batch import Batch
from latte_cli.diffusion import Diffusion, LossTerms
from latte_cli.diffusion.flow_map import flow_map_losses, map_step_losses
from latte_cli.models import Latte
from latte_cli.runtime.devices import autocast


def flow_map_clip_losses(
    network: Any,
    model: Latte,
    batch: Batch,
    diffusion: Diffusion,
    dtype: torch.dtype,
    target_shift: Tensor | None = None,
) -> LossTerms:
    """Compute the losses of each clip, see `flow_map_losses`.

    Args:
        network: the module to call: the model itself, or DDP around it.
        model: the network, with a learned weight of the times.
        batch: on the model's device, with ends.
        diffusion: the objective, `flow-map`.
        dtype: of the matrix products, by autocast.
        target_shift: (b, f + i, c, h, w), added to the velocity.
    """
    assert batch.end is not None
    assert model.time_weight is not None
    weights = {name: value.detach() for name, value in model.state_dict().items()}

    def frozen(*inputs: Any, **cond: Any) -> Tensor:
        out: Tensor = functional_call(model, weights, inputs, cond)
        return out

    with autocast(batch.x_start.device, dtype):
        return flow_map_losses(
            network,
            frozen,
            diffusion,
            batch.x_start,
            batch.t,
            batch.end,
            batch.noise,
            model.time_weight(batch.t, batch.end),
            target_shift=target_shift,
            **batch.cond,
        )


def map_step_clip_losses(
    network: Any,
    model: Latte,
    batch: Batch,
    path: Tensor,
    diffusion: Diffusion,
    dtype: torch.dtype,
) -> LossTerms:
    """Compute the losses of each clip, see `map_step_losses`.

    Args:
        network: the module to call: the model itself, or DDP around it.
        model: the network, with a learned weight of the times.
        batch: on the model's device, with ends.
        path: of `teacher_path`.
        diffusion: the objective, `flow-map` with `map_levels`.
        dtype: of the matrix products, by autocast.
    """
    assert batch.end is not None
    assert model.time_weight is not None
    with autocast(path.device, dtype):
        weight = model.time_weight(batch.t, batch.end)
        return map_step_losses(network, diffusion, path, batch.t, batch.end, weight, **batch.cond)


def at_turn(batch: Batch, diffusion: Diffusion, turn: int) -> Batch:
    """A batch that is drawn again, with the next step between `map_levels` for each clip.

    Args:
        batch: with the steps of its first time.
        diffusion: the objective.
        turn: how often it was drawn before.
    """
    if diffusion.map_timesteps is None or not turn:
        return batch
    t, end = diffusion.next_steps(batch.t, turn)
    return replace(batch, t=t, end=end)
