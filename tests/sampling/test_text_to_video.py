"""How a pipeline takes noise off: its own scheduler, or a sampler by name over its schedule."""

import json

import pytest
import torch

from latte_cli.diffusion import noise_levels
from latte_cli.runtime.errors import ConfigError
from latte_cli.sampling.text_to_video import load_sampler

NAMES = ("ddpm", "ddim", "euler", "dpm++", "unipc")
DDIM = {"_class_name": "DDIMScheduler", "clip_sample": False, "timestep_spacing": "trailing"}
BETAS = torch.linspace(1e-4, 0.01, 1000).tolist()


@pytest.fixture
def write(tmp_path):
    """Write a scheduler's folder."""

    def written(**values):
        (tmp_path / "scheduler_config.json").write_text(json.dumps({**DDIM, **values}))
        return tmp_path

    return written


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"beta_schedule": "scaled_linear"}, "its noise schedule is scaled_linear"),
        ({"trained_betas": BETAS}, "its noise schedule has betas of its own"),
        ({"rescale_betas_zero_snr": True}, "its noise schedule is rescaled to end in pure noise"),
        ({"prediction_type": "sample"}, "its network predicts sample"),
    ],
)
def test_samplers_by_name_are_not_for_another_noise_schedule(write, name, values, told):
    folder = write(**values)
    with pytest.raises(ConfigError, match=told) as error:
        load_sampler(folder, name, 10)
    assert "leave --sampler out" in error.value.hint
    assert len(load_sampler(folder, None, 10).timesteps) == 10


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"num_train_timesteps": 500},
        {"beta_start": 0.001, "beta_end": 0.01},
        {"trained_betas": None, "rescale_betas_zero_snr": False},
    ],
)
def test_the_schedule_by_name_is_the_pipeline_s_own_by_diffusers_defaults(write, values):
    """What the file leaves out is what diffusers' class takes for it."""
    folder = write(**values)
    own, named = load_sampler(folder, None, 10), load_sampler(folder, "euler", 10)
    assert named.timesteps == own.timesteps
    expected = own.scheduler.alphas_cumprod[own.timesteps].sqrt()
    torch.testing.assert_close(noise_levels(named).x_start.float(), expected, rtol=1e-4, atol=1e-5)
