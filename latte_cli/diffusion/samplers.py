"""Samplers: diffusers' schedulers, and the loop from noise to latents."""

# Axes: b clips, f frames, c latent channels, h w latent size.

import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import diffusers
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from latte_cli.diffusion.objective import Diffusion
from latte_cli.diffusion.schedule import (
    FlowSchedule,
    NoiseSchedule,
    respaced_timesteps,
    trailing_timesteps,
)
from latte_cli.runtime.errors import CheckpointError, ConfigError
from latte_cli.runtime.finite import check_clips_finite

Denoiser = Callable[[Tensor, Tensor], Tensor]

_PREDICTION_TYPES = {"eps": "epsilon", "v": "v_prediction"}
_MAX_SIGMA = 1 - 1e-6  # UniPC divides by differences of log(signal / noise), infinite at pure noise

# Schedulers of pipelines: those whose input is x_t itself, and whose step takes generators.
PIPELINE_SCHEDULERS = (
    "DDIMScheduler",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
)


@dataclass(frozen=True)
class Sampler:
    """A scheduler of some denoising steps, and the training timestep of each.

    Attributes:
        scheduler: diffusers', set to these steps.
        timesteps: inputs of the network, ascending; sampling goes from the last to the first.
        learns_covariance: whether the scheduler reads the covariance channels.
        step_options: further arguments of the scheduler's step.
        needs_generators: whether the scheduler's step takes random generators.
    """

    scheduler: Any
    timesteps: list[int]
    learns_covariance: bool = False
    step_options: Mapping[str, Any] = field(default_factory=dict)
    needs_generators: bool = False


def build_sampler(name: str, diffusion: Diffusion, steps: int, eta: float = 0.0) -> Sampler:
    """A sampler for the objective that the network was trained with.

    Args:
        name: `ddpm`: ancestral, with the learned covariance; not for flow. `ddim`: DDIM (Song et
            al. 2021, equation 12). `euler`: Euler's method along the velocity of flow; for eps and
            v the same as deterministic DDIM. `dpm++`: DPM-Solver++ 2M (Lu et al. 2022, algorithm
            2). `unipc`: UniPC of order 2 (Zhao et al. 2023).
        diffusion: the training schedule and objective.
        steps: denoising steps, from 1 to `diffusion.num_timesteps`.
        eta: noise that `ddim` adds at each step (DDIM, equation 16); 1 as in DDPM; not for flow.

    Raises:
        ConfigError: if the sampler or number of steps is unknown, or if the sampler does not
            support this objective or eta.
    """
    spec = _find_spec(name, diffusion, eta)
    if not 1 <= steps <= diffusion.num_timesteps:
        raise ConfigError(
            f"{steps} steps, but the network was trained on {diffusion.num_timesteps} timesteps",
            hint=f"set sample.steps from 1 to {diffusion.num_timesteps}",
        )
    timesteps = spec.spacing(diffusion.num_timesteps, steps)
    return Sampler(
        _make_scheduler(spec, diffusion, timesteps),
        timesteps,
        learns_covariance=name == "ddpm",
        step_options={"eta": eta} if eta else {},
        needs_generators=name == "ddpm" or eta > 0,
    )


@torch.no_grad()
def denoise(
    model: Denoiser,
    noise: Tensor,
    sampler: Sampler,
    generators: Sequence[torch.Generator],
    on_step: Callable[[], None] = lambda: None,
    names: Sequence[str] = (),
) -> Tensor:
    """Sample latents from noise by the reverse process.

    Args:
        model: (x, t) -> (b, f, 2c, h, w), guidance included.
        noise: standard normal, (b, f, c, h, w) float32.
        sampler: of `build_sampler` or `published_sampler`.
        generators: one a clip, for the noise of stochastic samplers, on the CPU or noise's device.
        on_step: called after each step.
        names: of the clips, for messages.

    Returns:
        Clean latents, (b, f, c, h, w) float32.

    Raises:
        NumericalError: if they are not finite after a step; names the step and the clips.
    """
    scheduler = deepcopy(sampler.scheduler)  # some keep state between steps
    options = dict(sampler.step_options)
    if sampler.needs_generators:
        options["generator"] = list(generators)
    x = noise.transpose(1, 2)  # schedulers split noise from covariance on axis 1
    positions = zip(scheduler.timesteps, reversed(sampler.timesteps), strict=True)
    for step, (position, timestep) in enumerate(positions, 1):
        t = torch.full((len(noise),), timestep, device=noise.device)
        out = model(x.transpose(1, 2), t).float().transpose(1, 2)
        if not sampler.learns_covariance:
            out = out.chunk(2, dim=1)[0]
        x = scheduler.step(out, position, x, **options).prev_sample
        of = f"the latents after step {step} of {len(sampler.timesteps)} (timestep {timestep})"
        check_clips_finite(x, of, names)
        on_step()
    return x.transpose(1, 2)


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
    except (ImportError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"the pipeline's {name} cannot be built: {str(error).partition(chr(10))[0]}",
            hint="correct its scheduler_config.json, or choose a sampler with --sampler",
        ) from error
    arguments = inspect.signature(scheduler.step).parameters
    if eta and "eta" not in arguments:
        raise ConfigError(f"{name} has no eta, got {eta}", hint="leave eta at 0")
    return Sampler(
        scheduler,
        [int(t) for t in reversed(scheduler.timesteps.tolist())],
        learns_covariance=values.get("variance_type") in ("learned", "learned_range"),
        step_options={"eta": eta} if eta else {},
        needs_generators="generator" in arguments,
    )


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
    scheduler.set_timesteps(steps)
    first, *others = scheduler.timesteps.tolist()
    # `leading` is shifted by steps_offset; that of solvers leaves room for one more step.
    if first >= betas or first in others:
        raise ConfigError(
            f"the pipeline's {name} does not support {steps} steps: with its timestep_spacing "
            f"and steps_offset they do not fit into {betas} timesteps",
            hint="use fewer --steps",
        )
    return scheduler


