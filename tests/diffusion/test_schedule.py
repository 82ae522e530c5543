"""Schedules: both ends of the straight path, and the timesteps that samplers visit."""

import pytest
import torch
from helpers.predictors import diffusion, normal

from latte_cli.diffusion.schedule import FlowSchedule, respaced_timesteps, trailing_timesteps

CLIP, NOISE = normal(2, 3, 4, 4, 4, seed=1), normal(2, 3, 4, 4, 4, seed=2)


def test_the_last_flow_timestep_is_pure_noise():
    x = diffusion("flow").add_noise(CLIP, torch.tensor([999, 999]), NOISE)
    assert torch.equal(x, NOISE)


def test_the_first_flow_timestep_is_one_step_from_the_clip():
    flow, t = diffusion("flow"), torch.tensor([0, 0])
    x = flow.add_noise(CLIP, t, NOISE)
    torch.testing.assert_close(x, CLIP + (NOISE - CLIP) / 1000)


def test_the_velocity_is_the_derivative_of_the_path():
    flow, t = diffusion("flow"), torch.tensor([5, 700])
    ahead, behind = (flow.add_noise(CLIP.double(), t + d, NOISE.double()) for d in (1, -1))
    torch.testing.assert_close((ahead - behind) * 500, (NOISE - CLIP).double())


@pytest.mark.parametrize("steps", [1, 3, 7, 50, 667, 1000])
def test_trailing_steps_are_equally_long_and_begin_at_noise(steps):
    timesteps = trailing_timesteps(1000, steps)
    assert len(set(timesteps)) == steps
    assert timesteps == sorted(timesteps)
    assert timesteps[-1] == 999
    sigmas = torch.cat([torch.zeros(1), FlowSchedule.uniform(1000).sigmas[timesteps]])
    assert (sigmas.diff() - 1 / steps).abs().max() <= 1 / 1000


def test_trailing_timesteps_match_the_paper():
    """Lin et al. 2024, table 2, "trailing", counted from 0."""
    assert trailing_timesteps(1000, 1) == [999]
    assert trailing_timesteps(1000, 4) == [249, 499, 749, 999]
    assert trailing_timesteps(1000, 10)[:2] == [99, 199]


def test_respaced_timesteps_include_both_ends():
    assert respaced_timesteps(1000, 4) == [0, 333, 666, 999]
    assert respaced_timesteps(1000, 1) == [999], "pure noise"
    assert respaced_timesteps(10, 10) == list(range(10))
