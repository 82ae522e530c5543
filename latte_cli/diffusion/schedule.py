"""The noise schedule of DDPM and its posterior (Ho et al. 2020, equations 4, 6 and 7)."""

from dataclasses import dataclass

import torch
from torch import Tensor


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

    def respaced(self, timesteps: list[int]) -> "NoiseSchedule":
        """The schedule that visits only these timesteps, ascending (improved DDPM, section 4)."""
        kept = self.alphas_cumprod[timesteps]
        previous = torch.cat([kept.new_ones(1), kept[:-1]])
        return type(self).from_betas(1 - kept / previous)


def respaced_timesteps(num_timesteps: int, steps: int) -> list[int]:
    """`steps` timesteps spread evenly from the first to the last, rounded, ascending.

    The spacing of improved DDPM (Nichol & Dhariwal 2021) that the published samples were made with.
    """
    if steps == 1:
        return [0]
    stride = (num_timesteps - 1) / (steps - 1)
    return [round(number * stride) for number in range(steps)]


def at(values: Tensor, t: Tensor, like: Tensor) -> Tensor:
    """The coefficient of each clip's timestep, shaped (b, 1, …) to multiply `like`."""
    chosen = values.to(like.device)[t].to(like.dtype)
    return chosen.reshape(-1, *[1] * (like.ndim - 1))
