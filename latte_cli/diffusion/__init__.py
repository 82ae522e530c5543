"""Diffusion: noise schedule, training objective, samplers and guidance. Knows no network."""

from latte_cli.diffusion.guidance import (
    guided,
    noise_levels,
    timesteps_between,
    with_first_frames,
)
from latte_cli.diffusion.objective import Diffusion, LossTerms
from latte_cli.diffusion.samplers import (
    Denoiser,
    Sampler,
    build_sampler,
    denoise,
    published_sampler,
)

__all__ = [
    "Denoiser",
    "Diffusion",
    "LossTerms",
    "Sampler",
    "build_sampler",
    "denoise",
    "guided",
    "noise_levels",
    "published_sampler",
    "timesteps_between",
    "with_first_frames",
]
