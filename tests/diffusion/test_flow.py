"""The straight path: its two ends, its steps, and the timesteps that Euler visits."""

import pytest
import torch
from helpers.predictors import diffusion, drawn

from latte_cli.diffusion.flow import StraightPath
from latte_cli.diffusion.schedule import trailing_timesteps

CLIP, NOISE = drawn(2, 3, 4, 4, 4, seed=1), drawn(2, 3, 4, 4, 4, seed=2)


def test_the_last_timestep_is_noise_and_nothing_else():
    x = diffusion("flow").add_noise(CLIP, torch.tensor([999, 999]), NOISE)
    assert torch.equal(x, NOISE)


def test_the_first_timestep_is_one_step_from_the_clip():
    flow, t = diffusion("flow"), torch.tensor([0, 0])
    x = flow.add_noise(CLIP, t, NOISE)
    torch.testing.assert_close(x, CLIP + (NOISE - CLIP) / 1000)


def test_the_velocity_is_the_paths_derivative():
    flow, t = diffusion("flow"), torch.tensor([5, 700])
    ahead, behind = (flow.add_noise(CLIP.double(), t + d, NOISE.double()) for d in (1, -1))
    torch.testing.assert_close((ahead - behind) * 500, (NOISE - CLIP).double())


@pytest.mark.parametrize("steps", [1, 3, 7, 50, 667, 1000])
def test_steps_are_equally_long_and_begin_at_noise(steps):
    timesteps = trailing_timesteps(1000, steps)
    assert len(set(timesteps)) == steps
    assert timesteps == sorted(timesteps)
    assert timesteps[-1] == 999
    levels = torch.cat([torch.zeros(1), StraightPath.even(1000).levels[timesteps]])
    assert (levels.diff() - 1 / steps).abs().max() <= 1 / 1000


def test_steps_end_where_equal_parts_of_all_timesteps_do():
    """Lin et al. 2024, table 2, "trailing", counted from 0."""
    assert trailing_timesteps(1000, 1) == [999]
    assert trailing_timesteps(1000, 4) == [249, 499, 749, 999]
    assert trailing_timesteps(1000, 10)[:2] == [99, 199]
