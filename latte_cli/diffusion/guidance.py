"""Classifier-free guidance as a closure around a network (Ho & Salimans 2022, equation 6)."""

from collections.abc import Callable

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, Tensor], Tensor]


def guided(
    model: Callable[..., Tensor], y: Tensor | None, null_label: int | None, scale: float
) -> Denoiser:
    """A network told what to draw, as a function of (x, t) alone.

    Args:
        model: called as model(x, t, y=…) or, without labels, model(x, t).
        y: labels, (b,) long, or None for an unconditional network.
        null_label: the label of no class; None for an unconditional network.
        scale: 1 is plain conditioning; more pushes away from what the null label gives.

    Returns:
        A function of x (b, f, c, h, w) and t (b,) to (b, f, 2c, h, w): noise guided in all its
        channels, covariance as the conditional half predicts it.
    """
    if y is None or null_label is None:
        return lambda x, t: model(x, t)
    if scale == 1:
        return lambda x, t: model(x, t, y=y)
    labels = torch.cat([y, torch.full_like(y, null_label)])

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        out = model(torch.cat([x, x]), torch.cat([t, t]), y=labels)
        conditional, unconditional = out.chunk(2)
        noise, covariance = conditional.chunk(2, dim=2)
        baseline = unconditional.chunk(2, dim=2)[0]
        return torch.cat([baseline + scale * (noise - baseline), covariance], dim=2)

    return denoise
