"""Guidance as part of what is learned, so that sampling needs one pass per step instead of two.

The target is v + w (v_cond - v_uncond), from the network's own answers (Tang et al. 2025,
"Diffusion models without classifier-free guidance", arXiv 2502.12154, section 3.2). The network
then learns the guided prediction, whose scale at sampling is 1.
"""

# Axes: b clips, f frames, i images, c latent channels, h w latent size.

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from latte_cli.config.train_section import TrainConfig
from latte_cli.data.batch import Batch
from latte_cli.diffusion import Diffusion, timesteps_between


def guidance_shift(
    model: Callable[..., Tensor],
    batch: Batch,
    null_label: int,
    diffusion: Diffusion,
    train: TrainConfig,
) -> Tensor:
    """What guidance adds to the target of each clip and image; no gradient passes through it.

    Args:
        model: the network that answers: the EMA or the present one.
        batch: on the model's device, with labels.
        null_label: its label for no class.
        diffusion: the objective.
        train: guidance_target and guidance_target_interval are read.

    Returns:
        w (prediction with the labels - prediction without), (b, f + i, c, h, w) float32; zero
        outside the interval and for null labels.
    """
    assert batch.y is not None
    assert train.guidance_target is not None
    channels = batch.x_start.shape[2]
    predict = diffusion.adapt(model)
    without = without_labels(batch, null_label)
    with torch.no_grad():
        x_t = diffusion.add_noise(batch.x_start, batch.t, batch.noise)
        given, null = (
            predict(x_t, batch.t, **each.cond)[:, :, :channels].float() for each in (batch, without)
        )
        weight = train.guidance_target * _guided(batch, diffusion, train)
        return weight[:, None, None, None, None] * (given - null)


def without_labels(batch: Batch, null_label: int) -> Batch:
    """The same clips and images, all with the null label."""
    y, y_image = (
        None if labels is None else torch.full_like(labels, null_label)
        for labels in (batch.y, batch.y_image)
    )
    return replace(batch, y=y, y_image=y_image)


def _guided(batch: Batch, diffusion: Diffusion, train: TrainConfig) -> Tensor:
    """1 for clips whose timestep is in the interval, else 0, (b,) float32.

    Clips of the null label need no exception: both predictions are then the same.
    """
    inside = timesteps_between(*train.guidance_target_interval, diffusion.num_timesteps)
    if inside is None:
        return torch.ones(len(batch.t), device=batch.t.device)
    return ((batch.t >= inside.start) & (batch.t < inside.stop)).float()
