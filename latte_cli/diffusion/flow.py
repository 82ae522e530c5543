"""The straight path from a clip to its noise (rectified flow, Liu et al. 2022, section 2.1)."""

# Axes: b clips, f frames, c latent channels, h w latent size.

from dataclasses import dataclass

import torch
from torch import Tensor

from latte_cli.diffusion.schedule import Mixture, at


@dataclass(frozen=True)
class StraightPath:
    """x_s = (1 - s) x_0 + s noise at evenly spaced s.

    Timestep t stands for s = (t + 1) / num_timesteps: the last one is noise and nothing else, so
    that sampling begins where the network was trained; and one step before the first, where it ends
    and the network is never asked, is the clip itself.

    Attributes:
        levels: s of each timestep, (num_timesteps,) float64, ascending to 1.
    """

    levels: Tensor

    @classmethod
    def even(cls, num_timesteps: int) -> "StraightPath":
        """From 1 / num_timesteps to 1."""
        return cls(torch.arange(1, num_timesteps + 1, dtype=torch.float64) / num_timesteps)

    def noisy(self, t: Tensor, like: Tensor) -> Mixture:
        """What x_s is made of (Lipman et al. 2022, equation 22, where time runs the other way).

        Args:
            t: timesteps, (b,) long.
            like: of the wanted dtype, device and number of axes.
        """
        return Mixture(x_start=at(1 - self.levels, t, like), noise=at(self.levels, t, like))
