"""The training step, and the state that it moves."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from latte_cli.checkpoint import CheckpointMeta, read_optimizer, save_checkpoint
from latte_cli.config import Config
from latte_cli.data.clips import Batch
from latte_cli.devices import autocast
from latte_cli.diffusion import Diffusion
from latte_cli.ema import make_ema, update_ema
from latte_cli.errors import ConfigError
from latte_cli.models import Latte, build_model
from latte_cli.models.importing import WeightsReport, initialise
from latte_cli.models.reading import read_weights
from latte_cli.models.weights import load_weights


@dataclass
class TrainState:
    """Everything that a step changes."""

    model: Latte
    ema: Latte
    optimizer: torch.optim.AdamW
    step: int = 0


@dataclass(frozen=True)
class StepMetrics:
    """What a step showed, as 0-d tensors on the device: reading one waits for the device."""

    loss: Tensor
    mse: Tensor
    vlb: Tensor
    grad_norm: Tensor


def new_state(config: Config, device: torch.device) -> TrainState:
    """A fresh network, its average and its optimizer.

    Raises:
        ConfigError: on a text model, for which there are no encoded captions to learn from.
    """
    torch.manual_seed(config.train.seed)
    model = build_model(config)
    if not isinstance(model, Latte):
        raise ConfigError(
            "training is on labels, or on none: latents hold no encoded captions",
            hint="set model.condition to class or none",
        )
    model.checkpointing = config.train.checkpointing == "blocks"
    model.to(device).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.train.lr, weight_decay=config.train.weight_decay, fused=True
    )
    return TrainState(model, make_ema(model), optimizer)


def begin_from(state: TrainState, path: str, config: Config) -> WeightsReport:
    """Put any weights that have counterparts into a fresh state's network and average.

    Raises:
        CheckpointError: if they do not fit.
    """
    report = initialise(state.model, read_weights(path), config.vae.downsample)
    state.ema.load_state_dict(state.model.state_dict())
    return report


def train_step(
    state: TrainState, batch: Batch, diffusion: Diffusion, config: Config, dtype: torch.dtype
) -> StepMetrics:
    """One optimizer step on one batch.

    Args:
        state: changed in place, its step counted up.
        batch: on the state's device.
        diffusion: the objective.
        config: `train` is read.
        dtype: of the products.
    """
    train = config.train
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(config, state.step)
    with autocast(batch.x_start.device, dtype):
        terms = diffusion.losses(state.model, batch.x_start, batch.t, batch.noise, **batch.cond)
    weight = diffusion.noise_loss_weight(batch.t, train.snr_floor, train.snr_ceiling)
    loss = (weight * terms.mse + terms.vlb).mean()
    loss.backward()
    limit = train.clip_grad_norm if state.step >= train.clip_from_step else math.inf
    grad_norm = nn.utils.clip_grad_norm_(state.model.parameters(), limit)
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)  # here, so that the forward pass finds them gone
    state.step += 1
    update_ema(state.ema, state.model, train.ema_decay, state.step)
    return StepMetrics(
        loss.detach(), terms.mse.mean().detach(), terms.vlb.mean().detach(), grad_norm
    )


def learning_rate(config: Config, step: int) -> float:
    """The rate of the step after `step`: linear warm-up, then constant or half a cosine to zero."""
    train = config.train
    warm = min(1.0, (step + 1) / (train.warmup_steps + 1))
    if train.lr_schedule == "constant":
        return train.lr * warm
    span = max(1, train.steps - train.warmup_steps)
    progress = min(1.0, max(0, step - train.warmup_steps) / span)
    return train.lr * warm * 0.5 * (1 + math.cos(math.pi * progress))


def save_state(state: TrainState, run: Path, config: Config, meta: CheckpointMeta) -> Path:
    """Write a checkpoint from which training goes on as if it had not stopped."""
    return save_checkpoint(
        run,
        config,
        meta,
        ema=state.ema.state_dict(),
        model=state.model.state_dict(),
        optimizer=state.optimizer.state_dict(),
    )


def load_state(state: TrainState, folder: Path, step: int) -> None:
    """Put a checkpoint's weights, average and optimizer into a fresh state."""
    for network, name in ((state.model, "model"), (state.ema, "ema")):
        path = folder / f"{name}.safetensors"
        load_weights(network, read_weights(path).weights, path)
    state.optimizer.load_state_dict(read_optimizer(folder))
    state.step = step
