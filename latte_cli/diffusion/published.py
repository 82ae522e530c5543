"""Schedulers as pipelines are published with: diffusers' own, from their configuration."""

import inspect
from collections.abc import Mapping
from typing import Any

import diffusers

from latte_cli.diffusion.samplers import Sampler
from latte_cli.runtime.errors import CheckpointError, ConfigError

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
        CheckpointError: if its class is not known here, or its configuration makes no scheduler.
        ConfigError: if it takes fewer steps, or no eta.
    """
    name = str(config.get("_class_name"))
    if name not in CLASSES:
        raise CheckpointError(
            f"the pipeline's scheduler is {name}",
            hint=f"known are {', '.join(CLASSES)}; or choose with --sampler",
        )
    # Where a scheduler took DDPM's place by `from_config`, DDPM's variance is left over: a solver
    # would take the first three of the channels for the noise.
    values = dict(config)
    if name != "DDPMScheduler":
        values.pop("variance_type", None)
    try:
        scheduler = _scheduler(name, values, steps)
    except (ImportError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the pipeline's {name} cannot be made: {str(error).partition(chr(10))[0]}",
            hint="mend its scheduler_config.json, or choose with --sampler",
        ) from error
    takes = inspect.signature(scheduler.step).parameters
    if eta and "eta" not in takes:
        raise ConfigError(f"{name} has no eta, got {eta}", hint="leave eta at 0")
    return Sampler(
        scheduler,
        [int(t) for t in reversed(scheduler.timesteps.tolist())],
        learns_covariance=values.get("variance_type") in ("learned", "learned_range"),
        step_options={"eta": eta} if eta else {},
        draws_noise="generator" in takes,
    )


def _scheduler(name: str, config: dict[str, Any], steps: int) -> Any:
    """A scheduler set to so many steps; any error of diffusers if its configuration is broken."""
    scheduler = getattr(diffusers, name).from_config(config)
    most, known = int(scheduler.config.num_train_timesteps), len(scheduler.alphas_cumprod)
    if known < most:
        raise ValueError(f"trained_betas has betas for {known} of {most} timesteps")
    if not 1 <= steps <= most:
        raise ConfigError(
            f"{steps} steps, but the network was trained on {most} timesteps",
            hint=f"--steps from 1 to {most}",
        )
    scheduler.set_timesteps(steps)
    first, *others = scheduler.timesteps.tolist()
    # `leading` is shifted by steps_offset; that of solvers makes room for one step more.
    if first >= known or first in others:
        raise ConfigError(
            f"the pipeline's {name} cannot take {steps} steps: its timestep_spacing and "
            f"steps_offset have no room for them in {known} timesteps",
            hint="take fewer --steps",
        )
    return scheduler
