"""Calibration: schedules compared with brute force, and the recordings they are based on."""

from itertools import combinations, product

import numpy as np
import pytest
import torch
from helpers.caching_networks import DEPTH, NOISE, STEPS, class_network, conditioning, text_network

from latte_cli.caching import cached, calibrate
from latte_cli.caching.calibration import Recording, step_sensitivities
from latte_cli.caching.schedule_search import (
    allocate_steps,
    best_schedules,
    find_schedule,
    skip_costs,
)
from latte_cli.diffusion import Diffusion, build_sampler, denoise, guided
from latte_cli.runtime.errors import ConfigError

SAMPLERS = ("ddpm", "ddim", "dpm++", "unipc", "euler")


def random_residuals(seed, steps=7, size=5):
    """A block's residuals at each step: a random walk."""
    return np.random.default_rng(seed).normal(size=(steps, size)).cumsum(axis=0)


def schedule_cost(residuals, weights, computed, resets=(0,)):
    """A schedule's cost, step by step, as `Residual` extrapolates."""
    total, computed_before = 0.0, []
    for step, change in enumerate(residuals):
        if step in computed:
            computed_before = (
                [(step, change)] if step in resets else [*computed_before[-1:], (step, change)]
            )
            continue
        last, expected = computed_before[-1]
        if len(computed_before) == 2:
            slope = (expected - computed_before[0][1]) / (last - computed_before[0][0])
            expected = expected + slope * (step - last)
        total += weights[step] * np.mean((change - expected) ** 2)
    return total


def schedules(steps, count):
    """All schedules of `count` computed steps, the first among them."""
    return [frozenset({0, *rest}) for rest in combinations(range(1, steps), count - 1)]


@pytest.mark.parametrize("seed", range(4))
def test_best_schedules_of_a_pair_match_brute_force(seed):
    residuals, weights = random_residuals(seed), np.random.default_rng(seed).uniform(0.1, 3, 7)
    costs = skip_costs(residuals @ residuals.T / residuals.shape[1], weights)
    least, found = best_schedules(costs)
    for count in range(1, 8):
        expected = min(schedules(7, count), key=lambda c: schedule_cost(residuals, weights, c))
        assert least[count] == pytest.approx(schedule_cost(residuals, weights, expected), abs=1e-9)
        assert schedule_cost(residuals, weights, found[count]) == pytest.approx(
            least[count], abs=1e-9
        )
        assert len(found[count]) == count
    assert np.isinf(least[0])


def test_steps_are_allocated_to_pairs_for_the_least_total_cost():
    """By brute force over all schedules of two pairs; the second changes five times as much."""
    pairs, weights = [random_residuals(1), 5 * random_residuals(2)], np.linspace(2, 1, 7)
    grams = [each @ each.T / each.shape[1] for each in pairs]
    both = [s for count in range(1, 8) for s in schedules(7, count)]
    affordable = [(a, b) for a, b in product(both, both) if len(a) + len(b) <= 7]
    expected = min(sum(map(schedule_cost, pairs, [weights] * 2, c)) for c in affordable)
    found = find_schedule(grams, weights, 2).computed
    assert sum(map(len, found)) <= 7
    assert sum(map(schedule_cost, pairs, [weights] * 2, found)) == pytest.approx(expected)
    assert len(found[1]) > len(found[0])


@pytest.mark.parametrize("resets", [(0, 3), (0, 1, 5)])
def test_steps_at_resets_are_computed_and_the_total_cost_is_least(resets):
    """By brute force over all schedules of two pairs that compute those steps."""
    pairs, weights = [random_residuals(3), 3 * random_residuals(4)], np.linspace(2, 1, 7)
    grams = [each @ each.T / each.shape[1] for each in pairs]
    both = [s for n in range(1, 8) for s in schedules(7, n) if s >= {*resets}]
    affordable = [(a, b) for a, b in product(both, both) if len(a) + len(b) <= 7]

    def cost(computed):
        return sum(map(schedule_cost, pairs, [weights] * 2, computed, [resets] * 2))

    found = find_schedule(grams, weights, 2, resets).computed
    assert sum(map(len, found)) <= 7
    assert all(steps >= {*resets} for steps in found)
    assert cost(found) == pytest.approx(min(map(cost, affordable)))


