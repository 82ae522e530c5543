"""All samplers: convergence to known targets, at their order; independence of clips."""

from itertools import pairwise
from math import log2

import pytest
import torch
from helpers.predictors import (
    OBJECTIVES,
    SAMPLERS,
    diffusion,
    exact_x_start,
    generators,
    levels,
    network_for,
    normal,
)

from latte_cli.diffusion import build_sampler, denoise

ORDERS = {"ddim": 1, "euler": 1, "dpm++": 2, "unipc": 2}


@pytest.mark.parametrize(("objective", "name"), SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 10, 250, 1000])
def test_samples_of_an_oracle_are_its_answer(objective, name, steps):
    answer, timesteps_seen = normal(2, 1, 4, 2, 2), []
    oracle = network_for(objective, lambda x, signal, sigma: answer)
    sampler = build_sampler(name, diffusion(objective), steps)

    def counted(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        timesteps_seen.append(int(t[0]))
        return oracle(x, t)

    sample = denoise(counted, normal(*answer.shape, seed=1), sampler, generators(2))
    assert torch.allclose(sample, answer, atol=1e-3)
    assert len(set(timesteps_seen)) == steps, "one evaluation per step"
    assert timesteps_seen == sorted(timesteps_seen, reverse=True)
    assert timesteps_seen[0] == 999, "only the last timestep is pure noise"


@pytest.mark.parametrize(("objective", "name"), SAMPLERS)
def test_an_exact_network_samples_the_data_distribution(objective, name):
    """Numbers of one normal distribution, of which E[x_0 | x_t] is known exactly."""
    sampler = build_sampler(name, diffusion(objective), 250)
    model = network_for(objective, exact_x_start(0.5, 0.3))
    sample = denoise(model, normal(2, 4, 4, 32, 32, seed=1), sampler, generators(2))
    assert sample.mean().item() == pytest.approx(0.5, abs=0.01)
    assert sample.std().item() == pytest.approx(0.3, rel=0.03)


def error(objective: str, name: str, steps: int) -> float:
    """Distance of a sample from the exact solution of the probability flow ODE.

    The marginals of a normal distribution are normal, and a number keeps its quantile. The last
    step, to the belief about the clip, is every sampler's, and so is no part of the error.
    """
    mean, deviation = 0.5, 2.0
    sampler = build_sampler(name, diffusion(objective), steps)
    estimate, noise = exact_x_start(mean, deviation), normal(1, 1, 4, 4, 4)
    sample = denoise(network_for(objective, estimate), noise, sampler, generators(1))

    visited = torch.tensor([sampler.timesteps[-1], sampler.timesteps[0]])
    signal, sigma = levels(objective, visited, visited.double())
    width = (signal**2 * deviation**2 + sigma**2).sqrt()
    quantile = (noise.double() - signal[0] * mean) / width[0]
    end = estimate(signal[1] * mean + width[1] * quantile, signal[1], sigma[1])
    return (sample - end).abs().max().item()


@pytest.mark.parametrize(("objective", "name"), [case for case in SAMPLERS if case[1] in ORDERS])
def test_doubling_the_steps_divides_the_error_by_two_to_the_order(objective, name):
    errors = [error(objective, name, steps) for steps in (40, 80, 160)]
    for few, many in pairwise(errors):
        assert log2(few / many) > ORDERS[name] - 0.5, errors


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("steps", [10, 20, 50])
def test_second_order_solvers_are_more_accurate_than_first_order(objective, steps):
    first, dpm, unipc = (error(objective, name, steps) for name in ("euler", "dpm++", "unipc"))
    assert max(dpm, unipc) < first / 3


@pytest.mark.parametrize(("objective", "name"), SAMPLERS)
@pytest.mark.parametrize("steps", [1, 5])
def test_a_clip_depends_only_on_its_own_noise_and_generator(objective, name, steps):
    sampler = build_sampler(name, diffusion(objective), steps)
    model = network_for(objective, lambda x, signal, sigma: torch.tanh(x))

    def run(seeds: list[int]) -> torch.Tensor:
        noise = torch.cat([normal(1, 2, 4, 4, 4, seed=seed) for seed in seeds])
        return denoise(model, noise, sampler, [torch.Generator().manual_seed(s) for s in seeds])

    torch.testing.assert_close(run([3, 4, 5])[1], run([4])[0], rtol=1e-6, atol=1e-6)
    assert not torch.allclose(run([3])[0], run([4])[0], atol=0.1)


@pytest.mark.parametrize(("objective", "name"), SAMPLERS)
def test_a_sampler_can_be_reused(objective, name):
    sampler, noise = build_sampler(name, diffusion(objective), 5), normal(2, 1, 4, 4, 4)
    model = network_for(objective, lambda x, signal, sigma: torch.tanh(x))
    first, again = (denoise(model, noise, sampler, generators(2)) for _ in range(2))
    assert torch.equal(first, again)
