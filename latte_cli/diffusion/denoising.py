"""The loop from noise to latents: a scheduler's steps, and the noise level of each."""

# Axes: b clips, f frames, k first frames, c latent channels, h w latent size.

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from latte_cli.diffusion.schedule import Coefficients
from latte_cli.runtime.finite import check_clips_finite

Denoiser = Callable[..., Tensor]


@dataclass(frozen=True)
class Sampler:
    """A scheduler of some denoising steps, and the training timestep of each.

    Attributes:
        scheduler: diffusers', set to these steps.
        timesteps: inputs of the network; sampling goes from the last to the first. They ascend,
            except that solvers which call the network several times per step repeat some.
        learns_covariance: whether the scheduler reads the covariance channels.
        step_options: further arguments of the scheduler's step.
        needs_generators: whether the scheduler's step takes random generators.
        ends: of a flow map: for each of `timesteps` the one that its step leads to, -1 for the
            clean clip; None for other samplers.
    """

    scheduler: Any
    timesteps: list[float]
    learns_covariance: bool = False
    step_options: Mapping[str, Any] = field(default_factory=dict)
    needs_generators: bool = False
    ends: list[float] | None = None


@torch.no_grad()
def denoise(
    model: Denoiser,
    noise: Tensor,
    sampler: Sampler,
    generators: Sequence[torch.Generator],
    on_step: Callable[[], None] = lambda: None,
    first_frames: Tensor | None = None,
    names: Sequence[str] = (),
) -> Tensor:
    """Sample latents from noise by the reverse process.

    Given first frames are noised to the level of each step, with the same noise at every step, and
    replace the clip's own in the network's input (the replacement method of Ho et al. 2022, "Video
    Diffusion Models", section 3.1).

    Args:
        model: (x, t) -> (b, f, 2c, h, w), guidance included; c channels are enough unless the
            sampler reads the covariance. A flow map's also takes `end`, as t.
        noise: standard normal, (b, f, c, h, w) float32.
        sampler: of `build_sampler` or `published_sampler`.
        generators: one a clip, for the noise of stochastic samplers, on the CPU or noise's device.
        on_step: called after each call of the network.
        first_frames: clean latents that the clips begin with, (b, k, c, h, w), k < f.
        names: of the clips, for messages.

    Returns:
        Clean latents, (b, f, c, h, w) float32.

    Raises:
        NumericalError: if they are not finite after a step; names the step and the clips.
    """
    scheduler = deepcopy(sampler.scheduler)  # some keep state between steps
    options = _step_options(sampler, generators)
    levels = None if first_frames is None else noise_levels(sampler)
    scale = getattr(scheduler, "scale_model_input", lambda x, position: x)
    x = noise.transpose(1, 2)  # schedulers split noise from covariance on axis 1
    x = x * float(getattr(scheduler, "init_noise_sigma", 1.0))
    calls = zip(scheduler.timesteps, reversed(sampler.timesteps), strict=True)
    for step, (position, timestep) in enumerate(calls, 1):
        t = torch.full((len(noise),), timestep, device=noise.device)
        seen = scale(x, position).transpose(1, 2)
        if first_frames is not None and levels is not None:
            seen = _replace_first_frames(seen, first_frames, noise, levels, -step)
        where = {} if sampler.ends is None else {"end": torch.full_like(t, sampler.ends[-step])}
        out = model(seen, t, **where).float().transpose(1, 2)
        if not sampler.learns_covariance:
            out = out[:, : x.shape[1]]
        x = scheduler.step(out, position, x, **options).prev_sample
        of = f"the latents after step {step} of {len(sampler.timesteps)} (timestep {timestep})"
        check_clips_finite(x, of, names)
        on_step()
    latents = x.transpose(1, 2)
    if first_frames is None:
        return latents
    # The sampler's own values of those frames had no effect: its steps treat frames independently.
    return torch.cat([first_frames.to(latents), latents[:, first_frames.shape[1] :]], dim=1)


def noise_levels(sampler: Sampler) -> Coefficients:
    """Coefficients of the network's input at each of a sampler's steps.

    They are the scheduler's own: with Karras' or other spacings of its sigmas they lie between
    those of the timesteps, which are rounded.

    Returns:
        Each (len(timesteps),) float64, in the order of `Sampler.timesteps`.
    """
    scheduler = sampler.scheduler
    if not hasattr(scheduler, "sigmas"):
        kept = scheduler.alphas_cumprod.double()[scheduler.timesteps.cpu().long().flip(0)]
        return Coefficients(x_start=kept.sqrt(), noise=(1 - kept).sqrt())
    if is_flow(sampler):
        noise = scheduler.sigmas[: len(sampler.timesteps)].double().flip(0)
        return Coefficients(x_start=1 - noise, noise=noise)
    if scheduler.init_noise_sigma == 1:
        sigmas = scheduler.sigmas[: len(sampler.timesteps)].double().flip(0)
        signal = (1 + sigmas.square()).rsqrt()
        return Coefficients(x_start=signal, noise=sigmas * signal)
    signal = _input_scales(sampler).flip(0)
    return Coefficients(x_start=signal, noise=(1 - signal.square()).sqrt())


def is_flow(sampler: Sampler) -> bool:
    """Whether a sampler is for rectified flow, which has no noise schedule."""
    config = sampler.scheduler.config
    return not hasattr(sampler.scheduler, "alphas_cumprod") or bool(config.get("use_flow_sigmas"))


def _input_scales(sampler: Sampler) -> Tensor:
    """What the scheduler scales x_0 + sigma * noise by for each call, (calls,) float64.

    Solvers with stages between the steps know their sigmas only while they run, so they are run on
    a single number.
    """
    scheduler, number = deepcopy(sampler.scheduler), torch.ones(1, 1, 1, 1, 1, dtype=torch.float64)
    options, scales = _step_options(sampler, [torch.Generator()]), []
    for position in scheduler.timesteps:
        scales.append(scheduler.scale_model_input(number, position).flatten())
        scheduler.step(torch.zeros_like(number), position, number, **options)
    return torch.cat(scales)


def _step_options(sampler: Sampler, generators: Sequence[torch.Generator]) -> dict[str, Any]:
    options = dict(sampler.step_options)
    if sampler.needs_generators:
        options["generator"] = list(generators)
    return options


def _replace_first_frames(
    x: Tensor, first_frames: Tensor, noise: Tensor, levels: Coefficients, step: int
) -> Tensor:
    """A network's input, (b, f, c, h, w), with first frames at the noise level of a step."""
    count = first_frames.shape[1]
    frames = float(levels.x_start[step]) * first_frames
    frames = frames + float(levels.noise[step]) * noise[:, :count]
    return torch.cat([frames.to(x), x[:, count:]], dim=1)
