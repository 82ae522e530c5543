"""Schedulers as pipelines are published with: diffusers' own, from their configuration."""

import inspect
from collections.abc import Mapping
from typing import Any

import diffusers

from latte_cli.diffusion.samplers import Sampler
from latte_cli.errors import CheckpointError, ConfigError

# Those whose input is the noisy latent itself, and whose step reads noise from generators.
CLASSES = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
)


def published_sampler(config: Mapping[str, Any], steps: int, eta: float = 0.0) -> Sampler:
    """A pipeline's own scheduler, its spacing of timesteps included.

    Args:
        config: of the scheduler, as diffusers writes it.
        steps: denoising steps.
        eta: noise that DDIM adds at each step (DDIM, equation 16).

    Raises:
        CheckpointError: if it is a scheduler that is not known here.
        ConfigError: if it takes fewer steps, or no eta.
    """
    name = str(config.get("_class_name"))
    if name not in CLASSES:
        raise CheckpointError(
            f"the pipeline's scheduler is {name}",
            hint=f"known are {', '.join(CLASSES)}; or choose with --sampler",
        )
    scheduler = getattr(diffusers, name).from_config(dict(config))
    most = int(scheduler.config.num_train_timesteps)
    if not 1 <= steps <= most:
        raise ConfigError(
            f"{steps} steps, but the network was trained on {most} timesteps",
            hint=f"--steps from 1 to {most}",
        )
    takes = inspect.signature(scheduler.step).parameters
    if eta and "eta" not in takes:
        raise ConfigError(f"{name} has no eta, got {eta}", hint="leave eta at 0")
    scheduler.set_timesteps(steps)
    learned = str(scheduler.config.get("variance_type")) in ("learned", "learned_range")
    return Sampler(
        scheduler,
        [int(t) for t in reversed(scheduler.timesteps.tolist())],
        learns_covariance=learned,
        step_options={"eta": eta} if eta else {},
        draws_noise="generator" in takes,
    )
