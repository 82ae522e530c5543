"""Diffusion: noise schedule, training objective, samplers and guidance. Knows no network."""

from latte_cli.diffusion.denoising import Denoiser, Sampler, denoise, noise_levels
from latte_cli.diffusion.guidance import guided, guided_by_weak, timesteps_between
from latte_cli.diffusion.objective import Diffusion, LossTerms
from latte_cli.diffusion.published import published_sampler
from latte_cli.diffusion.samplers import build_sampler

__all__ = [
    "Denoiser",
    "Diffusion",
    "LossTerms",
    "Sampler",
    "build_sampler",
    "denoise",
    "guided",
    "guided_by_weak",
    "noise_levels",
    "published_sampler",
    "timesteps_between",
]
