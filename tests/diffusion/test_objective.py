"""The training objective against the published code's numbers and its own identities."""

import torch
from torch import Tensor

from latte_cli.diffusion import Diffusion


def test_losses_match_published(goldens):
    values = goldens("diffusion")

    def model(x_t: Tensor, t: Tensor) -> Tensor:
        assert torch.allclose(x_t, values["x_t"], atol=1e-6)
        return values["model_out"]

    terms = Diffusion().losses(model, values["x0"], values["t"], values["noise"])
    torch.testing.assert_close(terms.mse, values["loss.mse"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(terms.vlb, values["loss.vb"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(terms.total, values["loss.loss"], atol=1e-5, rtol=1e-5)


def test_the_bound_teaches_the_covariance_only():
    generator = torch.Generator().manual_seed(0)
    x, noise = (torch.randn(2, 1, 4, 4, 4, generator=generator) for _ in range(2))
    out = torch.randn(2, 1, 8, 4, 4, generator=generator, requires_grad=True)
    terms = Diffusion().losses(lambda x, t: out, x, torch.tensor([0, 500]), noise)
    terms.vlb.sum().backward()
    for_noise, for_covariance = out.grad.chunk(2, dim=2)
    assert (for_noise == 0).all()
    assert (for_covariance != 0).any()


def test_a_perfect_prediction_has_no_simple_loss():
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
    assert torch.equal(diffusion.noise_loss_weight(t, 0.0, None), torch.ones(5))
    min_snr = diffusion.noise_loss_weight(t, 0.0, 5.0)  # Hang et al. 2023: min(SNR, 5) / SNR
    torch.testing.assert_close(min_snr, torch.minimum(ratio, torch.tensor(5.0)) / ratio)
    both = diffusion.noise_loss_weight(t, 1.0, 1.0)
    torch.testing.assert_close(both * ratio, torch.ones(5))
