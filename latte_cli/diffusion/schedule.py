"""The noise schedule of DDPM and its posterior (Ho et al. 2020, equations 4, 6 and 7)."""

# Axes: b clips, f frames, c latent channels, h w latent size.

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Mixture:
    """How much of a clean clip and of its noise are in a sum of the two.

    Attributes:
        x_start: weight of the clean clip, (b, 1, …).
        noise: weight of the noise, (b, 1, …).
    """

    x_start: Tensor
    noise: Tensor

    def of(self, x_start: Tensor, noise: Tensor) -> Tensor:
        """The sum itself, (b, f, c, h, w) as both of its parts."""
        return self.x_start * x_start + self.noise * noise


@dataclass(frozen=True)
class NoiseSchedule:
    """Coefficients by timestep, each (num_timesteps,) float64.

    Attributes:
        betas: variance added at each step.
        alphas_cumprod: share of the clean signal's variance that is left, equation 4.
        posterior_variance: variance of q(x_{t-1} | x_t, x_0), equation 7; zero at t = 0.
        posterior_log_variance: its logarithm; at t = 0, where that is infinite, the one of t = 1.
        posterior_mean_x_start: weight of x_0 in that posterior's mean, equation 7.
        posterior_mean_x_t: weight of x_t in it.
    """

    betas: Tensor
    alphas_cumprod: Tensor
    posterior_variance: Tensor
    posterior_log_variance: Tensor
    posterior_mean_x_start: Tensor
    posterior_mean_x_t: Tensor

    @classmethod
    def linear(cls, num_timesteps: int, beta_start: float, beta_end: float) -> "NoiseSchedule":
        """Betas evenly spaced between two values."""
        return cls.from_betas(
            torch.linspace(beta_start, beta_end, num_timesteps, dtype=torch.float64)
        )

    @classmethod
    def from_betas(cls, betas: Tensor) -> "NoiseSchedule":
        """All coefficients from the variances added, (num_timesteps,) float64."""
        alphas = 1 - betas
        cumprod = alphas.cumprod(0)
        previous = torch.cat([cumprod.new_ones(1), cumprod[:-1]])
        variance = betas * (1 - previous) / (1 - cumprod)
        return cls(
            betas=betas,
            alphas_cumprod=cumprod,
            posterior_variance=variance,
            posterior_log_variance=torch.cat([variance[1:2], variance[1:]]).log(),
            posterior_mean_x_start=betas * previous.sqrt() / (1 - cumprod),
            posterior_mean_x_t=(1 - previous) * alphas.sqrt() / (1 - cumprod),
        )

    def noisy(self, t: Tensor, like: Tensor) -> Mixture:
        """What x_t is made of: sqrt(a_t) x_0 + sqrt(1 - a_t) noise (DDPM, equation 4).

        Args:
            t: timesteps, (b,) long.
            like: of the wanted dtype, device and number of axes.
        """
        signal, noise = self.alphas_cumprod.sqrt(), (1 - self.alphas_cumprod).sqrt()
        return Mixture(x_start=at(signal, t, like), noise=at(noise, t, like))

    def posterior_mean(self, x_start: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The mean of q(x_{t-1} | x_t, x_0), (b, f, c, h, w) (DDPM, equation 7)."""
        weight = at(self.posterior_mean_x_start, t, x_t)
        weight_t = at(self.posterior_mean_x_t, t, x_t)
        return weight * x_start + weight_t * x_t

    def reverse_log_variance(self, covariance: Tensor, t: Tensor) -> Tensor:
        """Between the posterior's and beta in the log (improved DDPM, equation 15).

        Args:
            covariance: the network's coefficient, from -1 to 1, (b, f, c, h, w).
            t: timesteps, (b,) long.
        """
        upper = at(self.betas.log(), t, covariance)
        lower = at(self.posterior_log_variance, t, covariance)
        share = (covariance + 1) / 2
        return share * upper + (1 - share) * lower

    def respaced(self, timesteps: list[int]) -> "NoiseSchedule":
        """The schedule that visits only these timesteps, ascending (improved DDPM, section 4)."""
        kept = self.alphas_cumprod[timesteps]
        previous = torch.cat([kept.new_ones(1), kept[:-1]])
        return type(self).from_betas(1 - kept / previous)


def respaced_timesteps(num_timesteps: int, steps: int) -> list[int]:
    """`steps` timesteps spread evenly from the first to the last, rounded, ascending.

    The spacing of improved DDPM (Nichol & Dhariwal 2021) that the published samples were made with;
    but a single step is the last timestep, not the first, which is all but clean.
    """
    if steps == 1:
        return [num_timesteps - 1]
    stride = (num_timesteps - 1) / (steps - 1)
    return [round(number * stride) for number in range(steps)]


def trailing_timesteps(num_timesteps: int, steps: int) -> list[int]:
    """The ends of `steps` equal parts of all timesteps, ascending; always with the last one.

    Steps are then equally long, the last one, which leads to the clip, as well ("trailing" in Lin
    et al. 2024, table 2).
    """
    return [round(num_timesteps * part / steps) - 1 for part in range(1, steps + 1)]


def at(values: Tensor, t: Tensor, like: Tensor) -> Tensor:
    """The coefficient of each clip's timestep, shaped (b, 1, …) to multiply `like`."""
    chosen = values.to(like.device)[t].to(like.dtype)
    return chosen.reshape(-1, *[1] * (like.ndim - 1))
