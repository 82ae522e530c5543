"""The training objectives against the published code's numbers and their own identities."""

import pytest
import torch
from helpers.predictors import OBJECTIVES, diffusion, levels, normal, prediction
from torch import Tensor

from latte_cli.config import config_from_tree, load_config
from latte_cli.diffusion import Diffusion, guided
from latte_cli.runtime.errors import ConfigError

T = torch.tensor([0, 1, 300, 700, 998, 999])
SHAPE = (len(T), 2, 4, 4, 4)
CLIP, NOISE = normal(*SHAPE, seed=1), normal(*SHAPE, seed=2)
COVARIANCE = normal(*SHAPE, seed=3)


def noisy(objective, x_start=CLIP, noise=NOISE, t=T):
    signal, sigma = levels(objective, t, x_start)
    return signal * x_start + sigma * noise


def with_covariance(predicted: Tensor) -> Tensor:
    return torch.cat([predicted, COVARIANCE.to(predicted.dtype)], dim=2)


def losses(objective, out):
    return diffusion(objective).losses(lambda x, t: out, CLIP, T, NOISE)


def v_from_noise(noise: Tensor, x_t: Tensor) -> Tensor:
    """The v prediction that is equivalent to a noise prediction (Salimans & Ho 2022, section 4)."""
    signal, sigma = levels("v", T, x_t)
    return (noise - sigma * x_t) / signal


