"""What is learnt from: the loss of each clip of a batch."""

from typing import Any

import torch

from latte_cli.config import Config
from latte_cli.data.batch import Batch
from latte_cli.diffusion import Diffusion, LossTerms
from latte_cli.runtime.devices import autocast


def clip_losses(
    model: Any, batch: Batch, diffusion: Diffusion, config: Config, dtype: torch.dtype
) -> LossTerms:
    """The losses of each clip; the squared error weighted as `train.snr_floor` and `_ceiling` say.

    Args:
        model: called as model(x_t, t, **batch.cond).
        batch: on the model's device.
        diffusion: the objective.
        config: `train` is read.
        dtype: of the products.

    Returns:
        total = weight x mse + vlb, of which mse is given without its weight; each (b,) float32.
    """
    with autocast(batch.x_start.device, dtype):
        terms = diffusion.losses(model, batch.x_start, batch.t, batch.noise, **batch.cond)
    train = config.train
    weight = diffusion.loss_weight(batch.t, train.snr_floor, train.min_snr_gamma)
    return LossTerms(weight * terms.mse + terms.vlb, terms.mse, terms.vlb)
