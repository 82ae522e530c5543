"""The schedules that clips are noised by: that of DDPM, and the straight path of rectified flow."""

# Axes: b clips, f frames, c latent channels, h w latent size.

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Coefficients:
    """A linear combination of clean latents and noise, such as x_t or the network's target.

    Attributes:
        x_start: coefficient of the clean latents, (b, 1, …).
        noise: coefficient of the noise, (b, 1, …).
    """

    x_start: Tensor
    noise: Tensor

    def combine(self, x_start: Tensor, noise: Tensor) -> Tensor:
        """The weighted sum, (b, f, c, h, w) as both of its terms."""
        return self.x_start * x_start + self.noise * noise


@dataclass(frozen=True)
class NoiseSchedule:
    """DDPM's schedule and posterior by timestep, each (num_timesteps,) float64 (Ho et al. 2020).

    Attributes:
        betas: variance added at each step.
        alphas_cumprod: fraction of the clean signal's variance that remains, equation 4.
        posterior_variance: variance of q(x_{t-1} | x_t, x_0), equation 7; zero at t = 0.
        posterior_log_variance: its logarithm; at t = 0, where it is infinite, its value at t = 1.
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
        """The schedule with these betas, (num_timesteps,) float64."""
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

    def coefficients(self, t: Tensor, like: Tensor) -> Coefficients:
        """Those of x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise (DDPM, equation 4).

        Args:
            t: timesteps, (b,) long.
            like: a tensor of the dtype, device and number of axes that is wanted.
        """
        signal, noise = self.alphas_cumprod.sqrt(), (1 - self.alphas_cumprod).sqrt()
        return Coefficients(extract(signal, t, like), extract(noise, t, like))

    def posterior_mean(self, x_start: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The mean of q(x_{t-1} | x_t, x_0), (b, f, c, h, w) (DDPM, equation 7)."""
        weight = extract(self.posterior_mean_x_start, t, x_t)
        weight_t = extract(self.posterior_mean_x_t, t, x_t)
        return weight * x_start + weight_t * x_t

    def reverse_log_variance(self, covariance: Tensor, t: Tensor) -> Tensor:
        """Interpolate between the logs of posterior variance and beta (improved DDPM, equation 15).

        Args:
            covariance: the network's coefficient, from -1 to 1, (b, f, c, h, w).
            t: timesteps, (b,) long.
        """
        upper = extract(self.betas.log(), t, covariance)
        lower = extract(self.posterior_log_variance, t, covariance)
        fraction = (covariance + 1) / 2
        return fraction * upper + (1 - fraction) * lower

    def respaced(self, timesteps: list[int]) -> "NoiseSchedule":
        """The schedule that visits only these timesteps, ascending (improved DDPM, section 4)."""
        kept = self.alphas_cumprod[timesteps]
        previous = torch.cat([kept.new_ones(1), kept[:-1]])
        return type(self).from_betas(1 - kept / previous)


@dataclass(frozen=True)
class FlowSchedule:
    """Rectified flow's straight path x_s = (1 - s) x_0 + s noise (Liu et al. 2022, section 2.1).

    Timestep t stands for s = (t + 1) / num_timesteps, so the last timestep is pure noise: sampling
    begins where the network was trained. One step before the first is the clip itself, where
    sampling ends and the network is not evaluated.

    Attributes:
        sigmas: s of each timestep, (num_timesteps,) float64, ascending to 1.
    """

    sigmas: Tensor

    @classmethod
    def uniform(cls, num_timesteps: int) -> "FlowSchedule":
        """From 1 / num_timesteps to 1, evenly spaced."""
        return cls(torch.arange(1, num_timesteps + 1, dtype=torch.float64) / num_timesteps)

    def coefficients(self, t: Tensor, like: Tensor) -> Coefficients:
        """Those of x_s (Lipman et al. 2022, equation 22, with time reversed).

        Args:
            t: timesteps, (b,) long.
            like: a tensor of the dtype, device and number of axes that is wanted.
        """
        return Coefficients(extract(1 - self.sigmas, t, like), extract(self.sigmas, t, like))

    def noise_levels(self, t: Tensor, like: Tensor) -> Tensor:
        """S of each timestep, -1 included, where it is 0; shaped (b, 1, …) to multiply `like`."""
        return extract(torch.cat([self.sigmas.new_zeros(1), self.sigmas]), t + 1, like)


def respaced_timesteps(num_timesteps: int, steps: int) -> list[int]:
    """`steps` timesteps spread evenly from the first to the last, rounded, ascending.

    The spacing of improved DDPM (Nichol & Dhariwal 2021), as in the published samples. A single
    step is the last timestep, unlike there: the first has almost no noise.
    """
    if steps == 1:
        return [num_timesteps - 1]
    stride = (num_timesteps - 1) / (steps - 1)
    return [round(number * stride) for number in range(steps)]


def trailing_timesteps(num_timesteps: int, steps: int) -> list[int]:
    """The ends of `steps` equal parts of all timesteps, ascending; the last one is included.

    All steps are equally long, including the final one to the clip ("trailing" in Lin et al. 2024,
    table 2).
    """
    return [round(num_timesteps * part / steps) - 1 for part in range(1, steps + 1)]


def extract(values: Tensor, t: Tensor, like: Tensor) -> Tensor:
    """Values at each clip's timestep, shaped (b, 1, …) to multiply `like`."""
    chosen = values.to(like.device)[t].to(like.dtype)
    return chosen.reshape(-1, *[1] * (like.ndim - 1))
