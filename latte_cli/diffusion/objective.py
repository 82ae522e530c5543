"""The training objective: L_simple + L_vlb with learned covariance (Latte, equations 1 and 2)."""

# Axes: b clips, f frames, c latent channels, h w latent size.

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor

from latte_cli.diffusion.bound import Gaussian, mean_of_clip, variational_bound
from latte_cli.diffusion.conversion import Output, as_velocity
from latte_cli.diffusion.schedule import Coefficients, FlowSchedule, NoiseSchedule
from latte_cli.runtime.errors import ConfigError

Model = Callable[..., Tensor]
Objective = Literal["eps", "v", "flow", "flow-map"]
TimestepSampling = Literal["uniform", "logit-normal"]


def noise_target(x_t: Coefficients) -> Coefficients:
    """The noise (DDPM, section 3.2)."""
    return Coefficients(x_start=torch.zeros_like(x_t.noise), noise=torch.ones_like(x_t.noise))


def v_target(x_t: Coefficients) -> Coefficients:
    """V = sqrt(a_t) noise - sqrt(1 - a_t) x_0 (Salimans & Ho 2022, section 4 and appendix D)."""
    return Coefficients(x_start=-x_t.noise, noise=x_t.x_start)


def velocity_target(x_t: Coefficients) -> Coefficients:
    """dx_s / ds = noise - x_0, constant along the straight path (Liu et al. 2022, equation 1)."""
    return Coefficients(x_start=-torch.ones_like(x_t.noise), noise=torch.ones_like(x_t.noise))


_TARGETS: dict[Objective, Callable[[Coefficients], Coefficients]] = {
    "eps": noise_target,
    "v": v_target,
    "flow": velocity_target,
    "flow-map": velocity_target,
}


# Mean and standard deviation of the logits of the two ends of a flow map's longer steps (Lee et al.
# 2025, "Decoupled MeanFlow", arXiv 2510.24474, section 4.1).
_MAP_LOGITS = ((0.4, 1.0), (-1.2, 1.0))


@dataclass(frozen=True)
class LossTerms:
    """Losses of each clip, (b,) float32: what is trained on, and its parts without weights."""

    total: Tensor
    mse: Tensor
    vlb: Tensor


