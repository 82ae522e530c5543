"""Conditioning as closures around a network: classifier-free guidance, and given first frames."""

# Axes: b clips, f frames, k first frames, c latent channels, h w latent size.

from collections.abc import Callable, Mapping
from math import ceil, floor

import torch
from torch import Tensor

from latte_cli.diffusion.samplers import Denoiser, Sampler
from latte_cli.diffusion.schedule import Coefficients

Conditioning = Mapping[str, Tensor]


def guided(
    model: Callable[..., Tensor],
    conditioning: Conditioning,
    unconditional: Conditioning,
    scale: float,
    *,
    timesteps: range | None = None,
    channels: int | None = None,
) -> Denoiser:
    """A network with classifier-free guidance (Ho & Salimans 2022, equation 6).

    Args:
        model: called as model(x, t, **conditioning).
        conditioning: each (b, …): labels as y, or a text; empty for an unconditional network.
        unconditional: the null label or a negative text, shaped as `conditioning`.
        scale: guidance scale; 1 is without guidance.
        timesteps: a range of step 1 where to guide; elsewhere the network is evaluated once, with
            conditioning (Kynkäänniemi et al. 2024, section 3). None: everywhere.
        channels: how many of the c predicted channels to guide, from the first. None: all (Latte's
            published code; DiT's guides 3).

    Returns:
        x (b, f, c, h, w), t (b,) or (b, f) -> (b, f, 2c, h, w); the covariance is not guided.
    """
    if not conditioning or scale == 1:
        return lambda x, t: model(x, t, **conditioning)
    both = {key: torch.cat([conditioning[key], unconditional[key]]) for key in conditioning}

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        scales = torch.full(t.shape, scale, device=t.device)
        if timesteps is not None:
            inside = (t >= timesteps.start) & (t < timesteps.stop)
            if not inside.any():
                return model(x, t, **conditioning)
            scales = torch.where(inside, scales, 1.0)
        out, out_uncond = model(torch.cat([x, x]), torch.cat([t, t]), **both).chunk(2)
        factor = scales.to(out.dtype).reshape(*scales.shape, *[1] * (out.ndim - scales.ndim))
        count = channels or x.shape[2]
        guided_out = (out_uncond + factor * (out - out_uncond))[:, :, :count]
        return torch.cat([guided_out, out[:, :, count:]], dim=2)

    return denoise


def timesteps_between(low: float, high: float, num_timesteps: int) -> range | None:
    """The timesteps in an interval of the schedule, from 0, the clip, to 1, noise.

    Returns:
        As `guided` takes them; None if the interval covers all timesteps.
    """
    last = num_timesteps - 1
    return None if low <= 0 and high >= 1 else range(ceil(low * last), floor(high * last) + 1)


def noise_levels(sampler: Sampler) -> Coefficients:
    """Coefficients of x_t at each of a sampler's steps, each (steps,) float64, ascending."""
    scheduler = sampler.scheduler
    if is_flow(sampler):
        noise = scheduler.sigmas[: len(sampler.timesteps)].double().flip(0)
        return Coefficients(x_start=1 - noise, noise=noise)
    kept = scheduler.alphas_cumprod.double()[scheduler.timesteps.cpu().long().flip(0)]
    return Coefficients(x_start=kept.sqrt(), noise=(1 - kept).sqrt())


def is_flow(sampler: Sampler) -> bool:
    """Whether a sampler is for rectified flow, which has no noise schedule."""
    config = sampler.scheduler.config
    return not hasattr(sampler.scheduler, "alphas_cumprod") or bool(config.get("use_flow_sigmas"))


def with_first_frames(
    model: Denoiser, sampler: Sampler, first_frames: Tensor, noise: Tensor
) -> Denoiser:
    """A network whose input has given first frames in place of a clip's own.

    They are noised to the step's level, with the same noise at every step (the replacement method
    of Ho et al. 2022, "Video Diffusion Models", section 3.1). The sampler's own values of those
    frames have no effect: its steps treat frames independently, and the caller replaces them at
    the end.

    Args:
        model: (x, t) -> (b, f, 2c, h, w), guidance included.
        sampler: that will call it.
        first_frames: clean latents, (b, k, c, h, w), k at least 1 and less than f.
        noise: of the first frames, shaped as they are: that of the initial x_t.
    """
    levels = noise_levels(sampler)
    step_of = {timestep: step for step, timestep in enumerate(sampler.timesteps)}

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        step = step_of[int(t.flatten()[0])]
        frames = float(levels.x_start[step]) * first_frames + float(levels.noise[step]) * noise
        return model(torch.cat([frames.to(x), x[:, first_frames.shape[1] :]], dim=1), t)

    return denoise
