"""Schedulers as pipelines are published with: their own steps, spacing and options, and no others.

Oracles are those of `predictors`: networks that know the answer, from the papers' formulas alone.
"""

# Axes: b clips, f frames, c latent channels, h w latent size.

import diffusers
import pytest
import torch
from helpers.predictors import ALPHAS_CUMPROD, believer, drawn, generators, levels, normal_belief
from torch import Tensor

from latte_cli.diffusion import build_sampler, denoise, published_sampler
from latte_cli.diffusion.objective import Diffusion
from latte_cli.diffusion.published import CLASSES
from latte_cli.runtime.errors import CheckpointError, ConfigError

LINEAR = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
DDIM = {"_class_name": "DDIMScheduler", **LINEAR, "clip_sample": False}
# As diffusers writes them where nothing else is said, but for the clipping of pictures.
PLAIN = {name: {"_class_name": name, **LINEAR, "clip_sample": False} for name in CLASSES}
every_class = pytest.mark.parametrize("name", CLASSES)


def tanh_network(objective="eps"):
    return believer(objective, lambda x, signal, sigma: torch.tanh(x))


@every_class
def test_the_input_of_the_network_is_the_noisy_latent_itself(name):
    """Others, as EulerDiscreteScheduler, scale it and begin with more noise than unit variance."""
    scheduler = published_sampler(PLAIN[name], 10).scheduler
    x = drawn(1, 4, 1, 2, 2)
    assert torch.equal(scheduler.scale_model_input(x, scheduler.timesteps[0]), x)
    assert float(scheduler.init_noise_sigma) == 1


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [
        # Lin et al. 2024, "Common diffusion noise schedules are flawed", table 2, for T = 1000 and
        # 4 steps, counted from 0 and, with `leading`, shifted by steps_offset.
        ("leading", [1, 251, 501, 751]),
        ("trailing", [249, 499, 749, 999]),
        ("linspace", [0, 333, 666, 999]),
    ],
)
def test_timesteps_are_spaced_as_the_configuration_says(spacing, expected):
    sampler = published_sampler({**DDIM, "timestep_spacing": spacing, "steps_offset": 1}, 4)
    assert sampler.timesteps == expected


@every_class
@pytest.mark.parametrize("steps", [1, 7, 50])
def test_the_network_is_asked_once_a_step_from_noise_downwards(name, steps):
    asked = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        asked.append(int(t[0]))
        return tanh_network()(x, t)

    sampler = published_sampler(PLAIN[name], steps)
    denoise(network, drawn(2, 1, 4, 2, 2), sampler, generators(2))
    assert asked == sampler.timesteps[::-1]
    assert asked == sorted(set(asked), reverse=True)
    assert len(asked) == steps


