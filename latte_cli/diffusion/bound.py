"""The variational bound of a reverse step (DDPM, equations 5 and 13), in bits a dimension."""

# Axes: b clips, f frames, c latent channels, h w latent size.

from dataclasses import dataclass
from math import log, pi, sqrt

import torch
from torch import Tensor

from latte_cli.diffusion.schedule import NoiseSchedule, extract

# Data are 8-bit images in [-1, 1]: a bin of the decoder's likelihood is 2/255 wide.
_HALF_BIN = 1 / 255
_MIN_PROBABILITY = 1e-12


@dataclass(frozen=True)
class Gaussian:
    """A diagonal normal distribution over latents, and the clean latents it was derived from."""

    mean: Tensor
    log_variance: Tensor
    x_start: Tensor


def variational_bound(
    schedule: NoiseSchedule, predicted: Gaussian, x_start: Tensor, x_t: Tensor, t: Tensor
) -> Tensor:
    """KL(q(x_{t-1} | x_t, x_0) || p); at t = 0 the decoder's negative log-likelihood.

    Args:
        schedule: that x_t was noised by.
        predicted: p(x_{t-1} | x_t).
        x_start: clean latents, (b, f, c, h, w).
        x_t: noisy latents, (b, f, c, h, w).
        t: timesteps, (b,) long.

    Returns:
        (b,) in bits a dimension.
    """
    true_mean = schedule.posterior_mean(x_start, x_t, t)
    divergence = _kl(true_mean, extract(schedule.posterior_log_variance, t, x_t), predicted)
    likelihood = _discretized_log_likelihood(x_start, predicted)
    nats = torch.where(t == 0, mean_of_clip(-likelihood), mean_of_clip(divergence))
    return nats / log(2)


def mean_of_clip(values: Tensor) -> Tensor:
    """(b, …) -> (b,)."""
    return values.flatten(1).mean(dim=1)


def _kl(mean: Tensor, log_variance: Tensor, other: Gaussian) -> Tensor:
    """KL divergence of two diagonal normals, by element, in nats."""
    difference = (mean - other.mean).square()
    relative = log_variance - other.log_variance
    return 0.5 * (relative.exp() - relative - 1 + difference * (-other.log_variance).exp())


def _discretized_log_likelihood(x: Tensor, normal: Gaussian) -> Tensor:
    """Log of the normal's mass in x's 8-bit bin; outermost bins are open (DDPM, equation 13)."""
    centered, scale = x - normal.mean, (-0.5 * normal.log_variance).exp()
    upper = _normal_cdf(scale * (centered + _HALF_BIN))
    lower = _normal_cdf(scale * (centered - _HALF_BIN))
    mass = torch.where(x < -0.999, upper, torch.where(x > 0.999, 1 - lower, upper - lower))
    return mass.clamp(min=_MIN_PROBABILITY).log()


def _normal_cdf(x: Tensor) -> Tensor:
    """The tanh approximation of the published code (Page 1977)."""
    return 0.5 * (1 + torch.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))