def test_a_speed_that_leaves_too_few_steps_raises_with_one_that_works():
    grams = [np.eye(20)] * 3
    with pytest.raises(ConfigError, match="7x leaves too few steps to compute") as error:
        find_schedule(grams, np.ones(20), 7, (0, 6, 14))
    assert "guidance begins or ends" in str(error.value)
    assert "up to 6.6x" in error.value.hint
    assert sum(map(len, find_schedule(grams, np.ones(20), 6.6, (0, 6, 14)).computed)) == 9


def test_allocation_uses_the_budget_up_to_all_steps():
    least = [np.array([np.inf, 9.0, 3.0, 0.0]), np.array([np.inf, 1.0, 0.9, 0.0])]
    assert allocate_steps(least, 4) == [3, 1]
    assert allocate_steps(least, 3) == [2, 1]
    assert allocate_steps(least, 9) == [3, 3]


@pytest.mark.parametrize("name", SAMPLERS)
def test_sensitivity_is_how_far_an_error_at_a_step_moves_the_clip(name):
    """An error of one at a step of a constant network moves the clip by its sensitivity."""
    sampler = build_sampler(name, Diffusion(), 8)
    sensitivities = step_sensitivities(sampler)

    def end(wrong):
        calls = iter(range(8))

        def network(x, t):
            out = torch.full((1, 1, 2, 1, 1), 0.3)
            out[:, :, 1:] = 0
            out[:, :, :1] += next(calls) == wrong
            return out

        generators = [torch.Generator().manual_seed(3)]
        return denoise(network, torch.full((1, 1, 1, 1, 1), 0.7), sampler, generators).item()

    moved = [abs(end(step) - end(None)) for step in range(8)]
    assert moved == pytest.approx(sensitivities.tolist(), rel=1e-2, abs=1e-3)


def test_with_a_guidance_interval_the_half_of_the_batch_that_is_always_there_is_recorded():
    model, recording = class_network(), Recording()
    sampler = build_sampler("ddim", Diffusion(), STEPS)
    network = guided(model, *conditioning(model), 3.0, timesteps=range(500, 1000))
    with cached(model, recording):
        denoise(network, NOISE, sampler, [])
    assert recording.resets() == (0, STEPS // 2)
    grams = recording.grams()
    assert [each.shape for each in grams] == [(STEPS, STEPS)] * (DEPTH // 2)
    for each in grams:
        assert np.linalg.eigvalsh(each).min() > -1e-6
        assert each.sum() == pytest.approx(0, abs=1e-6), "residuals are centered"


@pytest.mark.parametrize("guided_at", [None, range(300, 700), range(500, 1000)])
@pytest.mark.parametrize("make", [class_network, text_network])
def test_calibration_reaches_the_speed_and_counts_what_was_computed(make, guided_at):
    model = make()
    sampler = build_sampler("ddim", Diffusion(), 12)
    clips = torch.cat([NOISE, -NOISE])

    def generate():
        network = guided(model, *conditioning(model, 2), 2.0, timesteps=guided_at)
        latents = denoise(network, clips, sampler, [])
        return [(each / 50 + 0.5).clamp(0, 1).mul(255).to(torch.uint8).numpy() for each in latents]

    (found,) = calibrate(model, sampler, [2.0], generate)
    assert found.tally.fewer_blocks >= 2
    assert found.tally.blocks_total == 12 * DEPTH
    with cached(model, found.schedule) as tally:
        generate()
    assert tally == found.tally
    with pytest.raises(ConfigError, match="13x cannot be reached in 12 steps"):
        list(calibrate(model, sampler, [13.0], generate))
