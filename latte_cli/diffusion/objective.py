"""The training objective: L_simple + L_vlb with learned covariance (Latte, equations 1 and 2)."""

# Axes: b clips, f frames, c latent channels, h w latent size.

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latte_cli.diffusion.bound import Gaussian, mean_of_clip, variational_bound
from latte_cli.diffusion.flow import StraightPath
from latte_cli.diffusion.schedule import Mixture, NoiseSchedule
from latte_cli.diffusion.targets import TARGETS, Objective, error_ratio, solve_x_start
from latte_cli.runtime.errors import ConfigError

Model = Callable[..., Tensor]


@dataclass(frozen=True)
class LossTerms:
    """Losses of each clip, (b,) float32: total = mse + vlb."""

    total: Tensor
    mse: Tensor
    vlb: Tensor


class Diffusion:
    """The way from a clip to its noise, and what a network is to say of a place on it.

    Args:
        num_timesteps: steps of the forward process.
        beta_start: variance of the first step; flow has none.
        beta_end: variance of the last step; flow has none.
        objective: `eps`, the noise (the paper's), and `v` of a linear schedule, with a learned
            covariance; or `flow`, the velocity of a straight path, of which there is no covariance
            to learn: the second half of the network's channels is left alone.
    """

    def __init__(
        self,
        num_timesteps: int = 1000,
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        objective: Objective = "eps",
    ) -> None:
        self.num_timesteps = num_timesteps
        self.objective = objective
        self.schedule: NoiseSchedule | StraightPath = (
            StraightPath.even(num_timesteps)
            if objective == "flow"
            else NoiseSchedule.linear(num_timesteps, beta_start, beta_end)
        )

    def add_noise(self, x_start: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t of the forward process, (b, f, c, h, w): clean latents and noise, mixed."""
        x_t, _ = self._mixtures(t, x_start)
        return x_t.of(x_start, noise)

    def target(self, x_start: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """What a perfect network's first channels say, (b, f, c, h, w)."""
        _, target = self._mixtures(t, x_start)
        return target.of(x_start, noise)

    def predict_x_start(self, model_out: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The clean latents that the network's output amounts to.

        Args:
            model_out: (b, f, 2c, h, w), of which the second half of the channels is not read.
            x_t: noisy latents, (b, f, c, h, w).
            t: timesteps, (b,) long.

        Returns:
            (b, f, c, h, w); of the noise it is DDPM's equation 15.
        """
        return solve_x_start(*self._mixtures(t, x_t), x_t, model_out.chunk(2, dim=2)[0])

    def noise_loss_weight(self, t: Tensor, snr_floor: float, min_snr_gamma: float | None) -> Tensor:
        """What to multiply the squared error of the prediction by, at each timestep.

        An error of the noise is one of x_start weighted by the signal-to-noise ratio. Clamping that
        ratio keeps nearly clean steps, where there is little to learn, and very noisy ones, where
        the layout of the clip is decided, from drowning each other. A ceiling alone is min-SNR
        weighting (Hang et al. 2023). Other predictions are weighted so that an error of x_start
        counts as much as it does there; with neither bound, each objective's own loss is plain.

        Args:
            t: timesteps, (b,) long.
            snr_floor: least weight of an error of x_start.
            min_snr_gamma: largest weight of it; None for none.

        Returns:
            (b,) float32: clamped SNR over SNR for the noise, over SNR + 1 for v (as Hang et al.
            have it), times s^2 for the velocity.

        Raises:
            ConfigError: for flow without a floor: pure noise, where its sampling begins, has an SNR
                of 0 and would never be learnt from.
        """
        if snr_floor == 0 and min_snr_gamma is None:
            return torch.ones(len(t), device=t.device)
        if snr_floor == 0 and self.objective == "flow":
            raise ConfigError(
                "snr_floor is 0, which leaves pure noise, where flow's sampling begins, unlearnt",
                hint="give train.snr_floor, 0.1 say, or set train.min_snr_gamma to null",
            )
        x_t, target = self._mixtures(t, t.double())
        ratio = (x_t.x_start / x_t.noise).square()
        weight = ratio.clamp(min=snr_floor, max=min_snr_gamma) / error_ratio(x_t, target)
        return weight.float()

    def losses(
        self, model: Model, x_start: Tensor, t: Tensor, noise: Tensor, **cond: Any
    ) -> LossTerms:
        """The losses of each clip at its timestep.

        Args:
            model: called as model(x_t, t, **cond), gives (b, f, 2c, h, w): prediction, covariance.
            x_start: clean latents, (b, f, c, h, w) float.
            t: timesteps, (b,) long in [0, num_timesteps).
            noise: standard normal, shaped as x_start.
            **cond: passed on to the model.

        Returns:
            Mean squared error of the prediction, and the variational bound in bits a dimension,
            whose gradient reaches the covariance only (improved DDPM, section 3.1); zero for flow.
        """
        x_t = self.add_noise(x_start, t, noise)
        predicted, covariance = model(x_t, t, **cond).float().chunk(2, dim=2)
        mse = mean_of_clip((self.target(x_start, t, noise) - predicted).square())
        if not isinstance(self.schedule, NoiseSchedule):
            return LossTerms(total=mse, mse=mse, vlb=torch.zeros_like(mse))
        frozen = torch.cat([predicted.detach(), covariance], dim=2)
        reverse = self.reverse_step(frozen, x_t, t)
        vlb = variational_bound(self.schedule, reverse, x_start, x_t, t)
        return LossTerms(total=mse + vlb, mse=mse, vlb=vlb)

    def reverse_step(self, model_out: Tensor, x_t: Tensor, t: Tensor) -> Gaussian:
        """p(x_{t-1} | x_t): the posterior, given the x_0 that the network's output amounts to.

        Args:
            model_out: (b, f, 2c, h, w), prediction, then an interpolation coefficient in [-1, 1].
            x_t: noisy latents, (b, f, c, h, w).
            t: timesteps, (b,) long.

        Returns:
            Mean (DDPM, equation 7) and log variance (improved DDPM, equation 15).
        """
        assert isinstance(self.schedule, NoiseSchedule), "a straight path has no spread to predict"
        covariance = model_out.chunk(2, dim=2)[1]
        x_start = self.predict_x_start(model_out, x_t, t)
        mean = self.schedule.posterior_mean(x_start, x_t, t)
        return Gaussian(mean, self.schedule.reverse_log_variance(covariance, t), x_start)

    def _mixtures(self, t: Tensor, like: Tensor) -> tuple[Mixture, Mixture]:
        """What x_t and the target are made of, in `like`'s dtype and number of axes."""
        x_t = self.schedule.noisy(t, like)
        return x_t, TARGETS[self.objective](x_t)
