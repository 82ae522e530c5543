"""The samplers against the published code's numbers (tests/goldens) and an exact model."""

import diffusers.schedulers.scheduling_ddpm as diffusers_ddpm
import pytest
import torch
from diffusers import EulerDiscreteScheduler
from helpers.predictors import NAMES, diffusion, generators, levels, network_for, normal
from torch import Tensor

from latte_cli.diffusion import Diffusion, build_sampler, denoise
from latte_cli.runtime.errors import ConfigError


def _assert_near(ours: Tensor, reference: Tensor) -> None:
    """1e-5 of the reference's largest value, as the reference's notes require."""
    error = (ours - reference).abs().max() / reference.abs().max().clamp(min=1)
    assert error <= 1e-5


@pytest.mark.parametrize("steps", [100, 250])
def test_respaced_ddpm_matches_published_mean_and_variance(goldens, monkeypatch, steps):
    want = {
        name: goldens("diffusion")[f"ddpm{steps}.{name}"]
        for name in ("use_timesteps", "index", "mean", "variance", "log_variance", "pred_xstart")
    }
    x_t, model_out = goldens("diffusion")["x_t"], goldens("diffusion")["model_out"]
    diffusion = Diffusion()
    sampler = build_sampler("ddpm", diffusion, steps)
    assert sampler.timesteps == want["use_timesteps"].tolist()

    # Without its noise, the scheduler's step is the mean; with unit noise, mean plus deviation.
    steps_with = {}
    for value in (0.0, 1.0):
        monkeypatch.setattr(
            diffusers_ddpm, "randn_tensor", lambda shape, value=value, **_: torch.full(shape, value)
        )
        steps_with[value] = torch.cat(
            [
                sampler.scheduler.step(
                    out[None].transpose(1, 2), index, x[None].transpose(1, 2)
                ).prev_sample.transpose(1, 2)
                for index, x, out in zip(want["index"], x_t, model_out, strict=True)
            ]
        )
    _assert_near(steps_with[0.0], want["mean"])
    deviation = steps_with[1.0] - steps_with[0.0]
    noisy = want["index"] > 0  # the last step adds no noise
    _assert_near(deviation[noisy].square(), want["variance"][noisy])
    assert (deviation[~noisy] == 0).all()

    respaced = Diffusion()
    respaced.schedule = diffusion.schedule.respaced(sampler.timesteps)
    ours = respaced.reverse_step(model_out.double(), x_t.double(), want["index"])
    _assert_near(ours.mean, want["mean"])
    _assert_near(ours.log_variance, want["log_variance"])
    _assert_near(ours.x_start, want["pred_xstart"])


def test_ddim_matches_published_trajectory(goldens):
    values = goldens("diffusion")

    def model(x: Tensor, t: Tensor) -> Tensor:
        level = (t / 1000).clamp(min=0.05).reshape(-1, 1, 1, 1, 1)
        return torch.cat([0.9 * x * level + 0.1 * x.roll(1, dims=1), x], dim=2)

    sampler = build_sampler("ddim", Diffusion(), 50)
    assert sampler.timesteps == values["ddim50.use_timesteps"].tolist()
    sample = denoise(model, values["ddim50.xT"], sampler, [torch.Generator()] * 2)
    _assert_near(sample, values["ddim50.sample"])


@pytest.mark.parametrize(("name", "eta"), [*((name, 0.0) for name in NAMES), ("ddim", 0.7)])
@pytest.mark.parametrize("steps", [5, 50])
def test_eps_and_v_predictions_of_one_network_give_the_same_samples(name, eta, steps):
    def of_noise(x: Tensor, t: Tensor) -> Tensor:
        return torch.cat([0.8 * x + 0.1 * x.roll(1, dims=1), torch.sin(x)], dim=2)

    def of_v(x: Tensor, t: Tensor) -> Tensor:
        noise, covariance = of_noise(x, t).double().chunk(2, dim=2)
        signal, sigma = levels("v", t, noise)
        return torch.cat([(noise - sigma * x) / signal, covariance], dim=2)

    noise, samples = normal(2, 3, 4, 4, 4), []
    for objective, model in (("eps", of_noise), ("v", of_v)):
        sampler = build_sampler(name, diffusion(objective), steps, eta)
        samples.append(denoise(model, noise, sampler, generators(2)))
    error = (samples[0] - samples[1]).abs().max() / samples[0].abs().max()
    assert error < 1e-4


@pytest.mark.parametrize("name", ["euler", "ddim"])
@pytest.mark.parametrize("steps", [1, 7, 50])
def test_flow_takes_euler_steps_at_its_training_timesteps(name, steps):
    visited_timesteps = []

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        visited_timesteps.append(int(t[0]))
        return torch.cat([torch.sin(x) + t.reshape(-1, 1, 1, 1, 1) / 1000, x / 0], dim=2)

    flow, noise = diffusion("flow"), normal(2, 3, 4, 4, 4)
    sampler = build_sampler(name, flow, steps)
    trained = flow.schedule.sigmas[sampler.timesteps].float()
    assert torch.equal(sampler.scheduler.sigmas, torch.cat([trained.flip(0), torch.zeros(1)]))

    sample = denoise(velocity, noise, sampler, generators(2))
    assert visited_timesteps == sampler.timesteps[::-1]
    assert visited_timesteps[0] == 999
    x, ends = noise, [(t + 1) / 1000 for t in visited_timesteps] + [0.0]
    for t, start, end in zip(list(visited_timesteps), ends, ends[1:], strict=False):
        x = x + (end - start) * velocity(x, torch.tensor([t, t])).chunk(2, dim=2)[0]
    torch.testing.assert_close(sample, x)


