"""Flow maps: the mean velocity over steps of any length, so that few steps are enough.

u(x_t, t, r) is the mean velocity of the path from x_t at time t to time r. It satisfies

    u(x_t, t, r) = v(x_t, t) + (r - t) du/dt,   du/dt = v . du/dx + du/dt

(Geng et al. 2025, "Mean flows for one-step generative modeling", equation 6, with the end r held
fixed), which the right-hand side without gradient makes a target. With r = t it is flow matching.
Half of the clips are trained on that (Lee et al. 2025, "Decoupled MeanFlow", arXiv 2510.24474).
Where a teacher shows a few fixed steps, there is no derivative: the target does not depend on what
the network has learned. Yan et al. 2024 ("PeRFlow", arXiv 2405.07510) let each step begin at noised
clips; here all are on one path from noise, where sampling will be, too.
"""

# Axes: b clips, f frames, c latent channels, h w latent size.

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from latte_cli.diffusion.bound import mean_of_clip
from latte_cli.diffusion.objective import Diffusion, LossTerms
from latte_cli.diffusion.schedule import FlowSchedule

Model = Callable[..., Tensor]

_LEAST_ERROR = 0.01


def flow_map_losses(
    model: Model,
    frozen: Model,
    diffusion: Diffusion,
    x_start: Tensor,
    t: Tensor,
    end: Tensor,
    noise: Tensor,
    log_weight: Tensor,
    *,
    target_shift: Tensor | None = None,
    **cond: Any,
) -> LossTerms:
    """The losses of each clip.

    Args:
        model: model(x_t, t, end=end, **cond) -> (b, f, c or more, h, w).
        frozen: the same function without gradient to its weights, for the derivative.
        diffusion: the objective, `flow-map`.
        x_start: clean latents, (b, f, c, h, w) float32.
        t: timesteps, (b,) long.
        end: timesteps that the steps lead to, (b,) long, from -1 to t.
        noise: standard normal, shaped as x_start.
        log_weight: log of the error that is expected at (t, end), learned, (b,) float32.
        target_shift: added to the velocity, shaped as x_start.
        **cond: passed to both; what is a tensor has the batch first.

    Returns:
        total, on a logarithmic scale and weighted by what error is expected (see `_weighted`), mse
        without that, and no vlb.
    """
    assert isinstance(diffusion.schedule, FlowSchedule)
    model, frozen = diffusion.adapt(model), diffusion.adapt(frozen)
    channels = x_start.shape[2]
    velocity = noise - x_start if target_shift is None else noise - x_start + target_shift
    x_t = diffusion.add_noise(x_start, t, noise)
    with torch.no_grad():
        change = _change_of_pairs(frozen, diffusion, x_t, t, end, velocity, cond)
        levels = diffusion.schedule.noise_levels
        target = velocity + (levels(end, x_t) - levels(t, x_t)) * change
    predicted = model(x_t, t, end=end, **cond)[:, :, :channels].float()
    return _weighted(target - predicted, log_weight)


def map_step_losses(
    model: Model,
    diffusion: Diffusion,
    path: Tensor,
    t: Tensor,
    end: Tensor,
    log_weight: Tensor,
    **cond: Any,
) -> LossTerms:
    """The losses of each clip, of one step of the path that a teacher leads it along.

    Args:
        model: model(x_t, t, end=end, **cond) -> (b, f, c or more, h, w).
        diffusion: the objective, `flow-map` with `map_levels`.
        path: where each of the k steps between the objective's `map_levels` begins, and the clean
            clip, (b, k + 1, f, c, h, w) float32.
        t: timesteps that the steps begin at, (b,) long.
        end: timesteps that they lead to, (b,) long.
        log_weight: as `flow_map_losses` has it.
        **cond: passed on.

    Returns:
        total, on a logarithmic scale and weighted by what error is expected (see `_weighted`), mse
        without that, and no vlb.
    """
    assert isinstance(diffusion.schedule, FlowSchedule)
    number = diffusion.step_numbers(t)
    clips = torch.arange(len(t), device=t.device)
    x_t, x_end = path[clips, number], path[clips, number + 1]
    levels = diffusion.schedule.noise_levels
    target = (x_end - x_t) / (levels(end, x_t) - levels(t, x_t))
    predicted = diffusion.adapt(model)(x_t, t, end=end, **cond)[:, :, : x_t.shape[2]].float()
    return _weighted(target - predicted, log_weight)


def _weighted(error: Tensor, log_weight: Tensor) -> LossTerms:
    """The losses of an error of the mean velocity, (b, f, c, h, w).

    Returns:
        total = log(mse / e^w + 0.01) + w with w the `log_weight` (Lee et al. 2025, equation 12):
        large errors, of steps that nobody could predict, pull no harder than small ones; mse
        without that; no vlb.
    """
    mse = mean_of_clip(error.square())
    total = torch.log(mse / log_weight.exp() + _LEAST_ERROR) + log_weight
    return LossTerms(total=total, mse=mse, vlb=torch.zeros_like(mse))


def _change_of_pairs(
    frozen: Model,
    diffusion: Diffusion,
    x_t: Tensor,
    t: Tensor,
    end: Tensor,
    velocity: Tensor,
    cond: dict[str, Any],
) -> Tensor:
    """du/dt of the clips whose step is longer than nothing; zero for the others."""
    change = torch.zeros_like(x_t)
    chosen = (t != end).nonzero()[:, 0]
    if len(chosen):
        part = {k: v[chosen] if isinstance(v, Tensor) else v for k, v in cond.items()}
        change[chosen] = mean_velocity_change(
            frozen, x_t[chosen], t[chosen], end[chosen], velocity[chosen],
            diffusion.num_timesteps, **part,
        )  # fmt: skip
    return change


def mean_velocity_change(
    frozen: Model,
    x_t: Tensor,
    t: Tensor,
    end: Tensor,
    velocity: Tensor,
    num_timesteps: int,
    **cond: Any,
) -> Tensor:
    """du/dt along the path: the exact derivative, by forward-mode differentiation.

    A difference of two evaluations was a fifth off: the embedding of time has high frequencies.

    Args:
        frozen: frozen(x, t, end=end, **cond), without gradient to its weights.
        x_t: noisy latents, (b, f, c, h, w) float32.
        t: timesteps, (b,) long.
        end: timesteps that the steps lead to, (b,) long.
        velocity: dx_t / dt, shaped as x_t; time runs from 0, the clip, to 1, noise.
        num_timesteps: that this time is divided into.
        **cond: passed on.

    Returns:
        (b, f, c, h, w) float32.
    """

    def mean_velocity(x: Tensor, time: Tensor) -> Tensor:
        return frozen(x, time, end=end, **cond)[:, :, : x_t.shape[2]].float()

    start = t.to(x_t.dtype)
    per_time = torch.full_like(start, num_timesteps)
    # Fused attention and compiled blocks have no forward-mode derivative. Gradients are enabled,
    # though none is taken, for without them the network computes in place.
    eager = torch.compiler.set_stance("force_eager")
    with eager, sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
        change = torch.func.jvp(mean_velocity, (x_t, start), (velocity, per_time))[1]
    result: Tensor = change.detach().to(x_t.dtype)
    return result
