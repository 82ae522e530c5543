"""Schedulers of published pipelines: their own steps, spacing and options.

Expected values come from exact networks of `predictors`, by the papers' formulas alone.
"""

# Axes: b clips, f frames, c latent channels, h w latent size.

import diffusers
import pytest
import torch
from helpers.predictors import (
    ALPHAS_CUMPROD,
    exact_x_start,
    generators,
    levels,
    network_for,
    normal,
)
from torch import Tensor

from latte_cli.diffusion import build_sampler, denoise, noise_levels, published_sampler
from latte_cli.diffusion.objective import Diffusion
from latte_cli.diffusion.published import PIPELINE_SCHEDULERS
from latte_cli.runtime.errors import CheckpointError, ConfigError

LINEAR = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
DDIM = {"_class_name": "DDIMScheduler", **LINEAR, "clip_sample": False}
# As diffusers writes them where nothing else is said, but for the clipping of pictures.
PLAIN = {
    name: {"_class_name": name, **LINEAR, "clip_sample": False} for name in PIPELINE_SCHEDULERS
}
FEW = {"num_train_timesteps": 100}  # some classes take a second for a thousand
LINSPACE = {"timestep_spacing": "linspace"}
SINGLESTEP = "DPMSolverSinglestepScheduler"  # knows no timestep_spacing
every_class = pytest.mark.parametrize("name", PIPELINE_SCHEDULERS)


def tanh_network(objective="eps"):
    return network_for(objective, lambda x, signal, sigma: torch.tanh(x))


KARRAS = ("DEIS", "DPMSolverMulti", "DPMSolverSingle", "Euler", "Heun", "KDPM2", "UniPC")
ANCESTRAL = ("DDPM", "EulerAncestral", "KDPM2Ancestral")
SIGMAS = [
    (name, values)
    for name in PIPELINE_SCHEDULERS
    for values in ({}, {"use_karras_sigmas": True}, {"use_exponential_sigmas": True})
    if not name.startswith(ANCESTRAL) and (not values or name.startswith(KARRAS))
]


