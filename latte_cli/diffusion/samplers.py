"""From noise to latents through diffusers' schedulers."""

# Axes: b clips, f frames, c latent channels, h w latent size.

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor

from latte_cli.diffusion.guidance import Denoiser
from latte_cli.diffusion.objective import Diffusion
from latte_cli.diffusion.schedule import respaced_timesteps


@dataclass(frozen=True)
class Sampler:
    """A scheduler that counts its own few steps, and the training timestep that each stands for.

    The scheduler is given the respaced schedule as its whole schedule. Left to itself, diffusers'
    DDIM takes other timesteps than those the published samples were made with.
    """

    scheduler: Any
    timesteps: list[int]
    learns_covariance: bool


def build_sampler(name: str, diffusion: Diffusion, steps: int) -> Sampler:
    """One of diffusers' schedulers on the schedule that the network was trained with.

    Args:
        name: `ddpm` (ancestral, with the learned covariance) or `ddim` (deterministic, eta 0).
        diffusion: the training schedule.
        steps: denoising steps, at most `diffusion.num_timesteps`.
    """
    timesteps = respaced_timesteps(diffusion.num_timesteps, steps)
    schedule = diffusion.schedule.respaced(timesteps)
    common: dict[str, Any] = {
        "num_train_timesteps": steps,
        "trained_betas": schedule.betas.numpy(),
        "clip_sample": False,
    }
    if name == "ddpm":
        scheduler: Any = DDPMScheduler(**common, variance_type="learned_range")
    elif name == "ddim":
        scheduler = DDIMScheduler(**common, timestep_spacing="leading")
    else:
        raise AssertionError(f"no sampler named {name}")
    scheduler.set_timesteps(steps)
    scheduler.alphas_cumprod = schedule.alphas_cumprod  # in float64, not diffusers' float32
    return Sampler(scheduler, timesteps, learns_covariance=name == "ddpm")


@torch.no_grad()
def denoise(
    model: Denoiser,
    noise: Tensor,
    sampler: Sampler,
    generators: Sequence[torch.Generator],
    on_step: Callable[[], None] = lambda: None,
) -> Tensor:
    """Walk the reverse process from noise to latents.

    Args:
        model: (x, t) -> (b, f, 2c, h, w), guidance included.
        noise: standard normal, (b, f, c, h, w) float32.
        sampler: from `build_sampler`.
        generators: one a clip, for the noise of stochastic samplers, on the CPU or noise's device.
        on_step: called after each step.

    Returns:
        Clean latents, (b, f, c, h, w) float32.
    """
    x = noise.transpose(1, 2)  # schedulers split noise from covariance on axis 1
    for index in sampler.scheduler.timesteps:
        t = torch.full((len(noise),), sampler.timesteps[index], device=noise.device)
        out = model(x.transpose(1, 2), t).float().transpose(1, 2)
        if not sampler.learns_covariance:
            out = out.chunk(2, dim=1)[0]
        x = sampler.scheduler.step(out, index, x, generator=list(generators)).prev_sample
        on_step()
    return x.transpose(1, 2)
