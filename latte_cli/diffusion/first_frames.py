"""Denoising a clip whose first frames are known, and what a sampler's levels are made of."""

# Axes: b clips, f frames, k known frames, c latent channels, h w latent size.

import torch
from torch import Tensor

from latte_cli.diffusion.guidance import Denoiser
from latte_cli.diffusion.samplers import Sampler
from latte_cli.diffusion.schedule import Mixture


def levels_of(sampler: Sampler) -> Mixture:
    """What latents are made of at each of a sampler's steps, each (steps,) float64, ascending."""
    scheduler = sampler.scheduler
    if on_straight_path(sampler):
        noise = scheduler.sigmas[: len(sampler.timesteps)].double().flip(0)
        return Mixture(x_start=1 - noise, noise=noise)
    kept = scheduler.alphas_cumprod.double()[scheduler.timesteps.cpu().long().flip(0)]
    return Mixture(x_start=kept.sqrt(), noise=(1 - kept).sqrt())


def on_straight_path(sampler: Sampler) -> bool:
    """Whether a sampler walks the path of rectified flow, which knows no noise schedule."""
    config = sampler.scheduler.config
    return not hasattr(sampler.scheduler, "alphas_cumprod") or bool(config.get("use_flow_sigmas"))


def with_first_frames(model: Denoiser, sampler: Sampler, known: Tensor, noise: Tensor) -> Denoiser:
    """A network that always sees known frames in place of a clip's first ones.

    They are noised to the step's level, with the same noise at each (the replacement method of Ho
    et al. 2022, "Video Diffusion Models", section 3.1). What the sampler makes of those frames is
    of no effect: its steps take each frame for itself, and the caller puts the known ones back.

    Args:
        model: (x, t) -> (b, f, 2c, h, w), guidance included.
        sampler: that will call it.
        known: clean latents, (b, k, c, h, w), k at least 1 and less than f.
        noise: that of the known frames, shaped alike; the noise that the clip begins with.
    """
    levels = levels_of(sampler)
    at = {timestep: number for number, timestep in enumerate(sampler.timesteps)}

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        number = at[int(t.flatten()[0])]
        told = float(levels.x_start[number]) * known + float(levels.noise[number]) * noise
        return model(torch.cat([told.to(x), x[:, known.shape[1] :]], dim=1), t)

    return denoise
