"""The training objective: L_simple + L_vlb with learned covariance (Latte, equations 1 and 2)."""

# Axes: b clips, f frames, c latent channels, h w latent size.

from collections.abc import Callable
from dataclasses import dataclass
from math import log, pi, sqrt
from typing import Any

import torch
from torch import Tensor

from latte_cli.diffusion.schedule import NoiseSchedule, at

Model = Callable[..., Tensor]

# Data are pictures of 8 bits in [-1, 1], so that one bin of the decoder's likelihood is 2/255 wide.
_HALF_BIN = 1 / 255
_MIN_PROBABILITY = 1e-12


@dataclass(frozen=True)
class LossTerms:
    """Losses of each clip, (b,) float32: total = mse + vlb."""

    total: Tensor
    mse: Tensor
    vlb: Tensor


@dataclass(frozen=True)
class Gaussian:
    """A diagonal normal distribution over latents, and the clean latents it was derived from."""

    mean: Tensor
    log_variance: Tensor
    x_start: Tensor


class Diffusion:
    """Noise-predicting diffusion with a linear schedule.

    Args:
        num_timesteps: steps of the forward process.
        beta_start: variance of the first step.
        beta_end: variance of the last step.
    """

    def __init__(
        self, num_timesteps: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02
    ) -> None:
        self.num_timesteps = num_timesteps
        self.schedule = NoiseSchedule.linear(num_timesteps, beta_start, beta_end)

    def add_noise(self, x_start: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t of the forward process: sqrt(a_t) x_0 + sqrt(1 - a_t) noise (DDPM, equation 4)."""
        signal = at(self.schedule.alphas_cumprod, t, x_start.double())
        x_t = signal.sqrt() * x_start + (1 - signal).sqrt() * noise
        return x_t.to(x_start.dtype)

    def noise_loss_weight(self, t: Tensor, snr_floor: float, snr_ceiling: float | None) -> Tensor:
        """What to multiply the squared error of the noise by, at each timestep.

        An error of the noise is one of x_start weighted by the signal-to-noise ratio. Clamping that
        ratio keeps nearly clean steps, where there is little to learn, and very noisy ones, where
        the layout of the clip is decided, from drowning each other. A ceiling alone is min-SNR
        weighting (Hang et al. 2023); no floor and no ceiling is the plain noise loss.

        Args:
            t: timesteps, (b,) long.
            snr_floor: least weight of an error of x_start.
            snr_ceiling: largest weight of it; None for none.

        Returns:
            (b,) float32.
        """
        signal = self.schedule.alphas_cumprod.to(t.device)[t]
        ratio = signal / (1 - signal)
        return (ratio.clamp(min=snr_floor, max=snr_ceiling) / ratio).float()

    def losses(
        self, model: Model, x_start: Tensor, t: Tensor, noise: Tensor, **cond: Any
    ) -> LossTerms:
        """The losses of each clip at its timestep.

        Args:
            model: called as model(x_t, t, **cond), gives (b, f, 2c, h, w): noise, then covariance.
            x_start: clean latents, (b, f, c, h, w) float.
            t: timesteps, (b,) long in [0, num_timesteps).
            noise: standard normal, shaped as x_start.
            **cond: passed on to the model.

        Returns:
            Mean squared error of the noise, and the variational bound in bits a dimension, whose
            gradient reaches the covariance only (improved DDPM, section 3.1).
        """
        x_t = self.add_noise(x_start, t, noise)
        predicted, covariance = model(x_t, t, **cond).float().chunk(2, dim=2)
        mse = _mean_of_clip((noise - predicted).square())
        frozen = torch.cat([predicted.detach(), covariance], dim=2)
        vlb = self._variational_bound(frozen, x_start, x_t, t)
        return LossTerms(total=mse + vlb, mse=mse, vlb=vlb)

    def reverse_step(self, model_out: Tensor, x_t: Tensor, t: Tensor) -> Gaussian:
        """p(x_{t-1} | x_t): the covariance interpolates in the log between its bounds.

        Args:
            model_out: (b, f, 2c, h, w), noise then an interpolation coefficient in [-1, 1].
            x_t: noisy latents, (b, f, c, h, w).
            t: timesteps, (b,) long.

        Returns:
            Mean (DDPM, equation 7, with x_0 from equation 4) and log variance (improved DDPM,
            equation 15).
        """
        s = self.schedule
        noise, covariance = model_out.chunk(2, dim=2)
        signal = at(s.alphas_cumprod, t, x_t)
        x_start = (x_t - (1 - signal).sqrt() * noise) / signal.sqrt()
        mean = (
            at(s.posterior_mean_x_start, t, x_t) * x_start + at(s.posterior_mean_x_t, t, x_t) * x_t
        )
        upper, lower = at(s.betas.log(), t, x_t), at(s.posterior_log_variance, t, x_t)
        share = (covariance + 1) / 2
        return Gaussian(mean, share * upper + (1 - share) * lower, x_start)

    def _variational_bound(
        self, model_out: Tensor, x_start: Tensor, x_t: Tensor, t: Tensor
    ) -> Tensor:
        """KL(q(x_{t-1} | x_t, x_0) || p), at t = 0 the decoder's likelihood: (b,) in bits."""
        s = self.schedule
        predicted = self.reverse_step(model_out, x_t, t)
        true_mean = self._posterior_mean(x_start, x_t, t)
        divergence = _kl(true_mean, at(s.posterior_log_variance, t, x_t), predicted)
        likelihood = _discretized_log_likelihood(x_start, predicted)
        nats = torch.where(t == 0, _mean_of_clip(-likelihood), _mean_of_clip(divergence))
        return nats / log(2)

    def _posterior_mean(self, x_start: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The mean of q(x_{t-1} | x_t, x_0) (DDPM, equation 7)."""
        s = self.schedule
        weight, weight_t = at(s.posterior_mean_x_start, t, x_t), at(s.posterior_mean_x_t, t, x_t)
        return weight * x_start + weight_t * x_t


def _kl(mean: Tensor, log_variance: Tensor, other: Gaussian) -> Tensor:
    """KL divergence of two diagonal normals, by element, in nats."""
    difference = (mean - other.mean).square()
    relative = log_variance - other.log_variance
    return 0.5 * (relative.exp() - relative - 1 + difference * (-other.log_variance).exp())


def _discretized_log_likelihood(x: Tensor, normal: Gaussian) -> Tensor:
    """Log of the normal's mass in x's 8-bit bin, the outermost bins open (DDPM, equation 13)."""
    centered, scale = x - normal.mean, (-0.5 * normal.log_variance).exp()
    upper = _normal_cdf(scale * (centered + _HALF_BIN))
    lower = _normal_cdf(scale * (centered - _HALF_BIN))
    mass = torch.where(x < -0.999, upper, torch.where(x > 0.999, 1 - lower, upper - lower))
    return mass.clamp(min=_MIN_PROBABILITY).log()


def _normal_cdf(x: Tensor) -> Tensor:
    """The tanh approximation that the published losses were computed with (Page 1977)."""
    return 0.5 * (1 + torch.tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))


def _mean_of_clip(values: Tensor) -> Tensor:
    return values.flatten(1).mean(dim=1)
