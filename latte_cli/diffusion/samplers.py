"""From noise to latents through diffusers' schedulers."""

# Axes: b clips, f frames, c latent channels, h w latent size.

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
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

from latte_cli.diffusion.flow import StraightPath
from latte_cli.diffusion.guidance import Denoiser
from latte_cli.diffusion.objective import Diffusion
from latte_cli.diffusion.schedule import NoiseSchedule, respaced_timesteps, trailing_timesteps
from latte_cli.runtime.errors import ConfigError

_PREDICTION_TYPES = {"eps": "epsilon", "v": "v_prediction"}
_ALMOST_NOISE = 1 - 1e-6  # UniPC divides by steps of log signal over noise, infinite from noise


@dataclass(frozen=True)
class Sampler:
    """A scheduler that counts its own few steps, and the training timestep that each stands for.

    Attributes:
        scheduler: diffusers', over these steps alone.
        timesteps: what the network is told, ascending; they are walked from the last to the first.
        learns_covariance: whether the scheduler reads the covariance channels.
        step_options: further arguments of the scheduler's step.
        draws_noise: whether the scheduler's step takes generators.
    """

    scheduler: Any
    timesteps: list[int]
    learns_covariance: bool = False
    step_options: Mapping[str, Any] = field(default_factory=dict)
    draws_noise: bool = False


def build_sampler(name: str, diffusion: Diffusion, steps: int, eta: float = 0.0) -> Sampler:
    """One of diffusers' schedulers, for what the network was trained to predict.

    Args:
        name: `ddpm`: ancestral, with the learned covariance; not for flow. `ddim`: the predicted
            x_0 and noise mixed anew for the level before. `euler`: a step along the velocity of
            flow; for eps and v it is DDIM's without noise. `dpm++`: DPM-Solver++ 2M (Lu et al.
            2022, algorithm 2). `unipc`: UniPC of order 2 (Zhao et al. 2023).
        diffusion: the training schedule and objective.
        steps: denoising steps, from 1 to `diffusion.num_timesteps`.
        eta: noise that `ddim` adds at each step (DDIM, equation 16): 1 is that of DDPM; not for
            flow.

    Raises:
        ConfigError: if there is no such sampler or number of steps, if the sampler cannot draw
            from this objective, or has no use for eta.
    """
    kind = _kind_of(name, diffusion, eta)
    if not 1 <= steps <= diffusion.num_timesteps:
        raise ConfigError(
            f"{steps} steps, but the network was trained on {diffusion.num_timesteps} timesteps",
            hint=f"set sample.steps from 1 to {diffusion.num_timesteps}",
        )
    timesteps = kind.spacing(diffusion.num_timesteps, steps)
    return Sampler(
        _scheduler(kind, diffusion, timesteps),
        timesteps,
        learns_covariance=name == "ddpm",
        step_options={"eta": eta} if eta else {},
        draws_noise=name == "ddpm" or eta > 0,
    )


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
    scheduler = deepcopy(sampler.scheduler)  # some remember how far they have walked
    options = dict(sampler.step_options)
    if sampler.draws_noise:
        options["generator"] = list(generators)
    x = noise.transpose(1, 2)  # schedulers split noise from covariance on axis 1
    for position, timestep in zip(scheduler.timesteps, reversed(sampler.timesteps), strict=True):
        t = torch.full((len(noise),), timestep, device=noise.device)
        out = model(x.transpose(1, 2), t).float().transpose(1, 2)
        if not sampler.learns_covariance:
            out = out.chunk(2, dim=1)[0]
        x = scheduler.step(out, position, x, **options).prev_sample
        on_step()
    return x.transpose(1, 2)


@dataclass(frozen=True)
class _Kind:
    """How a sampler is made of a scheduler.

    Attributes:
        scheduler: a class of diffusers.
        spacing: which of all timesteps some steps visit, ascending.
        options: of the scheduler's constructor.
        has_eta: whether its steps take noise by measure.
    """

    scheduler: Callable[..., Any]
    spacing: Callable[[int, int], list[int]]
    options: Mapping[str, Any] = field(default_factory=dict)
    has_eta: bool = False