@pytest.mark.parametrize("objective", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("to_one", [True, False])
def test_ddim_leads_to_what_the_network_believes(objective, to_one):
    """DDIM, equation 12, without noise, for a network that knows the clip and its noise.

    The last step goes to the level before the first: to the clip, or by `set_alpha_to_one: false`
    to the first level of training, as the published text-to-video models do.
    """
    clip, noise = drawn(2, 1, 4, 2, 2), drawn(2, 1, 4, 2, 2, seed=1)
    sampler = published_sampler(
        {**DDIM, "prediction_type": objective, "set_alpha_to_one": to_one}, 10
    )
    first = torch.tensor([sampler.timesteps[-1]] * 2)
    signal, sigma = levels("eps", first, clip)
    network = believer({"epsilon": "eps"}.get(objective, "v"), lambda x, signal, sigma: clip)
    found = denoise(network, signal * clip + sigma * noise, sampler, generators(2))
    last = ALPHAS_CUMPROD[0].float()
    expected = clip if to_one else last.sqrt() * clip + (1 - last).sqrt() * noise
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_a_step_of_ddim_is_that_of_its_paper(eta):
    """Equations 12 and 16 of DDIM, written out for two steps, noise from the clip's generator."""
    sampler = published_sampler({**DDIM, "set_alpha_to_one": True}, 2, eta)
    assert sampler.timesteps == [0, 500]
    noise, network = drawn(1, 1, 4, 2, 2), tanh_network()
    x, levels_walked = noise, [ALPHAS_CUMPROD[500], ALPHAS_CUMPROD[0], torch.ones(())]
    generator = torch.Generator().manual_seed(0)
    for t, a, before in zip((500, 0), levels_walked, levels_walked[1:], strict=False):
        predicted = network(x, torch.tensor([t])).chunk(2, dim=2)[0]
        x_start = (x - (1 - a).sqrt() * predicted) / a.sqrt()
        deviation = eta * ((1 - before) / (1 - a)).sqrt() * (1 - a / before).sqrt()
        x = before.sqrt() * x_start + (1 - before - deviation**2).sqrt() * predicted
        if eta:
            x = x + deviation * torch.randn((1, 4, 1, 2, 2), generator=generator).transpose(1, 2)
    found = denoise(network, noise, sampler, generators(1))
    torch.testing.assert_close(found, x.float(), rtol=1e-4, atol=1e-5)


def test_published_ddim_with_our_spacing_is_ours():
    """`build_sampler` is held to the published numbers by its own tests."""
    ours = build_sampler("euler", Diffusion(), 20)
    theirs = published_sampler({**DDIM, "timestep_spacing": "trailing"}, 20)
    assert theirs.timesteps == ours.timesteps
    noise = drawn(2, 3, 4, 2, 2)
    found, expected = (denoise(tanh_network(), noise, s, generators(2)) for s in (theirs, ours))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["DDPMScheduler", "DPMSolverMultistepScheduler", CLASSES[-1]])
def test_a_network_that_knows_the_data_draws_them(name):
    """Numbers of one normal distribution, of which E[x_0 | x_t] is known exactly."""
    sampler = published_sampler({**PLAIN[name], "timestep_spacing": "trailing"}, 250)
    network = believer("eps", normal_belief(0.5, 0.3))
    found = denoise(network, drawn(2, 4, 4, 32, 32, seed=1), sampler, generators(2))
    assert found.mean().item() == pytest.approx(0.5, abs=0.01)
    assert found.std().item() == pytest.approx(0.3, rel=0.05)


def with_covariance(value):
    """A network whose covariance channels are all of one value."""

    def network(x: Tensor, t: Tensor) -> Tensor:
        noise = tanh_network()(x, t).chunk(2, dim=2)[0]
        return torch.cat([noise, torch.full_like(noise, value)], dim=2)

    return network