@pytest.mark.parametrize(("name", "values"), SIGMAS)
def test_noise_levels_are_those_of_the_networks_input(name, values):
    """For a network that finds all of the noise, every deterministic solver is exact."""
    noise, inputs = normal(1, 1, 4, 2, 2), []

    def network(x: Tensor, t: Tensor) -> Tensor:
        inputs.append(x.clone())
        return torch.cat([noise, noise], dim=2)

    spacing = "leading" if name in ("DDIMScheduler", "PNDMScheduler") else "linspace"
    sampler = published_sampler({**PLAIN[name], **values, "timestep_spacing": spacing}, 5)
    levels = noise_levels(sampler)
    first = 1.0 if sampler.scheduler.init_noise_sigma > 1 else float(levels.noise[-1])
    denoise(network, first * noise, sampler, generators(1))
    assert torch.allclose(levels.x_start**2 + levels.noise**2, torch.ones(1).double())
    for level, x in zip(levels.noise.flip(0), inputs, strict=True):
        torch.testing.assert_close(x, level.float() * noise, rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("name", [name for name in PIPELINE_SCHEDULERS if name.startswith(KARRAS)])
@pytest.mark.parametrize("sigmas", ["karras", "exponential"])
def test_first_frames_are_noised_to_the_schedulers_own_levels(name, sigmas):
    """Not to those of its timesteps, which are rounded."""
    config = {**PLAIN[name], f"use_{sigmas}_sigmas": True, **LINSPACE}
    noise, first, inputs = normal(1, 2, 4, 2, 2), normal(1, 1, 4, 2, 2, seed=1), []

    def network(x: Tensor, t: Tensor) -> Tensor:
        inputs.append(x[:, :1])
        return torch.zeros_like(x).repeat(1, 1, 2, 1, 1)

    sampler = published_sampler(config, 8)
    denoise(network, noise, sampler, generators(1), first_frames=first)
    scheduler = sampler.scheduler
    sigma = 1e9
    for x, t in zip(inputs, sampler.timesteps[::-1], strict=True):
        # x = (first + sigma * noise) / sqrt(1 + sigma^2), whose sigma is found by least squares.
        weights = torch.linalg.lstsq(
            torch.stack([first.flatten(), noise[:, :1].flatten()], 1), x.flatten()
        ).solution
        assert weights.square().sum().item() == pytest.approx(1, abs=1e-4)
        before, sigma = sigma, float(weights[1] / weights[0])
        assert sigma < before * 1.001
        between = getattr(scheduler, "sigmas_interpol", scheduler.sigmas).nan_to_num()
        own = torch.cat([scheduler.sigmas, between])
        assert (own / sigma - 1).abs().min() < 1e-3, t


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
def test_timesteps_follow_the_configured_spacing(spacing, expected):
    sampler = published_sampler({**DDIM, "timestep_spacing": spacing, "steps_offset": 1}, 4)
    assert sampler.timesteps == expected


@every_class
@pytest.mark.parametrize("steps", [1, 7, 50])
def test_the_network_is_evaluated_at_the_timesteps_in_order(name, steps):
    if steps == 1 and name == "PNDMScheduler":
        pytest.skip("begins with four steps of Runge and Kutta")
    timesteps_seen = []

    def network(x: Tensor, t: Tensor) -> Tensor:
        timesteps_seen.append(float(t[0]))
        return torch.cat([x, x], dim=2)

    sampler = published_sampler(PLAIN[name], steps)
    denoise(network, normal(2, 1, 4, 2, 2), sampler, generators(2))
    assert timesteps_seen == pytest.approx(sampler.timesteps[::-1], abs=1e-3)
    if name.startswith(("Heun", "KDPM2")):  # two stages for each step but the last
        assert len(timesteps_seen) == 2 * steps - 1
    elif name == "PNDMScheduler":  # four stages for each of the first three
        assert len(timesteps_seen) == steps + 9
    else:
        assert timesteps_seen == sorted(set(timesteps_seen), reverse=True)
        assert len(timesteps_seen) == steps


@pytest.mark.parametrize("objective", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("to_one", [True, False])
def test_ddim_converges_to_the_networks_x_start(objective, to_one):
    """DDIM, equation 12, without noise, for a network that knows the clip and its noise.

    The last step goes to the level before the first: to the clip, or by `set_alpha_to_one: false`
    to the first level of training, as the published text-to-video models do.
    """
    clip, noise = normal(2, 1, 4, 2, 2), normal(2, 1, 4, 2, 2, seed=1)
    sampler = published_sampler(
        {**DDIM, "prediction_type": objective, "set_alpha_to_one": to_one}, 10
    )
    first = torch.tensor([sampler.timesteps[-1]] * 2)
    signal, sigma = levels("eps", first, clip)
    network = network_for({"epsilon": "eps"}.get(objective, "v"), lambda x, signal, sigma: clip)
    found = denoise(network, signal * clip + sigma * noise, sampler, generators(2))
    last = ALPHAS_CUMPROD[0].float()
    expected = clip if to_one else last.sqrt() * clip + (1 - last).sqrt() * noise
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_a_ddim_step_matches_the_paper(eta):
    """Equations 12 and 16 of DDIM, written out for two steps, noise from the clip's generator."""
    sampler = published_sampler({**DDIM, "set_alpha_to_one": True}, 2, eta)
    assert sampler.timesteps == [0, 500]
    noise, network = normal(1, 1, 4, 2, 2), tanh_network()
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


def test_published_ddim_with_our_spacing_matches_ours():
    """`build_sampler` is held to the published numbers by its own tests."""
    ours = build_sampler("euler", Diffusion(), 20)
    theirs = published_sampler({**DDIM, "timestep_spacing": "trailing"}, 20)
    assert theirs.timesteps == ours.timesteps
    noise = normal(2, 3, 4, 2, 2)
    found, expected = (denoise(tanh_network(), noise, s, generators(2)) for s in (theirs, ours))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "name", ["DDPMScheduler", "DPMSolverMultistepScheduler", PIPELINE_SCHEDULERS[-1]]
)
def test_an_exact_network_samples_the_data_distribution(name):
    """Numbers of one normal distribution, of which E[x_0 | x_t] is known exactly."""
    sampler = published_sampler({**PLAIN[name], "timestep_spacing": "trailing"}, 250)
    network = network_for("eps", exact_x_start(0.5, 0.3))
    found = denoise(network, normal(2, 4, 4, 32, 32, seed=1), sampler, generators(2))
    assert found.mean().item() == pytest.approx(0.5, abs=0.01)
    assert found.std().item() == pytest.approx(0.3, rel=0.05)


def with_covariance(value):
    """A network whose covariance channels are all of one value."""

    def network(x: Tensor, t: Tensor) -> Tensor:
        noise = tanh_network()(x, t).chunk(2, dim=2)[0]
        return torch.cat([noise, torch.full_like(noise, value)], dim=2)

    return network


def test_ddpm_reads_the_covariance_channels_if_its_variance_is_learned():
    """From -1, the posterior's variance, to 1, beta (improved DDPM, equation 15): ever more noise.

    At -1 it is DDPM's of fixed small variance, which does not read those channels at all.
    """
    noise = normal(1, 1, 4, 2, 2)

    def end(variance: str, value: float) -> Tensor:
        sampler = published_sampler({**PLAIN["DDPMScheduler"], "variance_type": variance}, 5)
        assert sampler.learns_covariance is (variance == "learned_range")
        return denoise(with_covariance(value), noise, sampler, generators(1))

    small = end("fixed_small", float("nan"))
    torch.testing.assert_close(end("learned_range", -1.0), small, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(end("learned_range", 1.0), small, atol=1e-2)


@pytest.mark.parametrize("name", [name for name in PIPELINE_SCHEDULERS if name != "DDPMScheduler"])
@pytest.mark.parametrize("variance", ["learned", "learned_range"])
def test_a_variance_type_left_over_from_ddpm_is_ignored(name, variance):
    """diffusers' way to swap schedulers, `from_config`, keeps what the new class has no use for."""
    own = diffusers.DDPMScheduler(variance_type=variance, **LINEAR, **FEW, clip_sample=False).config
    swapped = {**getattr(diffusers, name).from_config(own).config, "_class_name": name}
    assert swapped["variance_type"] == variance
    found, expected = (
        denoise(
            lambda x, t: torch.cat([x.tanh(), x], dim=2),
            normal(1, 1, 4, 2, 2),
            published_sampler(values, 5),
            generators(1),
        )
        for values in (swapped, {**PLAIN[name], **FEW})
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
def test_each_clip_uses_its_own_generator(config):
    sampler = published_sampler(config, 5)

    def end(seeds: list[int]) -> Tensor:
        noise = normal(1, 2, 4, 2, 2).expand(len(seeds), -1, -1, -1, -1)
        by_clip = [torch.Generator().manual_seed(seed) for seed in seeds]
        return denoise(tanh_network(), noise, sampler, by_clip)

    together = end([3, 4, 5])
    torch.testing.assert_close(together[1], end([4])[0], rtol=1e-5, atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=0.1), "of the same beginning"


def test_betas_are_those_of_the_pipeline():
    """`scaled_linear`, even in the root of beta, as Stable Diffusion was trained on."""
    config = {**DDIM, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    found = published_sampler(config, 10).scheduler.alphas_cumprod
    torch.testing.assert_close(found.double(), (1 - betas).cumprod(0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["LCMScheduler", "FlowMatchEulerDiscreteScheduler", ""])
def test_an_unsupported_scheduler_raises_checkpoint_error(name):
    assert not name or hasattr(diffusers, name), "it is one of diffusers', and still no choice"
    with pytest.raises(CheckpointError, match=f"the pipeline's scheduler is {name}") as caught:
        published_sampler({"_class_name": name, **LINEAR}, 10)
    assert all(known in caught.value.hint for known in PIPELINE_SCHEDULERS)


@pytest.mark.parametrize("steps", [0, 101])
def test_more_steps_than_timesteps_raise_config_error(steps):
    with pytest.raises(ConfigError, match=f"{steps} steps, but the network was trained on 100"):
        published_sampler({**DDIM, "num_train_timesteps": 100}, steps)


@pytest.mark.parametrize("name", [name for name in PIPELINE_SCHEDULERS if name != SINGLESTEP])
def test_steps_beyond_the_schedule_raise_config_error(name):
    """`leading`, shifted: 100 timesteps up to number 100; of solvers, one and the same."""
    shifted = {"timestep_spacing": "leading", "steps_offset": 1, **FEW}
    config = {**PLAIN[name], **shifted}
    with pytest.raises(ConfigError, match=f"{name} does not support 100 steps") as caught:
        published_sampler(config, 100)
    assert "fewer --steps" in caught.value.hint
    assert len(published_sampler(config, 50).timesteps) >= 50


@pytest.mark.parametrize(
    ("name", "values", "steps", "instead"),
    [
        ("PNDMScheduler", {}, 3, "more"),
        ("KDPM2AncestralDiscreteScheduler", LINSPACE, 2, "more"),
        ("UniPCMultistepScheduler", {**LINSPACE, **FEW}, 100, "fewer"),
    ],
)
def test_steps_that_a_scheduler_cannot_take_raise_config_error(name, values, steps, instead):
    """Where diffusers' own would end in an error of NumPy's, or in numbers that are not finite."""
    with pytest.raises(ConfigError, match=f"{name} does not support {steps} steps") as caught:
        published_sampler({**PLAIN[name], **values}, steps)
    assert f"{instead} --steps" in caught.value.hint
    other = steps + 1 if instead == "more" else steps - 1
    assert published_sampler({**PLAIN[name], **values}, other)


@every_class
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"beta_schedule": "foo"}, "foo is not implemented"),
        ({"timestep_spacing": "foo"}, "foo is not supported"),
        ({"beta_start": "foo"}, "linspace"),
        ({"trained_betas": 10**19}, "."),
        ({"trained_betas": [0.01] * 10}, "betas for 10 of 1000 timesteps"),
    ],
)
def test_an_invalid_scheduler_configuration_raises_checkpoint_error(name, values, message):
    if name == SINGLESTEP and "timestep_spacing" in values:
        assert published_sampler({**PLAIN[name], **values}, 5)
        return
    with pytest.raises(CheckpointError, match=f"{name} cannot be .*{message}") as error:
        published_sampler({**PLAIN[name], **values}, 5)
    assert "\n" not in str(error.value)
    assert "scheduler_config.json" in error.value.hint


@every_class
def test_only_ddim_takes_eta(name):
    if name == "DDIMScheduler":
        assert published_sampler(PLAIN[name], 10, 0.5).step_options == {"eta": 0.5}
        return
    with pytest.raises(ConfigError, match=f"{name} has no eta, got 0.5"):
        published_sampler({**PLAIN[name], **FEW}, 10, 0.5)