def _kind_of(name: str, diffusion: Diffusion, eta: float) -> _Kind:
    """The sampler of that name for what the network predicts; ConfigError if there is none."""
    kinds = _OVER_PATH if diffusion.objective == "flow" else _OVER_NOISE_SCHEDULE
    if name not in _OVER_PATH | _OVER_NOISE_SCHEDULE:
        raise ConfigError(f"unknown sampler `{name}`", hint=f"known: {', '.join(kinds)}")
    if name not in kinds:
        raise ConfigError(
            f"the sampler {name} cannot draw from a network trained for {diffusion.objective}",
            hint=f"set sample.sampler to one of: {', '.join(kinds)}",
        )
    if eta and not kinds[name].has_eta:
        raise ConfigError(
            f"the sampler {name} for {diffusion.objective} has no eta, got {eta}",
            hint="leave eta at 0; it is for ddim and the objectives eps and v",
        )
    return kinds[name]


def _scheduler(kind: _Kind, diffusion: Diffusion, timesteps: list[int]) -> Any:
    """The scheduler over these timesteps alone; left to itself it would take others."""
    schedule = diffusion.schedule
    if isinstance(schedule, StraightPath):
        return _over_path(kind, schedule.levels[timesteps].flip(0))
    prediction = _PREDICTION_TYPES[diffusion.objective]
    return _over_noise_schedule(kind, schedule.respaced(timesteps), prediction)


def _over_noise_schedule(kind: _Kind, respaced: NoiseSchedule, prediction: str) -> Any:
    """A scheduler that is given the respaced schedule as its whole schedule."""
    steps = len(respaced.betas)
    scheduler = kind.scheduler(
        num_train_timesteps=steps,
        trained_betas=respaced.betas.numpy(),
        prediction_type=prediction,
        timestep_spacing="trailing",
        **kind.options,
    )
    scheduler.alphas_cumprod = respaced.alphas_cumprod  # in float64, not diffusers' float32
    scheduler.set_timesteps(steps)
    return scheduler


def _over_path(kind: _Kind, levels: Tensor) -> Any:
    """A scheduler that is told the levels of its steps, descending, and ends at the clip."""
    scheduler = kind.scheduler(**kind.options)
    scheduler.set_timesteps(len(levels))
    scheduler.set_begin_index(0)
    if kind.scheduler is UniPCMultistepScheduler:
        levels = levels.clamp(max=_ALMOST_NOISE)
    scheduler.sigmas = torch.cat([levels, levels.new_zeros(1)]).float()
    return scheduler


_UNCLIPPED = {"clip_sample": False}  # latents are not pictures in [-1, 1]
_LEARNED = {**_UNCLIPPED, "variance_type": "learned_range"}
_SECOND_ORDER = {"solver_order": 2}
_ON_PATH = {**_SECOND_ORDER, "prediction_type": "flow_prediction", "use_flow_sigmas": True}
_DPM, _UNIPC = DPMSolverMultistepScheduler, UniPCMultistepScheduler
_FLOW_EULER = _Kind(FlowMatchEulerDiscreteScheduler, trailing_timesteps)

# A further sampler is a line here, for each kind of schedule that it can walk.
_OVER_NOISE_SCHEDULE = {
    "ddpm": _Kind(DDPMScheduler, respaced_timesteps, _LEARNED),
    "ddim": _Kind(DDIMScheduler, respaced_timesteps, _UNCLIPPED, has_eta=True),
    "dpm++": _Kind(_DPM, trailing_timesteps, _SECOND_ORDER),
    "unipc": _Kind(_UNIPC, trailing_timesteps, _SECOND_ORDER),
    # DDIM is Euler's method in x / sqrt(a) over sqrt((1 - a) / a) (DDIM, section 4.3).
    "euler": _Kind(DDIMScheduler, trailing_timesteps, _UNCLIPPED),
}
# Euler's step mixes the predicted x_0 and noise anew, too, and so is DDIM's on a straight path.
_OVER_PATH = {
    "euler": _FLOW_EULER,
    "ddim": _FLOW_EULER,
    "dpm++": _Kind(_DPM, trailing_timesteps, _ON_PATH),
    "unipc": _Kind(_UNIPC, trailing_timesteps, _ON_PATH),
}