@dataclass(frozen=True)
class _SamplerSpec:
    """How to build a sampler's scheduler.

    Attributes:
        scheduler: a class of diffusers.
        spacing: (num_timesteps, steps) -> the timesteps of the steps, ascending.
        options: of the scheduler's constructor.
        has_eta: whether its step takes eta.
    """

    scheduler: Callable[..., Any]
    spacing: Callable[[int, int], list[int]]
    options: Mapping[str, Any] = field(default_factory=dict)
    has_eta: bool = False


def _find_spec(name: str, diffusion: Diffusion, eta: float) -> _SamplerSpec:
    """The sampler of that name for the network's objective; ConfigError if there is none."""
    specs = _FLOW_SAMPLERS if diffusion.objective == "flow" else _NOISE_SAMPLERS
    if name not in _FLOW_SAMPLERS | _NOISE_SAMPLERS:
        raise ConfigError(f"unknown sampler `{name}`", hint=f"known: {', '.join(specs)}")
    if name not in specs:
        raise ConfigError(
            f"the sampler {name} does not support the objective {diffusion.objective}",
            hint=f"set sample.sampler to one of: {', '.join(specs)}",
        )
    if eta and not specs[name].has_eta:
        raise ConfigError(
            f"the sampler {name} for {diffusion.objective} has no eta, got {eta}",
            hint="leave eta at 0; it is for ddim and the objectives eps and v",
        )
    return specs[name]


def _make_scheduler(spec: _SamplerSpec, diffusion: Diffusion, timesteps: list[int]) -> Any:
    """A scheduler of exactly these timesteps."""
    if isinstance(diffusion.schedule, FlowSchedule):
        return _flow_scheduler(spec, diffusion.schedule.sigmas[timesteps].flip(0))
    respaced: NoiseSchedule = diffusion.schedule.respaced(timesteps)
    scheduler = spec.scheduler(  # the respaced schedule is its whole schedule
        num_train_timesteps=len(timesteps),
        trained_betas=respaced.betas.numpy(),
        prediction_type=_PREDICTION_TYPES[diffusion.objective],
        timestep_spacing="trailing",
        **spec.options,
    )
    scheduler.alphas_cumprod = respaced.alphas_cumprod  # in float64, not diffusers' float32
    scheduler.set_timesteps(len(timesteps))
    return scheduler


def _flow_scheduler(spec: _SamplerSpec, sigmas: Tensor) -> Any:
    """A scheduler of steps at these sigmas, descending, and then to 0."""
    scheduler = spec.scheduler(**spec.options)
    scheduler.set_timesteps(len(sigmas))
    scheduler.set_begin_index(0)
    if spec.scheduler is UniPCMultistepScheduler:
        sigmas = sigmas.clamp(max=_MAX_SIGMA)
    scheduler.sigmas = torch.cat([sigmas, sigmas.new_zeros(1)]).float()
    return scheduler


_UNCLIPPED = {"clip_sample": False}  # latents are not images in [-1, 1]
_LEARNED = {**_UNCLIPPED, "variance_type": "learned_range"}
_SECOND_ORDER = {"solver_order": 2}
_ON_PATH = {**_SECOND_ORDER, "prediction_type": "flow_prediction", "use_flow_sigmas": True}
_DPM, _UNIPC = DPMSolverMultistepScheduler, UniPCMultistepScheduler
_FLOW_EULER = _SamplerSpec(FlowMatchEulerDiscreteScheduler, trailing_timesteps)

# To add a sampler, add a line here for each kind of schedule that it supports.
_NOISE_SAMPLERS = {
    "ddpm": _SamplerSpec(DDPMScheduler, respaced_timesteps, _LEARNED),
    "ddim": _SamplerSpec(DDIMScheduler, respaced_timesteps, _UNCLIPPED, has_eta=True),
    "dpm++": _SamplerSpec(_DPM, trailing_timesteps, _SECOND_ORDER),
    "unipc": _SamplerSpec(_UNIPC, trailing_timesteps, _SECOND_ORDER),
    # DDIM is Euler's method in x / sqrt(a) over sqrt((1 - a) / a) (DDIM, section 4.3).
    "euler": _SamplerSpec(DDIMScheduler, trailing_timesteps, _UNCLIPPED),
}
# On a straight path DDIM's step is Euler's.
_FLOW_SAMPLERS = {
    "euler": _FLOW_EULER,
    "ddim": _FLOW_EULER,
    "dpm++": _SamplerSpec(_DPM, trailing_timesteps, _ON_PATH),
    "unipc": _SamplerSpec(_UNIPC, trailing_timesteps, _ON_PATH),
}