def test_ddpm_reads_the_covariance_channels_where_its_variance_is_learned():
    """From -1, the posterior's variance, to 1, beta (improved DDPM, equation 15): ever more noise.

    At -1 it is DDPM's of fixed small variance, which does not read those channels at all.
    """
    noise = drawn(1, 1, 4, 2, 2)

    def end(variance: str, value: float) -> Tensor:
        sampler = published_sampler({**PLAIN["DDPMScheduler"], "variance_type": variance}, 5)
        assert sampler.learns_covariance is (variance == "learned_range")
        return denoise(with_covariance(value), noise, sampler, generators(1))

    small = end("fixed_small", float("nan"))
    torch.testing.assert_close(end("learned_range", -1.0), small, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(end("learned_range", 1.0), small, atol=1e-2)


@pytest.mark.parametrize("name", [name for name in CLASSES if name != "DDPMScheduler"])
@pytest.mark.parametrize("variance", ["learned", "learned_range"])
def test_a_learned_variance_is_left_over_where_the_scheduler_took_the_place_of_ddpm(name, variance):
    """diffusers' way to swap schedulers, `from_config`, keeps what the new class has no use for."""
    own = diffusers.DDPMScheduler(variance_type=variance, **LINEAR, clip_sample=False).config
    swapped = {**getattr(diffusers, name).from_config(own).config, "_class_name": name}
    assert swapped["variance_type"] == variance
    found, expected = (
        denoise(tanh_network(), drawn(1, 1, 4, 2, 2), published_sampler(c, 5), generators(1))
        for c in (swapped, PLAIN[name])
    )
    assert torch.equal(found, expected)


STOCHASTIC = {
    "DDPM": PLAIN["DDPMScheduler"],
    "SDE-DPM-Solver++": {
        **PLAIN["DPMSolverMultistepScheduler"],
        "algorithm_type": "sde-dpmsolver++",
    },
}


@pytest.mark.parametrize("config", STOCHASTIC.values(), ids=STOCHASTIC)
def test_noise_comes_from_each_clip_s_own_generator(config):
    sampler = published_sampler(config, 5)

    def end(seeds: list[int]) -> Tensor:
        noise = drawn(1, 2, 4, 2, 2).expand(len(seeds), -1, -1, -1, -1)
        by_clip = [torch.Generator().manual_seed(seed) for seed in seeds]
        return denoise(tanh_network(), noise, sampler, by_clip)

    together = end([3, 4, 5])
    torch.testing.assert_close(together[1], end([4])[0], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=0.1), "of the same beginning"


def test_betas_are_the_pipeline_s_own():
    """`scaled_linear`, even in the root of beta, as Stable Diffusion was trained on."""
    config = {**DDIM, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    found = published_sampler(config, 10).scheduler.alphas_cumprod
    torch.testing.assert_close(found.double(), (1 - betas).cumprod(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler", ""])
def test_a_scheduler_that_is_not_known_is_told(name):
    assert not name or hasattr(diffusers, name), "it is one of diffusers', and still no choice"
    with pytest.raises(CheckpointError, match=f"the pipeline's scheduler is {name}") as told:
        published_sampler({"_class_name": name, **LINEAR}, 10)
    assert all(known in told.value.hint for known in CLASSES)


@pytest.mark.parametrize("steps", [0, 101])
def test_steps_that_the_schedule_does_not_have_are_told(steps):
    with pytest.raises(ConfigError, match=f"{steps} steps, but the network was trained on 100"):
        published_sampler({**DDIM, "num_train_timesteps": 100}, steps)


@every_class
def test_steps_that_lead_beyond_the_schedule_are_told(name):
    """`leading`, shifted: 1000 timesteps up to number 1000; of solvers, one and the same."""
    config = {**PLAIN[name], "timestep_spacing": "leading", "steps_offset": 1}
    with pytest.raises(ConfigError, match=f"{name} cannot take 1000 steps") as told:
        published_sampler(config, 1000)
    assert "fewer --steps" in told.value.hint
    assert len(published_sampler(config, 500).timesteps) == 500


@every_class
@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"beta_schedule": "foo"}, "foo is not implemented"),
        ({"timestep_spacing": "foo"}, "foo is not supported"),
        ({"beta_start": "foo"}, "linspace"),
        ({"trained_betas": [0.01] * 10}, "betas for 10 of 1000 timesteps"),
    ],
)
def test_a_configuration_that_makes_no_scheduler_is_told(name, values, told):
    with pytest.raises(CheckpointError, match=f"{name} cannot be .*{told}") as error:
        published_sampler({**PLAIN[name], **values}, 5)
    assert "\n" not in str(error.value)
    assert "scheduler_config.json" in error.value.hint


@every_class
def test_eta_is_for_ddim_alone(name):
    if name == "DDIMScheduler":
        assert published_sampler(PLAIN[name], 10, 0.5).step_options == {"eta": 0.5}
        return
    with pytest.raises(ConfigError, match=f"{name} has no eta, got 0.5"):
        published_sampler(PLAIN[name], 10, 0.5)
