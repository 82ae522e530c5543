"""Classifier-free guidance, as a closure around a network."""

# Axes: b clips, f frames, c latent channels, h w latent size.

from collections.abc import Callable, Mapping
from math import ceil, floor

import torch
from torch import Tensor

from latte_cli.diffusion.denoising import Denoiser

Conditioning = Mapping[str, Tensor]


def guided(
    model: Callable[..., Tensor],
    conditioning: Conditioning,
    unconditional: Conditioning,
    scale: float,
    *,
    timesteps: range | None = None,
    channels: int | None = None,
    weak: Callable[..., Tensor] | None = None,
    weak_scale: float = 0.0,
) -> Denoiser:
    """A network with classifier-free guidance (Ho & Salimans 2022, equation 6).

    Beside it, the prediction may be led away from a weaker network's: with one whose blocks are
    left out in part, that is Spatiotemporal Skip Guidance (Hyung et al. 2024, arXiv 2411.18664).

    Args:
        model: called as model(x, t, **conditioning).
        conditioning: each (b, …): labels as y, or a text; empty for an unconditional network.
        unconditional: the null label or a negative text, shaped as `conditioning`.
        scale: guidance scale; 1 is without guidance.
        timesteps: a range of step 1 where to guide; elsewhere the network is evaluated once, with
            conditioning (Kynkäänniemi et al. 2024, section 3). None: everywhere.
        channels: how many of the 2c output channels to guide, from the first. None: the c predicted
            ones, not the covariance (Latte's published code; DiT's guides 3).
        weak: called as the model is, with conditioning; None: there is none.
        weak_scale: what is added is this times the model's prediction minus the weaker one's.

    Returns:
        x (b, f, c, h, w), t (b,) or (b, f) -> (b, f, 2c, h, w). Takes `end`, too, shaped as t, if
        the model does.
    """
    is_guided, leads_away = bool(conditioning) and scale != 1, weak is not None and weak_scale != 0
    if not is_guided and not leads_away:
        return lambda x, t, **end: model(x, t, **conditioning, **end)
    both = {key: torch.cat([conditioning[key], unconditional[key]]) for key in conditioning}

    def denoise(x: Tensor, t: Tensor, **end: Tensor) -> Tensor:
        scales, count = _scales(t, scale, timesteps), channels or x.shape[2]
        if scales is None or not is_guided:
            result = out = model(x, t, **conditioning, **end)
        else:
            ends = {name: torch.cat([value, value]) for name, value in end.items()}
            out, out_uncond = model(torch.cat([x, x]), torch.cat([t, t]), **both, **ends).chunk(2)
            result = _extrapolate(out, out_uncond, scales, count)
        if weak is None or not leads_away or scales is None:
            return result
        further = _scales(t, 1 + weak_scale, timesteps)
        assert further is not None, "as the scales are not"
        return result + _extrapolate(out, weak(x, t, **conditioning, **end), further, count) - out

    return denoise


def guided_by_weak(
    strong: Denoiser,
    weak: Denoiser,
    scale: float,
    *,
    timesteps: range | None = None,
    channels: int | None = None,
) -> Denoiser:
    """A network guided away from a weaker one: weak + scale (strong - weak).

    With tokens that skip blocks in the weak pass, and conditioning in both, it is the Sparse
    Guidance of Krause et al. 2026 (arXiv 2601.01608).

    Args:
        strong: x (b, f, c, h, w), t (b,) or (b, f) -> (b, f, 2c, h, w).
        weak: likewise.
        scale: guidance scale; 1 is the strong network alone.
        timesteps: as in `guided`.
        channels: as in `guided`.
    """
    if scale == 1:
        return strong

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        out, scales = strong(x, t), _scales(t, scale, timesteps)
        if scales is None:
            return out
        return _extrapolate(out, weak(x, t), scales, channels or x.shape[2])

    return denoise


def _scales(t: Tensor, scale: float, timesteps: range | None) -> Tensor | None:
    """The scale at each timestep, shaped as t: 1 outside of the range; None if it is 1 at all."""
    scales = torch.full(t.shape, scale, device=t.device)
    if timesteps is None:
        return scales
    inside = (t >= timesteps.start) & (t < timesteps.stop)
    return torch.where(inside, scales, 1.0) if inside.any() else None


def _extrapolate(out: Tensor, away_from: Tensor, scales: Tensor, count: int) -> Tensor:
    """Guide the first `count` channels of a prediction away from another one."""
    factor = scales.to(out.dtype).reshape(*scales.shape, *[1] * (out.ndim - scales.ndim))
    guided_out = (away_from + factor * (out - away_from))[:, :, :count]
    return torch.cat([guided_out, out[:, :, count:]], dim=2)


def timesteps_between(low: float, high: float, num_timesteps: int) -> range | None:
    """The timesteps in an interval of the schedule, from 0, the clip, to 1, noise.

    Returns:
        As `guided` takes them; None if the interval covers all timesteps.
    """
    last = num_timesteps - 1
    return None if low <= 0 and high >= 1 else range(ceil(low * last), floor(high * last) + 1)
