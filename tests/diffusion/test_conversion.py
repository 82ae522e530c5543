"""Networks for noise and v as networks for the velocity: exact for data whose flow is known."""

import pytest
import torch
from helpers.predictors import network_for

from latte_cli.diffusion import Diffusion, build_sampler, denoise

CENTER = 0.7


def center(x, signal, sigma):
    """The estimate for data of a single point."""
    return torch.full_like(x, CENTER)


def gaussian(x, signal, sigma):
    """E[x_0 | x_t] for data from a standard normal, in which signal^2 + sigma^2 need not be 1."""
    return x * signal / (signal**2 + sigma**2)


@pytest.mark.parametrize("output", ["eps", "v"])
@pytest.mark.parametrize("estimate", [center, gaussian])
def test_the_velocity_is_that_of_a_flow_network(output, estimate):
    """At any time: the reference networks know whole timesteps, so a continuous one is given."""
    converted = Diffusion(objective="flow", output=output)
    x = torch.randn(5, 2, 4, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    t = torch.tensor([40, 200, 500, 800, 990])
    velocity = converted.adapt(_continuous(output, estimate))(x, t)
    expected = network_for("flow", estimate)(x, t)[:, :, :4]
    assert (velocity - expected).abs().max() < 1e-5


def _continuous(output, estimate):
    """A network for VP data that is exact at every real timestep, by its ratio's interpolation."""
    alphas = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    logs = ((1 - alphas) / alphas).log() / 2

    def model(x, t):
        below = t.double().floor().long().clamp(0, 998)
        log = logs[below] + (t.double() - below) * (logs[below + 1] - logs[below])
        ratio = log.exp().reshape(-1, 1, 1, 1, 1)
        signal = (1 + ratio**2).rsqrt()
        sigma = ratio * signal
        x_start = estimate(x, signal, sigma)
        noise = (x - signal * x_start) / sigma
        return noise if output == "eps" else signal * noise - sigma * x_start

    return model


@pytest.mark.parametrize("output", ["eps", "v"])
def test_sampling_a_converted_network_reaches_the_data(output):
    diffusion = Diffusion(objective="flow", output=output)
    noise = torch.randn(1, 2, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    sampler = build_sampler("euler", diffusion, 100)
    clips = denoise(diffusion.adapt(_continuous(output, center)), noise, sampler, [])
    assert (clips - CENTER).abs().max() < 0.05


def test_ends_are_converted_as_times_are():
    seen = {}

    def model(x, t, end):
        seen.update(t=t, end=end)
        return x

    diffusion = Diffusion(objective="flow-map", output="eps")
    t = torch.tensor([500, 999, 300])
    diffusion.adapt(model)(torch.zeros(3, 1, 4, 2, 2), t, end=torch.tensor([500, 20, -1]))
    assert seen["t"][0] == seen["end"][0]
    assert seen["t"][1] == 999
    assert seen["end"][2] == 0
