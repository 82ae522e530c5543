"""Networks with known answers, for each objective, from the papers' formulas alone."""

# Axes: b clips, f frames, c latent channels, h w latent size.

from collections.abc import Callable

import torch
from torch import Tensor

from latte_cli.diffusion import Diffusion

OBJECTIVES = ("eps", "v", "flow")
NAMES = ("ddpm", "ddim", "dpm++", "unipc", "euler")
SAMPLERS = [(o, name) for o in OBJECTIVES for name in NAMES if (o, name) != ("flow", "ddpm")]
ALPHAS_CUMPROD = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)

Model = Callable[[Tensor, Tensor], Tensor]


def levels(objective: str, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """The weights of the clean clip and of the noise at a timestep, to multiply `like`."""
    if objective == "flow":
        noise = (t + 1).double() / 1000
        signal = 1 - noise
    else:
        signal, noise = ALPHAS_CUMPROD[t].sqrt(), (1 - ALPHAS_CUMPROD[t]).sqrt()
    shape = (-1, *[1] * (like.ndim - 1))
    return signal.to(like.dtype).reshape(shape), noise.to(like.dtype).reshape(shape)


def prediction(objective: str, x_start: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """What the network should predict for this clip and this noise."""
    if objective == "eps":
        return noise
    if objective == "flow":
        return noise - x_start
    signal, sigma = levels(objective, t, x_start)
    return signal * noise - sigma * x_start


def network_for(objective: str, estimate: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Model:
    """A network whose estimate of x_start is a function of x, signal and sigma."""

    def model(x: Tensor, t: Tensor) -> Tensor:
        signal, sigma = levels(objective, t, x)
        x_start = estimate(x, signal, sigma)
        predicted = prediction(objective, x_start, (x - signal * x_start) / sigma, t)
        return torch.cat([predicted, torch.zeros_like(predicted)], dim=2)

    return model


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal values."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def generators(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in range(count)]


def diffusion(objective: str) -> Diffusion:
    return Diffusion(objective=objective)


def exact_x_start(mean: float, deviation: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """E[x_0 | x] if x_0 is normally distributed."""

    def estimate(x: Tensor, signal: Tensor, sigma: Tensor) -> Tensor:
        gain = signal * deviation**2 / (signal**2 * deviation**2 + sigma**2)
        return mean + gain * (x - signal * mean)

    return estimate
