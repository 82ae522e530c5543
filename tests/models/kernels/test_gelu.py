"""GELU, as it is computed plainly and compiled."""

import pytest
import torch

from latte_cli.models.kernels.gelu import TanhGelu


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_the_compiled_form_is_the_tanh_approximation(dtype, tolerance, monkeypatch):
    """Against torch's own, values and gradients, over all of the function's bends."""
    x = torch.linspace(-12, 12, 4001).to(dtype)
    found, expected = x.clone().requires_grad_(), x.clone().double().requires_grad_()
    torch.nn.functional.gelu(expected, approximate="tanh").sum().backward()
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    y = TanhGelu()(found)
    y.sum().backward()
    assert y.dtype == dtype
    reference = torch.nn.functional.gelu(x.double(), approximate="tanh")
    assert torch.allclose(y.double(), reference, rtol=tolerance, atol=tolerance)
    assert torch.allclose(found.grad.double(), expected.grad, rtol=tolerance, atol=tolerance)


def test_uncompiled_it_is_torch_s_own_bit_for_bit():
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(TanhGelu()(x), torch.nn.functional.gelu(x, approximate="tanh"))
