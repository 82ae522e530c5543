"""Schedulers of published pipelines: those that the published script offers, and UniPC."""

import inspect
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import isfinite
from typing import Any

import diffusers
import torch
from torch import Tensor

from latte_cli.diffusion.denoising import Sampler, denoise
from latte_cli.runtime.errors import CheckpointError, ConfigError, NumericalError

PIPELINE_SCHEDULERS = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)
"""Classes of diffusers that a pipeline can be published with."""

_ERRORS = (
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    RuntimeError,
    TypeError,
    ValueError,
    ArithmeticError,
)


def published_sampler(config: Mapping[str, Any], steps: int, eta: float = 0.0) -> Sampler:
    """A published pipeline's own scheduler, with its spacing of timesteps.

    Args:
        config: scheduler_config.json, as diffusers writes it.
        steps: denoising steps.
        eta: noise that DDIM adds at each step (DDIM, equation 16).

    Raises:
        CheckpointError: if its class is not supported, or its configuration is invalid.
        ConfigError: if it does not support that many steps, or eta.
    """
    name = str(config.get("_class_name"))
    if name not in PIPELINE_SCHEDULERS:
        raise CheckpointError(
            f"the pipeline's scheduler is {name}",
            hint=f"supported: {', '.join(PIPELINE_SCHEDULERS)}; or choose one with --sampler",
        )
    # A scheduler made from DDPM's by `from_config` keeps DDPM's variance_type, with which a solver
    # would split the channels wrongly.
    values = dict(config)
    if name != "DDPMScheduler":
        values.pop("variance_type", None)
    try:
        scheduler = _pipeline_scheduler(name, values, steps)
    except _ERRORS as error:
        raise CheckpointError(
            f"the pipeline's {name} cannot be built: {str(error).partition(chr(10))[0]}",
            hint="correct its scheduler_config.json, or choose a sampler with --sampler",
        ) from error
    arguments = inspect.signature(scheduler.step).parameters
    if eta and "eta" not in arguments:
        raise ConfigError(f"{name} has no eta, got {eta}", hint="leave eta at 0")
    sampler = Sampler(
        scheduler,
        [t if t % 1 else int(t) for t in reversed(scheduler.timesteps.tolist())],
        learns_covariance=values.get("variance_type") in ("learned", "learned_range"),
        step_options={"eta": eta} if eta else {},
        needs_generators="generator" in arguments,
    )
    _check_steps(sampler, name, steps)
    return sampler


def _pipeline_scheduler(name: str, config: dict[str, Any], steps: int) -> Any:
    """The scheduler, set to its steps; any error of diffusers if the configuration is invalid."""
    scheduler = getattr(diffusers, name).from_config(config)
    num_timesteps, betas = int(scheduler.config.num_train_timesteps), len(scheduler.alphas_cumprod)
    if betas < num_timesteps:
        raise ValueError(f"trained_betas has betas for {betas} of {num_timesteps} timesteps")
    if not 1 <= steps <= num_timesteps:
        raise ConfigError(
            f"{steps} steps, but the network was trained on {num_timesteps} timesteps",
            hint=f"--steps from 1 to {num_timesteps}",
        )
    with _without_warnings():
        try:
            scheduler.set_timesteps(steps)
        except _ERRORS as error:
            scheduler.set_timesteps(num_timesteps // 2)  # fails, too, for an invalid configuration
            raise _unsupported_steps(name, steps, "more") from error
    return scheduler


def _check_steps(sampler: Sampler, name: str, steps: int) -> None:
    """Raise ConfigError on a number of steps that the scheduler cannot take, by taking them."""
    last, *others = reversed(sampler.timesteps)
    # `leading` is shifted by steps_offset; that of solvers leaves room for one more step.
    # PNDM begins with steps of Runge and Kutta, at a timestep several times.
    if not all(map(isfinite, sampler.timesteps)):
        raise _unsupported_steps(name, steps, "more")
    if last >= len(sampler.scheduler.alphas_cumprod) or (
        last in others and name != "PNDMScheduler"
    ):
        raise _unsupported_steps(name, steps, "fewer")

    def repeat(x: Tensor, t: Tensor) -> Tensor:
        return x.repeat(1, 1, 2, 1, 1)

    try:
        denoise(repeat, torch.ones(1, 1, 1, 1, 1), sampler, [torch.Generator()])
    except NumericalError as error:
        raise _unsupported_steps(name, steps, "fewer") from error
    except _ERRORS as error:
        raise _unsupported_steps(name, steps, "more") from error


def _unsupported_steps(name: str, steps: int, instead: str) -> ConfigError:
    return ConfigError(
        f"the pipeline's {name} does not support {steps} steps, with its timestep_spacing and "
        "steps_offset",
        hint=f"use {instead} --steps, or choose a sampler with --sampler",
    )


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Silence diffusers, which names options that it replaces by what it has to take anyway."""
    logger = logging.getLogger("diffusers.schedulers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
