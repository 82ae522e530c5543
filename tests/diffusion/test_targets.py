"""What the objectives have in common, and how one follows from another."""

import pytest
import torch
from helpers.predictors import OBJECTIVES, diffusion, drawn, levels, said
from torch import Tensor

from latte_cli.config import config_from_tree, load_config
from latte_cli.diffusion import Diffusion, guided
from latte_cli.runtime.errors import ConfigError

T = torch.tensor([0, 1, 300, 700, 998, 999])
SHAPE = (len(T), 2, 4, 4, 4)
CLIP, NOISE = drawn(*SHAPE, seed=1), drawn(*SHAPE, seed=2)
COVARIANCE = drawn(*SHAPE, seed=3)


def noisy(objective, x_start=CLIP, noise=NOISE, t=T):
    signal, sigma = levels(objective, t, x_start)
    return signal * x_start + sigma * noise


def with_covariance(predicted: Tensor) -> Tensor:
    return torch.cat([predicted, COVARIANCE.to(predicted.dtype)], dim=2)


def losses(objective, out):
    return diffusion(objective).losses(lambda x, t: out, CLIP, T, NOISE)


def v_from_noise(noise: Tensor, x_t: Tensor) -> Tensor:
    """The v that says of x_t what a predicted noise says (Salimans & Ho 2022, section 4)."""
    signal, sigma = levels("v", T, x_t)
    return (noise - sigma * x_t) / signal


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_network_that_knows_clip_and_noise_has_no_loss(objective):
    terms = losses(objective, with_covariance(said(objective, CLIP, NOISE, T)))
    assert terms.mse.max() < 1e-12
    torch.testing.assert_close(terms.total, terms.mse + terms.vlb)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_noisy_clip_is_the_papers_mixture(objective):
    x_t = diffusion(objective).add_noise(CLIP, T, NOISE)
    torch.testing.assert_close(x_t, noisy(objective))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_clean_clip_is_found_in_any_prediction(objective):
    clip, noise = CLIP.double(), NOISE.double()
    out = with_covariance(said(objective, clip, noise, T))
    x_start = diffusion(objective).predict_x_start(out, noisy(objective, clip, noise), T)
    torch.testing.assert_close(x_start, clip, atol=1e-10, rtol=0)


def test_the_gradients_of_noise_and_v_differ_by_the_signal():
    """A noise wrong by d is a v wrong by d / sqrt(a_t)."""
    predicted = drawn(*SHAPE, seed=4).requires_grad_()
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
def test_weights_are_of_an_error_of_the_clean_clip(objective, floor, ceiling):
    """Clamped SNR times the squared error of x_start, whatever it was derived from."""
    way, t = diffusion(objective), torch.tensor([0, 1, 300, 700, 998, 998])
    signal, sigma = levels(objective, t, t.double())
    believed = drawn(*SHAPE, seed=5, dtype=torch.float64)
    clip, x_t = CLIP.double(), noisy(objective, CLIP.double(), NOISE.double(), t)
    signals, sigmas = levels(objective, t, believed)
    out = said(objective, believed, (x_t - signals * believed) / sigmas, t)
    truth = said(objective, clip, NOISE.double(), t)
    mse = (out - truth).square().mean(dim=(1, 2, 3, 4))
    weighted = way.noise_loss_weight(t, floor, ceiling) * mse
    ratio = (signal / sigma).square().clamp(min=floor, max=ceiling)
    expected = ratio * (believed - clip).square().mean(dim=(1, 2, 3, 4))
    torch.testing.assert_close(weighted, expected, rtol=1e-5, atol=1e-8)


def test_min_snr_weights_are_the_papers():
    """Hang et al. 2023: min(SNR, 5) / SNR for the noise, min(SNR, 5) / (SNR + 1) for v."""
    signal, sigma = levels("v", T, T.double())
    ratio = (signal / sigma).square()
    least = ratio.clamp(max=5)
    of = {name: diffusion(name).noise_loss_weight(T, 0.0, 5.0) for name in ("eps", "v")}
    torch.testing.assert_close(of["eps"], (least / ratio).float())
    torch.testing.assert_close(of["v"], (least / (ratio + 1)).float())


def test_flow_is_weighted_with_a_floor():
    """Or pure noise, where its sampling begins, would weigh nothing."""
    s = (T.double() + 1) / 1000
    expected = torch.maximum(torch.minimum((1 - s) ** 2, 5 * s**2), 0.1 * s**2).float()
    torch.testing.assert_close(diffusion("flow").noise_loss_weight(T, 0.1, 5.0), expected)
    with pytest.raises(ConfigError, match="snr_floor is 0") as caught:
        diffusion("flow").noise_loss_weight(T, 0.0, 5.0)
    assert "train.snr_floor" in caught.value.hint


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_without_bounds_each_objective_is_plain(objective):
    assert torch.equal(diffusion(objective).noise_loss_weight(T, 0.0, None), torch.ones(len(T)))


