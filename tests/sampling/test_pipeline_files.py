"""A pipeline's sampler: its own scheduler, or one by name over its noise schedule."""

import pytest
import torch

from latte_cli.diffusion import noise_levels
from latte_cli.runtime.errors import ConfigError
from latte_cli.sampling.pipelines.scheduler import load_sampler

NAMES = ("ddpm", "ddim", "euler", "dpm++", "unipc")
DDIM = {"_class_name": "DDIMScheduler", "clip_sample": False, "timestep_spacing": "trailing"}
BETAS = torch.linspace(1e-4, 0.01, 1000).tolist()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"beta_schedule": "scaled_linear"}, "noise schedule is scaled_linear"),
        ({"trained_betas": BETAS}, "noise schedule has betas of its own"),
        (
            {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
            "noise schedule is rescaled to end in pure noise",
        ),
        ({"prediction_type": "sample"}, "network predicts sample"),
    ],
)
def test_samplers_by_name_need_a_linear_noise_schedule(name, values, message):
    config = {**DDIM, **values}
    with pytest.raises(ConfigError, match=message) as error:
        load_sampler(config, name, 10)
    assert "leave --sampler out" in error.value.hint
    assert len(load_sampler(config, None, 10).timesteps) == 10


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"num_train_timesteps": 500},
        {"beta_start": 0.001, "beta_end": 0.01},
        {"trained_betas": None, "rescale_betas_zero_snr": False},
    ],
)
def test_missing_values_of_the_schedule_are_diffusers_defaults(values):
    config = {**DDIM, **values}
    own, named = load_sampler(config, None, 10), load_sampler(config, "euler", 10)
    assert named.timesteps == own.timesteps
    expected = own.scheduler.alphas_cumprod[own.timesteps].sqrt()
    torch.testing.assert_close(noise_levels(named).x_start.float(), expected, rtol=1e-4, atol=1e-5)
