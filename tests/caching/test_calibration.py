"""Calibration: the best plan by brute force, and what it is planned from."""

from itertools import combinations, product

import numpy as np
import pytest
import torch
from helpers.caching_networks import DEPTH, NOISE, STEPS, class_network, text_network, told

from latte_cli.caching import cached, calibrate
from latte_cli.caching.calibrating import plan
from latte_cli.caching.planning import best_steps, segment_costs, share_out
from latte_cli.caching.recording import Recording, step_gains
from latte_cli.diffusion import Diffusion, build_sampler, denoise, guided
from latte_cli.runtime.errors import ConfigError

SAMPLERS = ("ddpm", "ddim", "dpm++", "unipc", "euler")


def changes(seed, steps=7, size=5):
    """What a block adds at each step, made up."""
    return np.random.default_rng(seed).normal(size=(steps, size)).cumsum(axis=0)


def cost_of(made_up, weights, computed, starts=(0,)):
    """What a schedule costs, step by step, as `Residual` does it."""
    total, known = 0.0, []
    for step, change in enumerate(made_up):
        if step in computed:
            known = [(step, change)] if step in starts else [*known[-1:], (step, change)]
            continue
        last, expected = known[-1]
        if len(known) == 2:
            slope = (expected - known[0][1]) / (last - known[0][0])
            expected = expected + slope * (step - last)
        total += weights[step] * np.mean((change - expected) ** 2)
    return total


def schedules(steps, count):
    """All that compute so many of the steps, the first among them."""
    return [frozenset({0, *rest}) for rest in combinations(range(1, steps), count - 1)]


@pytest.mark.parametrize("seed", range(4))
def test_of_all_schedules_of_a_pair_the_best_is_found(seed):
    made_up, weights = changes(seed), np.random.default_rng(seed).uniform(0.1, 3, 7)
    costs = segment_costs(made_up @ made_up.T / made_up.shape[1], weights)
    least, found = best_steps(costs)
    for count in range(1, 8):
        expected = min(schedules(7, count), key=lambda c: cost_of(made_up, weights, c))
        assert least[count] == pytest.approx(cost_of(made_up, weights, expected), abs=1e-9)
        assert cost_of(made_up, weights, found[count]) == pytest.approx(least[count], abs=1e-9)
        assert len(found[count]) == count
    assert np.isinf(least[0])


def test_steps_are_shared_out_among_pairs_so_that_all_cost_least():
    """By brute force over all schedules of two pairs; the second changes five times as much."""
    pairs, weights = [changes(1), 5 * changes(2)], np.linspace(2, 1, 7)
    products = [each @ each.T / each.shape[1] for each in pairs]
    both = [s for count in range(1, 8) for s in schedules(7, count)]
    within = [(a, b) for a, b in product(both, both) if len(a) + len(b) <= 7]
    expected = min(sum(map(cost_of, pairs, [weights] * 2, c)) for c in within)
    found = plan(products, weights, 2).computed
    assert sum(map(len, found)) <= 7
    assert sum(map(cost_of, pairs, [weights] * 2, found)) == pytest.approx(expected)
    assert len(found[1]) > len(found[0])


@pytest.mark.parametrize("starts", [(0, 3), (0, 1, 5)])
def test_where_memories_begin_anew_steps_are_computed_and_all_together_cost_least(starts):
    """By brute force over all schedules of two pairs that compute those steps."""
    pairs, weights = [changes(3), 3 * changes(4)], np.linspace(2, 1, 7)
    products = [each @ each.T / each.shape[1] for each in pairs]
    both = [s for n in range(1, 8) for s in schedules(7, n) if s >= {*starts}]
    within = [(a, b) for a, b in product(both, both) if len(a) + len(b) <= 7]

    def cost(computed):
        return sum(map(cost_of, pairs, [weights] * 2, computed, [starts] * 2))

    found = plan(products, weights, 2, starts).computed
    assert sum(map(len, found)) <= 7
    assert all(steps >= {*starts} for steps in found)
    assert cost(found) == pytest.approx(min(map(cost, within)))


def test_a_speed_that_leaves_too_few_steps_is_told_with_one_that_does_not():
    products = [np.eye(20)] * 3
    with pytest.raises(ConfigError, match="7x leaves too few steps to go by") as told:
        plan(products, np.ones(20), 7, (0, 6, 14))
    assert "guidance begins or ends" in str(told.value)
    assert "up to 6.6x" in told.value.hint
    assert sum(map(len, plan(products, np.ones(20), 6.6, (0, 6, 14)).computed)) == 9


def test_shares_use_what_there_is_and_no_more():
    least = [np.array([np.inf, 9.0, 3.0, 0.0]), np.array([np.inf, 1.0, 0.9, 0.0])]
    assert share_out(least, 4) == [3, 1]
    assert share_out(least, 3) == [2, 1]
    assert share_out(least, 9) == [3, 3]


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_step_s_gain_is_how_far_an_error_of_it_takes_the_clip(name):
    """An error of one at a step of a network whose output is known moves the end by its gain."""
    sampler = build_sampler(name, Diffusion(), 8)
    gains = step_gains(sampler)

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
    assert moved == pytest.approx(gains.tolist(), rel=1e-2, abs=1e-3)


def test_an_interval_of_guided_steps_is_recorded_by_the_half_that_is_always_there():
    model, recording = class_network(), Recording()
    sampler = build_sampler("ddim", Diffusion(), STEPS)
    network = guided(model, *told(model), 3.0, timesteps=range(500, 1000))
    with cached(model, recording):
        denoise(network, NOISE, sampler, [])
    assert recording.starts() == (0, STEPS // 2)
    products = recording.products()
    assert [each.shape for each in products] == [(STEPS, STEPS)] * (DEPTH // 2)
    for each in products:
        assert np.linalg.eigvalsh(each).min() > -1e-6
        assert each.sum() == pytest.approx(0, abs=1e-6), "they are about their mean"


@pytest.mark.parametrize("guided_at", [None, range(300, 700), range(500, 1000)])
@pytest.mark.parametrize("make", [class_network, text_network])
def test_calibration_computes_no_more_than_asked_and_tells_what_was_computed(make, guided_at):
    model = make()
    sampler = build_sampler("ddim", Diffusion(), 12)
    clips = torch.cat([NOISE, -NOISE])

    def draw():
        network = guided(model, *told(model, 2), 2.0, timesteps=guided_at)
        latents = denoise(network, clips, sampler, [])
        return [(each / 50 + 0.5).clamp(0, 1).mul(255).to(torch.uint8).numpy() for each in latents]

    (found,) = calibrate(model, sampler, [2.0], draw)
    assert found.tally.fewer_blocks >= 2
    assert found.tally.blocks_in_all == 12 * DEPTH
    with cached(model, found.schedule) as tally:
        draw()
    assert tally == found.tally
    with pytest.raises(ConfigError, match="13x is no speed for 12 steps"):
        list(calibrate(model, sampler, [13.0], draw))