def test_noise_and_v_of_one_belief_have_the_same_bound_and_step():
    noise, x_t = drawn(*SHAPE, seed=6).double(), noisy("eps").double()
    outs = {"eps": with_covariance(noise), "v": with_covariance(v_from_noise(noise, x_t))}
    steps = [diffusion(name).reverse_step(out, x_t, T) for name, out in outs.items()]
    for ours, theirs in zip(vars(steps[0]).values(), vars(steps[1]).values(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-8, rtol=1e-8)
    bounds = [losses(name, out).vlb for name, out in outs.items()]
    torch.testing.assert_close(*bounds, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_what_each_half_of_the_channels_learns_from(objective):
    out = drawn(len(T), 2, 8, 4, 4, seed=7).requires_grad_()
    terms = losses(objective, out)
    (of_mse,) = torch.autograd.grad(terms.mse.sum(), out, retain_graph=True)
    assert of_mse[:, :, :4].all()
    assert not of_mse[:, :, 4:].any()
    (of_total,) = torch.autograd.grad(terms.total.sum(), out)
    assert torch.equal(of_total[:, :, :4], of_mse[:, :, :4]), "the bound does not reach them"
    if objective == "flow":
        assert not terms.vlb.any()
        assert torch.equal(of_total, of_mse)
    else:
        assert of_total[:, :, 4:].flatten(1).any(dim=1).all()


def test_guiding_v_is_guiding_the_noise():
    """Both are lines in x_start at a given x_t, and so is what lies beyond the two halves."""
    x_t, y = noisy("v"), torch.arange(len(T))

    def of_noise(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        noise = 0.5 * x.roll(1, dims=1) + 0.1 * y.reshape(-1, 1, 1, 1, 1)
        return torch.cat([noise, torch.tanh(x)], dim=2)

    def of_v(x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        noise, covariance = of_noise(x, t, y).chunk(2, dim=2)
        signal, sigma = levels("v", t, x)
        return torch.cat([(noise - sigma * x) / signal, covariance], dim=2)

    told, untold = {"y": y}, {"y": torch.full_like(y, 7)}
    noise, covariance = guided(of_noise, told, untold, 4.0)(x_t, T).chunk(2, dim=2)
    out = guided(of_v, told, untold, 4.0)(x_t, T)
    expected = torch.cat([v_from_noise(noise, x_t), covariance], dim=2)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)


def test_the_objective_is_a_setting_and_the_papers_by_default():
    config = load_config("ucf101", ["diffusion.objective=v"])
    assert Diffusion(**config.diffusion.model_dump()).objective == "v"
    assert load_config("ucf101").diffusion.objective == Diffusion().objective == "eps"
    older = load_config("ucf101").model_dump()
    del older["diffusion"]["objective"]
    assert config_from_tree(older).diffusion.objective == "eps", "as they were all trained"


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["diffusion.objective=x0"], "`diffusion.objective` is 'x0'"),
        (["diffusion.objective=flow", "sample.sampler=ddpm"], "must be euler, dpm"),
        (["diffusion.objective=flow", "sample.sampler=ddim", "sample.eta=1"], "eta must be 0"),
        (["sample.sampler=heun"], "`sample.sampler` is 'heun'.*'unipc' or 'euler'"),
        (["sample.eta=0.5"], "sample.eta is 0.5, but sample.sampler is ddpm"),
        (["sample.guidance_interval=[0.8, 0.2]"], "0.8 to 0.2, but must be two numbers"),
        (["sample.guidance_interval=[0, 1.5]"], "0 to 1.5, but must be two numbers"),
        (["sample.guidance_interval=0.5"], "`sample.guidance_interval"),
        (["sample.guided_channels=5"], "guided_channels is 5, more than the 4"),
    ],
)
def test_settings_that_do_not_go_together_are_told_in_words(overrides, told):
    with pytest.raises(ConfigError, match=told):
        load_config(None, overrides)


def test_flow_has_a_sampler_of_its_own_where_none_is_asked_for():
    def sampler(preset, *overrides):
        return load_config(preset, overrides).sample.sampler

    assert sampler(None) == "ddpm"
    assert sampler(None, "diffusion.objective=v") == "ddpm"
    assert sampler(None, "diffusion.objective=flow", "sample.steps=10") == "euler"
    assert sampler(None, "diffusion.objective=flow", "sample.sampler=unipc") == "unipc"
    assert sampler("shapes", "diffusion.objective=flow") == "ddim", "as the preset has it"
