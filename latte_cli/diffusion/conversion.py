"""A network that predicts noise, or v, as one that predicts the velocity of a straight path.

Both paths mix the clip and noise; they differ in scale and in time. Divided by
sqrt((1 - s)^2 + s^2), x_s = (1 - s) x_0 + s n is x_t of the schedule at the timestep with the same
ratio of noise to signal. What the network predicts there gives x_0 and n, whose difference is the
velocity (as in Lipman et al. 2024, "Flow matching guide and code", section 4.9).
"""

# Axes: b clips, f frames, c latent channels, h w latent size.

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from latte_cli.diffusion.schedule import NoiseSchedule

Model = Callable[..., Tensor]
Output = Literal["eps", "v"]


def as_velocity(model: Model, output: Output, schedule: NoiseSchedule) -> Model:
    """The velocity, from a network trained on another schedule.

    Args:
        model: model(x, t, **cond) -> (b, f, c or more, h, w), with t of any real number.
        output: what its first c channels predict.
        schedule: that it was trained on.

    Returns:
        velocity(x, t, **cond) -> (b, f, c, h, w), for timesteps of a flow on as many: the time of
        timestep t is (t + 1) / num_timesteps. `end`, if given, is converted as t. Times beyond the
        schedule's noisiest timestep, which still has a little signal, are taken for that one.
    """
    ratios = ((1 - schedule.alphas_cumprod) / schedule.alphas_cumprod).sqrt()
    count = len(ratios)

    def velocity(x: Tensor, t: Tensor, end: Tensor | None = None, **cond: Any) -> Tensor:
        ends = {} if end is None else {"end": _timestep(_ratio(end, count), ratios).to(x.dtype)}
        ratio = _ratio(t, count).clamp(max=float(ratios[-1]))
        per_clip = ratio.reshape(*ratio.shape, *[1] * (x.ndim - ratio.ndim)).to(x.dtype)
        signal = (1 + per_clip.square()).rsqrt()
        sigma = per_clip * signal
        level = per_clip / (1 + per_clip)
        x_t = x * (signal / (1 - level))
        out = model(x_t, _timestep(ratio, ratios).to(x.dtype), **cond, **ends)
        predicted = out[:, :, : x.shape[2]].to(x.dtype)
        if output == "eps":
            noise, x_start = predicted, (x_t - sigma * predicted) / signal
        else:
            noise, x_start = sigma * x_t + signal * predicted, signal * x_t - sigma * predicted
        return noise - x_start

    return velocity


def _ratio(t: Tensor, count: int) -> Tensor:
    """Noise over signal at timesteps of a flow, in float64; not finite at pure noise."""
    level = (t.double() + 1) / count
    return level / (1 - level)


def _timestep(ratio: Tensor, ratios: Tensor) -> Tensor:
    """The schedule's timestep with this ratio of noise to signal, between whole ones, too.

    Args:
        ratio: of any shape, float64.
        ratios: of each timestep, (num_timesteps,), ascending.
    """
    known = ratios.log().to(ratio.device)
    wanted = ratio.clamp(float(ratios[0]), float(ratios[-1])).log()
    after = torch.searchsorted(known, wanted.detach().contiguous()).clamp(1, len(known) - 1)
    low, high = known[after - 1], known[after]
    return after - 1 + (wanted - low) / (high - low)