@pytest.mark.parametrize(("objective", "prediction"), [("eps", "epsilon"), ("v", "v_prediction")])
@pytest.mark.parametrize("steps", [1, 8, 50])
def test_euler_matches_diffusers_in_the_noise_to_signal_ratio(objective, prediction, steps):
    """In x / sqrt(a), as in diffusers' own Euler scheduler (Karras et al. 2022, algorithm 1)."""
    model = network_for(objective, lambda x, signal, sigma: torch.tanh(x))
    noise = normal(2, 3, 4, 4, 4)
    sampler = build_sampler("euler", diffusion(objective), steps)
    sample = denoise(model, noise, sampler, generators(2))

    scheduler = EulerDiscreteScheduler(
        beta_start=1e-4, beta_end=0.02, prediction_type=prediction, timestep_spacing="leading"
    )
    scheduler.set_timesteps(timesteps=sampler.timesteps[::-1])
    x = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        out = model(scheduler.scale_model_input(x, t), torch.full((2,), int(t)))
        x = scheduler.step(out.chunk(2, dim=2)[0], t, x).prev_sample
    torch.testing.assert_close(sample, x, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("objective", ["eps", "v", "flow"])
@pytest.mark.parametrize("steps", [2, 14, 40])
def test_dpm_solver_matches_the_paper(objective, steps):
    """DPM-Solver++ 2M (Lu et al. 2022, algorithm 2), its last step to the clean clip of order 1."""
    noise = normal(2, 3, 4, 4, 4)
    sampler = build_sampler("dpm++", diffusion(objective), steps)
    model = network_for(objective, lambda x, signal, sigma: torch.tanh(x))
    sample = denoise(model, noise, sampler, generators(2))

    visited, x = torch.tensor(sampler.timesteps[::-1]), noise.double()
    signal, sigma = levels(objective, visited, visited.double())
    log_ratio = (signal / sigma).log()
    data, h = torch.tanh(x), log_ratio.diff()
    for i in range(1, steps):
        before, data = data, torch.tanh(x)
        slope = 0.5 * h[i - 1] / h[i - 2] if i > 1 else 0.0
        aim = data + slope * (data - before)
        x = sigma[i] / sigma[i - 1] * x - signal[i] * torch.expm1(-h[i - 1]) * aim
    torch.testing.assert_close(sample, torch.tanh(x).float(), rtol=1e-3, atol=1e-4)


def test_ddim_with_eta_one_is_ddpm_with_the_smallest_covariance():
    """DDIM, section 4.1; the posterior's variance is the network's -1."""

    def model(x: Tensor, t: Tensor) -> Tensor:
        return torch.cat([0.9 * x, -torch.ones_like(x)], dim=2)

    noise, samples = normal(2, 3, 4, 4, 4), []
    for name, eta in (("ddpm", 0.0), ("ddim", 1.0), ("ddim", 0.0)):
        sampler = build_sampler(name, Diffusion(), 20, eta)
        samples.append(denoise(model, noise, sampler, generators(2)))
    torch.testing.assert_close(samples[0], samples[1], rtol=1e-3, atol=1e-3)
    assert not torch.allclose(samples[0], samples[2], atol=0.1)


@pytest.mark.parametrize(
    ("name", "objective", "eta", "message", "hint"),
    [
        ("ddpm", "flow", 0.0, "ddpm does not support the objective flow", "euler"),
        ("heun", "eps", 0.0, "unknown sampler `heun`", "ddpm, ddim, dpm++, unipc, euler"),
        ("heun", "flow", 0.0, "unknown sampler `heun`", "euler"),
        ("unipc", "v", 0.5, "has no eta, got 0.5", "leave eta at 0"),
        ("ddpm", "eps", 0.5, "has no eta, got 0.5", "leave eta at 0"),
        ("ddim", "flow", 0.5, "has no eta, got 0.5", "leave eta at 0"),
    ],
)
def test_an_unsupported_sampler_raises_config_error(name, objective, eta, message, hint):
    with pytest.raises(ConfigError, match=message) as caught:
        build_sampler(name, diffusion(objective), 5, eta)
    assert hint in caught.value.hint


@pytest.mark.parametrize("steps", [0, 1001])
def test_more_steps_than_timesteps_raise_config_error(steps):
    with pytest.raises(ConfigError, match=f"{steps} steps, but .* 1000 timesteps") as caught:
        build_sampler("ddim", Diffusion(), steps)
    assert "from 1 to 1000" in caught.value.hint