def test_losses_match_published(goldens):
    values = goldens("diffusion")

    def model(x_t: Tensor, t: Tensor) -> Tensor:
        assert torch.allclose(x_t, values["x_t"], atol=1e-6)
        return values["model_out"]

    terms = Diffusion().losses(model, values["x0"], values["t"], values["noise"])
    torch.testing.assert_close(terms.mse, values["loss.mse"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(terms.vlb, values["loss.vb"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(terms.total, values["loss.loss"], atol=1e-5, rtol=1e-5)


def test_the_bound_trains_the_covariance_only():
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(2, 1, 4, 4, 4, generator=generator) for _ in range(2))
    out = torch.randn(2, 1, 8, 4, 4, generator=generator, requires_grad=True)
    terms = Diffusion().losses(lambda x, t: out, x, torch.tensor([0, 500]), noise)
    terms.vlb.sum().backward()
    for_noise, for_covariance = out.grad.chunk(2, dim=2)
    assert (for_noise == 0).all()
    assert (for_covariance != 0).any()


def test_a_perfect_noise_prediction_has_no_mse():
    x, noise = torch.randn(1, 2, 4, 4, 4), torch.randn(1, 2, 4, 4, 4)
    perfect = torch.cat([noise, torch.zeros_like(noise)], dim=2)
    terms = Diffusion().losses(lambda x, t, y: perfect, x, torch.tensor([300]), noise, y=None)
    assert terms.mse.item() == 0
    assert terms.vlb.item() >= 0


def test_posterior_of_the_schedule_is_bayes_rule():
    """Product of the two Gaussians q(x_t | x_{t-1}) and q(x_{t-1} | x_0), DDPM equation 7."""
    s, t = Diffusion().schedule, 400
    prior_variance = 1 - s.alphas_cumprod[t - 1]
    likelihood = (1 - s.betas[t]) / s.betas[t]
    variance = 1 / (1 / prior_variance + likelihood)
    assert torch.isclose(s.posterior_variance[t], variance)
    x_start_weight = variance * s.alphas_cumprod[t - 1].sqrt() / prior_variance
    assert torch.isclose(s.posterior_mean_x_start[t], x_start_weight)
    x_t_weight = variance * (1 - s.betas[t]).sqrt() / s.betas[t]
    assert torch.isclose(s.posterior_mean_x_t[t], x_t_weight)


def test_clamped_signal_to_noise_weights():
    """SNR = a / (1 - a); an error of the noise is one of x_start weighted by it."""
    diffusion = Diffusion()
    t = torch.tensor([0, 100, 300, 700, 999])
    a = diffusion.schedule.alphas_cumprod[t]
    ratio = (a / (1 - a)).float()
    assert torch.equal(diffusion.loss_weight(t, 0.0, None), torch.ones(5))
    min_snr = diffusion.loss_weight(t, 0.0, 5.0)  # Hang et al. 2023: min(SNR, 5) / SNR
    torch.testing.assert_close(min_snr, torch.minimum(ratio, torch.tensor(5.0)) / ratio)
    both = diffusion.loss_weight(t, 1.0, 1.0)
    torch.testing.assert_close(both * ratio, torch.ones(5))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_perfect_prediction_has_no_loss(objective):
    terms = losses(objective, with_covariance(prediction(objective, CLIP, NOISE, T)))
    assert terms.mse.max() < 1e-12
    torch.testing.assert_close(terms.total, terms.mse + terms.vlb)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_x_t_matches_the_papers_formula(objective):
    x_t = diffusion(objective).add_noise(CLIP, T, NOISE)
    torch.testing.assert_close(x_t, noisy(objective))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_x_start_is_recovered_from_any_prediction(objective):
    clip, noise = CLIP.double(), NOISE.double()
    out = with_covariance(prediction(objective, clip, noise, T))
    x_start = diffusion(objective).predict_x_start(out, noisy(objective, clip, noise), T)
    torch.testing.assert_close(x_start, clip, atol=1e-10, rtol=0)


def test_gradients_of_eps_and_v_differ_by_the_signal():
    """A noise wrong by d is a v wrong by d / sqrt(a_t)."""
    predicted = normal(*SHAPE, seed=4).requires_grad_()
    v = v_from_noise(predicted, noisy("v"))
    signal, _ = levels("v", T, T.double())
    (of_noise,) = torch.autograd.grad(
        losses("eps", with_covariance(predicted)).mse.sum(), predicted, retain_graph=True
    )
    weighted = signal.square() * losses("v", with_covariance(v)).mse
    (of_v,) = torch.autograd.grad(weighted.sum(), predicted)
    torch.testing.assert_close(of_v, of_noise, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("floor", "ceiling"), [(0.1, 5.0), (0.5, 2.0), (1.0, None), (1.0, 1.0)])
def test_loss_weights_are_those_of_an_x_start_error(objective, floor, ceiling):
    """Clamped SNR times the squared error of x_start, for every objective."""
    t = torch.tensor([0, 1, 300, 700, 998, 998])
    signal, sigma = levels(objective, t, t.double())
    believed = normal(*SHAPE, seed=5, dtype=torch.float64)
    clip, x_t = CLIP.double(), noisy(objective, CLIP.double(), NOISE.double(), t)
    signals, sigmas = levels(objective, t, believed)
    out = prediction(objective, believed, (x_t - signals * believed) / sigmas, t)
    truth = prediction(objective, clip, NOISE.double(), t)
    mse = (out - truth).square().mean(dim=(1, 2, 3, 4))
    weighted = diffusion(objective).loss_weight(t, floor, ceiling) * mse
    ratio = (signal / sigma).square().clamp(min=floor, max=ceiling)
    expected = ratio * (believed - clip).square().mean(dim=(1, 2, 3, 4))
    torch.testing.assert_close(weighted, expected, rtol=1e-5, atol=1e-8)


def test_min_snr_weights_match_the_paper():
    """Hang et al. 2023: min(SNR, 5) / SNR for the noise, min(SNR, 5) / (SNR + 1) for v."""
    signal, sigma = levels("v", T, T.double())
    ratio = (signal / sigma).square()
    least = ratio.clamp(max=5)
    of = {name: diffusion(name).loss_weight(T, 0.0, 5.0) for name in ("eps", "v")}
    torch.testing.assert_close(of["eps"], (least / ratio).float())
    torch.testing.assert_close(of["v"], (least / (ratio + 1)).float())


def test_flow_needs_an_snr_floor():
    """Without it, pure noise, where sampling begins, has no weight."""
    s = (T.double() + 1) / 1000
    expected = torch.maximum(torch.minimum((1 - s) ** 2, 5 * s**2), 0.1 * s**2).float()
    torch.testing.assert_close(diffusion("flow").loss_weight(T, 0.1, 5.0), expected)
    with pytest.raises(ConfigError, match="with snr_floor 0") as caught:
        diffusion("flow").loss_weight(T, 0.0, 5.0)
    assert "train.snr_floor" in caught.value.hint


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_without_bounds_weights_are_one(objective):
    assert torch.equal(diffusion(objective).loss_weight(T, 0.0, None), torch.ones(len(T)))


def test_equivalent_eps_and_v_predictions_have_the_same_bound_and_reverse_step():
    noise, x_t = normal(*SHAPE, seed=6).double(), noisy("eps").double()
    outs = {"eps": with_covariance(noise), "v": with_covariance(v_from_noise(noise, x_t))}
    steps = [diffusion(name).reverse_step(out, x_t, T) for name, out in outs.items()]
    for ours, theirs in zip(vars(steps[0]).values(), vars(steps[1]).values(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-8, rtol=1e-8)
    bounds = [losses(name, out).vlb for name, out in outs.items()]
    torch.testing.assert_close(*bounds, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_which_loss_trains_which_channels(objective):
    out = normal(len(T), 2, 8, 4, 4, seed=7).requires_grad_()
    terms = losses(objective, out)
    (of_mse,) = torch.autograd.grad(terms.mse.sum(), out, retain_graph=True)
    assert of_mse[:, :, :4].all()
    assert not of_mse[:, :, 4:].any()
    (of_total,) = torch.autograd.grad(terms.total.sum(), out)
    assert torch.equal(of_total[:, :, :4], of_mse[:, :, :4]), "the bound does not train them"
    if objective == "flow":
        assert not terms.vlb.any()
        assert torch.equal(of_total, of_mse)
    else:
        assert of_total[:, :, 4:].flatten(1).any(dim=1).all()


def test_guidance_of_v_is_guidance_of_eps():
    """Both are linear in x_start at a given x_t, and guidance extrapolates linearly."""
    x_t, y = noisy("v"), torch.arange(len(T))

    def of_noise(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        noise = 0.5 * x.roll(1, dims=1) + 0.1 * y.reshape(-1, 1, 1, 1, 1)
        return torch.cat([noise, torch.tanh(x)], dim=2)

    def of_v(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        noise, covariance = of_noise(x, t, y).chunk(2, dim=2)
        signal, sigma = levels("v", t, x)
        return torch.cat([(noise - sigma * x) / signal, covariance], dim=2)

    conditioning, unconditional = {"y": y}, {"y": torch.full_like(y, 7)}
    noise, covariance = guided(of_noise, conditioning, unconditional, 4.0)(x_t, T).chunk(2, dim=2)
    out = guided(of_v, conditioning, unconditional, 4.0)(x_t, T)
    expected = torch.cat([v_from_noise(noise, x_t), covariance], dim=2)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)


def test_the_default_objective_is_eps():
    config = load_config("ucf101", ["diffusion.objective=v"])
    assert Diffusion(**config.diffusion.model_dump()).objective == "v"
    assert load_config("ucf101").diffusion.objective == Diffusion().objective == "eps"
    older = load_config("ucf101").model_dump()
    del older["diffusion"]["objective"]
    assert config_from_tree(older).diffusion.objective == "eps", (
        "older configurations have no such key"
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["diffusion.objective=x0"], "`diffusion.objective` is 'x0'"),
        (["diffusion.objective=flow", "sample.sampler=ddpm"], "must be euler, dpm"),
        (["diffusion.objective=flow", "sample.sampler=ddim", "sample.eta=1"], "eta must be 0"),
        (["sample.sampler=heun"], "`sample.sampler` is 'heun'.*'unipc', 'euler' or 'flow-map'"),
        (["sample.eta=0.5"], "sample.eta is 0.5, but sample.sampler is ddpm"),
        (["sample.guidance_interval=[0.8, 0.2]"], "0.8 to 0.2, but must be two numbers"),
        (["sample.guidance_interval=[0, 1.5]"], "0 to 1.5, but must be two numbers"),
        (["sample.guidance_interval=0.5"], "`sample.guidance_interval"),
        (["sample.guided_channels=5"], "guided_channels is 5, more than the 4"),
    ],
)
def test_incompatible_settings_raise_config_error(overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_config(None, overrides)


def test_the_default_sampler_for_flow_is_euler():
    def sampler(preset, *overrides):
        return load_config(preset, overrides).sample.sampler

    assert sampler(None) == "ddpm"
    assert sampler(None, "diffusion.objective=v") == "ddpm"
    assert sampler(None, "diffusion.objective=flow", "sample.steps=10") == "euler"
    assert sampler(None, "diffusion.objective=flow", "sample.sampler=unipc") == "unipc"
    assert sampler("shapes", "diffusion.objective=flow") == "ddim", "as the preset has it"


def test_logit_normal_timesteps_have_the_mean_and_spread_of_their_logits():
    """SD3 (Esser et al. 2024), equation 19."""
    diffusion = Diffusion(
        objective="flow", timestep_sampling="logit-normal", timestep_mean=0.5, timestep_std=0.8
    )
    generator = torch.Generator().manual_seed(0)
    t = torch.tensor([diffusion.sample_times(0, generator)[0] for _ in range(4000)])
    assert t.min() >= 0
    assert t.max() < 1000
    logits = torch.logit((t.double() + 0.5) / 1000)
    assert logits.mean().item() == pytest.approx(0.5, abs=0.05)
    assert logits.std().item() == pytest.approx(0.8, abs=0.05)


def test_uniform_timesteps_are_those_of_earlier_versions():
    ours, _ = Diffusion().sample_times(0, torch.Generator().manual_seed(7))
    assert ours == int(torch.randint(1000, (), generator=torch.Generator().manual_seed(7)))
