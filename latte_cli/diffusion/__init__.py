"""Diffusion: noise schedule, training objective, samplers and guidance. Knows no network."""

from latte_cli.diffusion.first_frames import levels_of, with_first_frames
from latte_cli.diffusion.guidance import guided, timesteps_between
from latte_cli.diffusion.objective import Diffusion, LossTerms
from latte_cli.diffusion.published import published_sampler
from latte_cli.diffusion.samplers import Sampler, build_sampler, denoise

__all__ = [
    "Diffusion",
    "LossTerms",
    "Sampler",
    "build_sampler",
    "denoise",
    "guided",
    "levels_of",
    "published_sampler",
    "timesteps_between",
    "with_first_frames",
]
