"""Both ways to compute attention agree, forward and backward."""

import torch
import torch.nn.functional as F

from latte_cli.models import attention


def test_explicit_attention_is_pytorchs():
    q, k, v = (torch.randn(2, 3, 4, 16, 8, dtype=torch.double, requires_grad=True) for _ in "qkv")
    ours, theirs = attention.explicit_attention(q, k, v), F.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn_like(ours)
    for a, b in zip(
        torch.autograd.grad(ours, (q, k, v), upstream),
        torch.autograd.grad(theirs, (q, k, v), upstream),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_long_sequences_take_the_fused_kernel(monkeypatch):
    taken = []
    monkeypatch.setattr(attention, "explicit_attention", lambda q, k, v: taken.append("explicit"))
    short = torch.randn(1, 1, attention.EXPLICIT_ON_CPU_BELOW - 1, 2)
    long = torch.randn(1, 1, attention.EXPLICIT_ON_CPU_BELOW, 2)
    attention.attend(short, short, short)
    assert taken == ["explicit"]
    assert attention.attend(long, long, long).shape == long.shape
    assert taken == ["explicit"]