class Diffusion:
    """The forward process, and what the network is trained to predict.

    Args:
        num_timesteps: steps of the forward process.
        beta_start: variance of the first step; flow has none.
        beta_end: variance of the last step; flow has none.
        objective: `eps`, the noise (the paper's), or `v`, both with a linear schedule and learned
            covariance; or `flow`, the velocity of a straight path, without covariance: the second
            half of the network's channels is not trained; or `flow-map`, the mean velocity of steps
            of any length, see `flow_map`.
        timestep_sampling: distribution of training timesteps: `uniform`, or `logit-normal`, for
            flow.
        timestep_mean: mean of the logit of a logit-normal time in [0, 1], where 1 is noise.
        timestep_std: its standard deviation.
        output: what a network predicts that was converted to flow or flow-map; None: the velocity.
        map_levels: noise levels between which a flow map steps, from 1 down; None: steps of any
            length.
    """

    def __init__(
        self,
        num_timesteps: int = 1000,
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        objective: Objective = "eps",
        timestep_sampling: TimestepSampling = "uniform",
        timestep_mean: float = 0.0,
        timestep_std: float = 1.0,
        output: Output | None = None,
        map_levels: Sequence[float] | None = None,
    ) -> None:
        self.num_timesteps = num_timesteps
        self.map_timesteps: list[int] | None = None
        if map_levels is not None:
            self.map_timesteps = [round(level * num_timesteps) - 1 for level in map_levels]
        self.objective = objective
        self._timestep_sampling = timestep_sampling
        self._logit = timestep_mean, timestep_std
        self._output = output
        self._schedule_of_output = (
            None if output is None else NoiseSchedule.linear(num_timesteps, beta_start, beta_end)
        )
        self.schedule: NoiseSchedule | FlowSchedule = (
            FlowSchedule.uniform(num_timesteps)
            if objective in ("flow", "flow-map")
            else NoiseSchedule.linear(num_timesteps, beta_start, beta_end)
        )

    @property
    def is_flow_map(self) -> bool:
        """Whether steps of any length are learned, so that each has an end."""
        return self.objective == "flow-map"

    def sample_times(self, index: int, generator: torch.Generator) -> tuple[int, int]:
        """Sample a training timestep, and the timestep that a flow map's step leads to.

        Logit-normal: s = sigmoid(mean + std * z) with z standard normal (Esser et al. 2024,
        equation 19, where time is that of the noise, too), and the timestep is the first whose
        noise level is at least s. Timesteps in the middle, where velocities are hardest to predict,
        are then more frequent.

        With `map_levels` it is one of the steps between them, each as likely.

        Args:
            index: of the clip in the batch: half of them train a flow map's longer steps.
            generator: of random numbers.

        Returns:
            Both the same, except for a flow map's longer steps.
        """
        if self.map_timesteps is not None:
            steps = self.map_steps
            return steps[int(torch.randint(len(steps), (), generator=generator))]
        # Half of the clips, and half of those of each process: processes take every n-th clip.
        if self.is_flow_map and index.bit_count() % 2:
            levels = [self._logit_normal(*logit, generator) for logit in _MAP_LOGITS]
            return max(levels), min(levels) - 1
        if self._timestep_sampling == "uniform":
            t = int(torch.randint(self.num_timesteps, (), generator=generator))
        else:
            t = self._logit_normal(*self._logit, generator)
        return t, t

    @property
    def map_steps(self) -> list[tuple[int, int]]:
        """Both ends of each step between `map_levels`, from noise down; -1 is clean."""
        assert self.map_timesteps is not None
        return [*pairwise([*self.map_timesteps, -1])]

    def next_steps(self, t: Tensor, turns: int) -> tuple[Tensor, Tensor]:
        """The steps between `map_levels` some turns on, after the last the first again.

        Args:
            t: timesteps that steps begin at, (b,) long.
            turns: 0 for the same steps.

        Returns:
            Timesteps that those steps begin at, and that they lead to, (b,) long.
        """
        steps = torch.tensor(self.map_steps, device=t.device)
        start, end = steps[(self.step_numbers(t) + turns) % len(steps)].unbind(1)
        return start, end

    def step_numbers(self, t: Tensor) -> Tensor:
        """Which of the steps between `map_levels` begin at timesteps, from 0; (b,) long."""
        starts = torch.tensor(self.map_timesteps, device=t.device)
        return (starts > t[:, None]).sum(1)

    def _logit_normal(self, mean: float, std: float, generator: torch.Generator) -> int:
        normal = torch.randn((), generator=generator, dtype=torch.float64)
        level = float(torch.sigmoid(mean + std * normal))
        return min(int(level * self.num_timesteps), self.num_timesteps - 1)

    def adapt(self, model: Model) -> Model:
        """A network as one that predicts the target: itself, unless it was converted."""
        if self._output is None or self._schedule_of_output is None:
            return model
        return as_velocity(model, self._output, self._schedule_of_output)

    def add_noise(self, x_start: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t of the forward process, (b, f, c, h, w)."""
        return self.schedule.coefficients(t, x_start).combine(x_start, noise)

    def target(self, x_start: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """What the network's first channels are trained to predict, (b, f, c, h, w)."""
        _, target = self._coefficients(t, x_start)
        return target.combine(x_start, noise)

    def predict_x_start(self, model_out: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The clean latents that follow from the network's output.

        Args:
            model_out: (b, f, c or more, h, w); only the first c channels are read.
            x_t: noisy latents, (b, f, c, h, w).
            t: timesteps, (b,) long.

        Returns:
            (b, f, c, h, w); for predicted noise it is DDPM's equation 15.
        """
        coefficients, target = self._coefficients(t, x_t)
        predicted = model_out[:, :, : x_t.shape[2]]
        # x_t and the prediction are two equations of x_start and noise: eliminate the noise.
        numerator = target.noise * x_t - coefficients.noise * predicted
        return numerator / _determinant(coefficients, target)

    def loss_weight(self, t: Tensor, snr_floor: float, min_snr_gamma: float | None) -> Tensor:
        """The weight of the squared error of the prediction, at each timestep.

        An error of the noise is an error of x_start weighted by the signal-to-noise ratio. Clamping
        that ratio balances nearly clean steps, where there is little to learn, with very noisy
        ones, which decide the layout of the clip. An upper bound alone is min-SNR weighting (Hang
        et al. 2023). Other objectives are weighted so that an error of x_start has the same weight.
        Without either bound the weight is 1 for every objective. For flow-map it is always 1: its
        losses are weighted by what they are expected to be.

        Args:
            t: timesteps, (b,) long.
            snr_floor: smallest weight of an error of x_start.
            min_snr_gamma: its largest weight; None for no upper bound.

        Returns:
            (b,) float32: clamped SNR over SNR for the noise, over SNR + 1 for v (as Hang et al.
            have it), times s^2 for the velocity.

        Raises:
            ConfigError: for flow with a floor of 0: pure noise, where sampling begins, has an SNR
                of 0 and would not be trained.
        """
        if self.is_flow_map or (snr_floor == 0 and min_snr_gamma is None):
            return torch.ones(len(t), device=t.device)
        if snr_floor == 0 and isinstance(self.schedule, FlowSchedule):
            raise ConfigError(
                "with snr_floor 0, flow is not trained on pure noise, where its sampling begins",
                hint="set train.snr_floor, for example to 0.1, or train.min_snr_gamma to null",
            )
        x_t, target = self._coefficients(t, t.double())
        snr = (x_t.x_start / x_t.noise).square()
        # A squared error of the prediction over the error of x_start that follows from it: the SNR
        # for eps, SNR + 1 for v, and 1 / s^2 for flow.
        error_ratio = (_determinant(x_t, target) / x_t.noise).square()
        return (snr.clamp(min=snr_floor, max=min_snr_gamma) / error_ratio).float()

    def losses(
        self,
        model: Model,
        x_start: Tensor,
        t: Tensor,
        noise: Tensor,
        *,
        target_shift: Tensor | None = None,
        **cond: Any,
    ) -> LossTerms:
        """The losses of each clip at its timestep.

        Args:
            model: model(x_t, t, **cond) -> (b, f, 2c, h, w): prediction, covariance; or the
                prediction alone, (b, f, c, h, w).
            x_start: clean latents, (b, f, c, h, w) float.
            t: timesteps, (b,) long in [0, num_timesteps).
            noise: standard normal, shaped as x_start.
            target_shift: added to the target, shaped as x_start.
            **cond: passed to the model.

        Returns:
            Mean squared error of the prediction, and the variational bound in bits a dimension,
            whose gradient reaches the covariance only (improved DDPM, section 3.1); zero for flow,
            and without a covariance.
        """
        x_t = self.add_noise(x_start, t, noise)
        out = self.adapt(model)(x_t, t, **cond).float()
        predicted, covariance = out.tensor_split([x_start.shape[2]], dim=2)
        target = self.target(x_start, t, noise)
        if target_shift is not None:
            target = target + target_shift
        mse = mean_of_clip((target - predicted).square())
        if not isinstance(self.schedule, NoiseSchedule) or not covariance.numel():
            return LossTerms(total=mse, mse=mse, vlb=torch.zeros_like(mse))
        frozen = torch.cat([predicted.detach(), covariance], dim=2)
        reverse = self.reverse_step(frozen, x_t, t)
        vlb = variational_bound(self.schedule, reverse, x_start, x_t, t)
        return LossTerms(total=mse + vlb, mse=mse, vlb=vlb)

    def reverse_step(self, model_out: Tensor, x_t: Tensor, t: Tensor) -> Gaussian:
        """p(x_{t-1} | x_t): the posterior, given the x_0 that the network predicts.

        Args:
            model_out: (b, f, 2c, h, w), prediction, then an interpolation coefficient in [-1, 1].
            x_t: noisy latents, (b, f, c, h, w).
            t: timesteps, (b,) long.

        Returns:
            Mean (DDPM, equation 7) and log variance (improved DDPM, equation 15).
        """
        assert isinstance(self.schedule, NoiseSchedule), "flow has no covariance"
        covariance = model_out.chunk(2, dim=2)[1]
        x_start = self.predict_x_start(model_out, x_t, t)
        mean = self.schedule.posterior_mean(x_start, x_t, t)
        return Gaussian(mean, self.schedule.reverse_log_variance(covariance, t), x_start)

    def _coefficients(self, t: Tensor, like: Tensor) -> tuple[Coefficients, Coefficients]:
        """Those of x_t and of the target, in `like`'s dtype and number of axes."""
        x_t = self.schedule.coefficients(t, like)
        return x_t, _TARGETS[self.objective](x_t)


def _determinant(x_t: Coefficients, target: Coefficients) -> Tensor:
    return target.noise * x_t.x_start - target.x_start * x_t.noise
