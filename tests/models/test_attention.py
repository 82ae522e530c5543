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


def test_only_short_bf16_sequences_are_written_out(monkeypatch):
    taken = []

    def explicit(q, k, v, mask):
        taken.append((q.shape[-2], q.dtype))
        return v

    monkeypatch.setattr(attention, "explicit_attention", explicit)
    for dtype in (torch.bfloat16, torch.float32):
        for length in (attention.EXPLICIT_BELOW - 1, attention.EXPLICIT_BELOW):
            x = torch.randn(1, 1, length, 2, dtype=dtype)
            assert attention.attend(x, x, x).shape == x.shape
    assert taken == [(attention.EXPLICIT_BELOW - 1, torch.bfloat16)]
