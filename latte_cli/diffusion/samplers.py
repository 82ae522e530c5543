"""Samplers by name, for the objective that a network was trained with."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from latte_cli.diffusion.denoising import Sampler
from latte_cli.diffusion.objective import Diffusion
from latte_cli.diffusion.schedule import (
    FlowSchedule,
    NoiseSchedule,
    respaced_timesteps,
    trailing_timesteps,
)
from latte_cli.runtime.errors import ConfigError, LatteWarning

_PREDICTION_TYPES = {"eps": "epsilon", "v": "v_prediction"}
_MOST_MAP_STEPS = 8
_MAX_SIGMA = 1 - 1e-6  # UniPC divides by differences of log(signal / noise), infinite at pure noise


def build_sampler(name: str, diffusion: Diffusion, steps: int, eta: float = 0.0) -> Sampler:
    """A sampler for the objective that the network was trained with.

    Args:
        name: `ddpm`: ancestral, with the learned covariance; not for flow. `ddim`: DDIM (Song et
            al. 2021, equation 12). `euler`: Euler's method along the velocity of flow; for eps and
            v the same as deterministic DDIM. `dpm++`: DPM-Solver++ 2M (Lu et al. 2022, algorithm
            2). `unipc`: UniPC of order 2 (Zhao et al. 2023). `flow-map`: a step of the mean
            velocity that a flow map predicts (Geng et al. 2025, algorithm 2).
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
    if name == "flow-map" and steps > _MOST_MAP_STEPS:
        warnings.warn(
            f"{steps} steps of a flow map: more than {_MOST_MAP_STEPS} gain nothing over the "
            "sampler euler, which costs the same",
            LatteWarning,
            stacklevel=2,
        )
    timesteps = spec.spacing(diffusion.num_timesteps, steps)
    if name == "flow-map" and diffusion.map_timesteps is not None:
        assert steps == len(diffusion.map_timesteps), "the configuration is checked"
        timesteps = diffusion.map_timesteps[::-1]
    return Sampler(
        _make_scheduler(spec, diffusion, timesteps),
        [*timesteps],
        learns_covariance=name == "ddpm",
        step_options={"eta": eta} if eta else {},
        needs_generators=name == "ddpm" or eta > 0,
        ends=[-1, *timesteps[:-1]] if name == "flow-map" else None,
    )


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
    specs = _NOISE_SAMPLERS
    if isinstance(diffusion.schedule, FlowSchedule):
        specs = _MAP_SAMPLERS if diffusion.is_flow_map else _FLOW_SAMPLERS
    if name not in _MAP_SAMPLERS | _NOISE_SAMPLERS:
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
# A flow map is a flow, too, where its steps are short; its own step is Euler's with its velocity.
_MAP_SAMPLERS = {**_FLOW_SAMPLERS, "flow-map": _FLOW_EULER}
