"""Classifier-free guidance as a closure around a network (Ho & Salimans 2022, equation 6)."""

# Axes: b clips, f frames, c latent channels, h w latent size.

from collections.abc import Callable, Mapping
from math import ceil, floor

import torch
from torch import Tensor

Denoiser = Callable[[Tensor, Tensor], Tensor]
Told = Mapping[str, Tensor]


def guided(
    model: Callable[..., Tensor],
    told: Told,
    untold: Told,
    scale: float,
    *,
    timesteps: range | None = None,
    channels: int | None = None,
) -> Denoiser:
    """A network told what to draw, as a function of (x, t) alone.

    Args:
        model: called as model(x, t, **told).
        told: what to draw, each (b, …): labels as y, or a text; empty for an unconditional network.
        untold: what guidance leads away from, shaped as `told`: the null label, a negative text.
        scale: 1 is plain conditioning; more pushes away from what `untold` gives.
        timesteps: where to guide, counted by one; elsewhere conditioning is plain, and costs half
            (Kynkäänniemi et al. 2024, section 3). None: everywhere.
        channels: guided ones, counted from the first, of the c that are predicted; the others are
            predicted as conditioned. None: all (Latte's published code; DiT's guides 3).

    Returns:
        x (b, f, c, h, w), t (b,) or (b, f) -> (b, f, 2c, h, w): covariance as conditioned, not
        guided.
    """
    if not told or scale == 1:
        return lambda x, t: model(x, t, **told)
    both = {key: torch.cat([told[key], untold[key]]) for key in told}

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        scales = torch.full(t.shape, scale, device=t.device)
        if timesteps is not None:
            inside = (t >= timesteps.start) & (t < timesteps.stop)
            if not inside.any():
                return model(x, t, **told)
            scales = torch.where(inside, scales, 1.0)
        conditional, away = model(torch.cat([x, x]), torch.cat([t, t]), **both).chunk(2)
        pushed = _pushed(conditional, away, scales)[:, :, : channels or x.shape[2]]
        return torch.cat([pushed, conditional[:, :, pushed.shape[2] :]], dim=2)

    return denoise


def timesteps_between(low: float, high: float, num_timesteps: int) -> range | None:
    """The timesteps in an interval of the schedule, from 0, the cleanest, to 1, noise.

    Returns:
        For `guided`; None, which is all of them, where the interval leaves none out.
    """
    last = num_timesteps - 1
    return None if low <= 0 and high >= 1 else range(ceil(low * last), floor(high * last) + 1)


def _pushed(conditional: Tensor, away: Tensor, scales: Tensor) -> Tensor:
    """Beyond the conditional output, seen from the other; scales (b,) or (b, f)."""
    factor = scales.to(away.dtype).reshape(*scales.shape, *[1] * (away.ndim - scales.ndim))
    return away + factor * (conditional - away)
