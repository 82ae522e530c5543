"""What a network is trained to say of a noisy clip: a mixture of its noise and the clean clip.

The noisy clip is another mixture of the two, and two mixtures tell both parts. That is all that the
objectives differ in, beside the path from a clip to its noise.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from latte_cli.diffusion.schedule import Mixture

Objective = Literal["eps", "v", "flow"]


def noise_target(x_t: Mixture) -> Mixture:
    """The noise (DDPM, section 3.2)."""
    return Mixture(x_start=torch.zeros_like(x_t.noise), noise=torch.ones_like(x_t.noise))


def v_target(x_t: Mixture) -> Mixture:
    """V = sqrt(a_t) noise - sqrt(1 - a_t) x_0 (Salimans & Ho 2022, section 4 and appendix D)."""
    return Mixture(x_start=-x_t.noise, noise=x_t.x_start)


def velocity_target(x_t: Mixture) -> Mixture:
    """dx_s / ds = noise - x_0, the same all along a straight path (Liu et al. 2022, equation 1)."""
    return Mixture(x_start=-torch.ones_like(x_t.noise), noise=torch.ones_like(x_t.noise))


TARGETS: dict[Objective, Callable[[Mixture], Mixture]] = {
    "eps": noise_target,
    "v": v_target,
    "flow": velocity_target,
}


def solve_x_start(x_t: Mixture, target: Mixture, noisy: Tensor, predicted: Tensor) -> Tensor:
    """The clean clip in a noisy one and a prediction: two equations, the noise eliminated.

    Args:
        x_t: what the noisy clip is made of.
        target: what the prediction is made of.
        noisy: (b, f, c, h, w).
        predicted: (b, f, c, h, w).

    Returns:
        (b, f, c, h, w).
    """
    return (target.noise * noisy - x_t.noise * predicted) / _determinant(x_t, target)


def error_ratio(x_t: Mixture, target: Mixture) -> Tensor:
    """A squared error of the prediction over that of x_start which comes of it.

    The signal-to-noise ratio for the noise, one more for v, and 1 / s^2 for the velocity.
    """
    return (_determinant(x_t, target) / x_t.noise).square()


def _determinant(x_t: Mixture, target: Mixture) -> Tensor:
    return target.noise * x_t.x_start - target.x_start * x_t.noise
