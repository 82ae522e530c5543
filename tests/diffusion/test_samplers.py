"""The samplers against the published code's numbers (tests/goldens) and an exact model."""

import diffusers.schedulers.scheduling_ddpm as diffusers_ddpm
import pytest
import torch
from torch import Tensor

from latte_cli.diffusion import Diffusion, build_sampler, denoise, guided
from latte_cli.diffusion.schedule import respaced_timesteps


def _assert_near(ours: Tensor, reference: Tensor) -> None:
    """1e-5 of the reference's largest value, as its notes ask."""
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


@pytest.mark.parametrize("name", ["ddpm", "ddim"])
@pytest.mark.parametrize("steps", [1, 7, 50])
def test_a_model_that_knows_the_answer_leads_to_it(name, steps):
    diffusion = Diffusion()
    generator = torch.Generator().manual_seed(0)
    answer = torch.randn(2, 3, 4, 8, 8, generator=generator)
    signal = diffusion.schedule.alphas_cumprod.float()

    def oracle(x: Tensor, t: Tensor) -> Tensor:
        a = signal[t].reshape(-1, 1, 1, 1, 1)
        noise = (x - a.sqrt() * answer) / (1 - a).sqrt()
        return torch.cat([noise, torch.zeros_like(noise)], dim=2)

    noise = torch.randn(answer.shape, generator=generator)
    sampler = build_sampler(name, diffusion, steps)
    sample = denoise(oracle, noise, sampler, [generator, generator])
    assert torch.allclose(sample, answer, atol=1e-3)


def test_a_clip_depends_on_its_own_generator_alone():
    sampler = build_sampler("ddpm", Diffusion(), 5)

    def model(x: Tensor, t: Tensor) -> Tensor:
        return torch.cat([0.5 * x, torch.zeros_like(x)], dim=2)

    def run(seeds: list[int]) -> Tensor:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        noise = torch.stack([torch.randn(2, 4, 4, 4, generator=g) for g in generators])
        return denoise(model, noise, sampler, generators)

    assert torch.equal(run([3, 4, 5])[1], run([4])[0])


def test_respaced_timesteps_reach_both_ends():
    assert respaced_timesteps(1000, 4) == [0, 333, 666, 999]
    assert respaced_timesteps(1000, 1) == [0]
    assert respaced_timesteps(10, 10) == list(range(10))


def test_guidance_scale_one_and_no_label_are_the_plain_model():
    x, t, y = torch.randn(2, 1, 4, 2, 2), torch.zeros(2), torch.tensor([0, 1])

    def model(x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        label = 0.0 if y is None else y.reshape(-1, 1, 1, 1, 1)
        return torch.cat([x + label, x], dim=2)

    assert torch.equal(guided(model, y, 7, 1.0)(x, t), model(x, t, y))
    assert torch.equal(guided(model, None, None, 4.0)(x, t), model(x, t))
    towards = guided(model, y, 7, 2.0)(x, t).chunk(2, dim=2)[0]
    assert torch.allclose(towards, x + 2 * y.reshape(-1, 1, 1, 1, 1) - 7)
