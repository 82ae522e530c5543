"""Both ways to compute attention agree, forward and backward, and the fused kernel is taken."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from latte_cli.models import attention


def test_explicit_attention_matches_pytorch():
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


def test_only_short_bf16_sequences_use_explicit_attention(monkeypatch):
    taken = []

    def explicit(q, k, v, mask):
        taken.append((q.shape[-2], q.dtype))
        return v

    monkeypatch.setattr(attention, "explicit_attention", explicit)
    monkeypatch.setattr(attention, "sequential_attention", explicit)
    limit = attention.EXPLICIT_BELOW["cpu"]
    for dtype in (torch.bfloat16, torch.float32):
        for length in (limit - 1, limit):
            x = torch.randn(1, 1, length, 2, dtype=dtype)
            assert attention.attend(x, x, x).shape == x.shape
    assert taken == [(limit - 1, torch.bfloat16)]


def test_compiled_code_has_no_loop_over_clips():
    """Its length would grow with the batch, and minutes would go into compiling it."""
    sizes = []

    def backend(graph, _):
        sizes.append(len(graph.graph.nodes))
        return graph.forward

    for clips in (2, 9):
        torch.compiler.reset()
        x = torch.randn(clips, 2, 4, 8).bfloat16()
        compiled = torch.compile(attention.attend, backend=backend, dynamic=False)
        with torch.no_grad():
            torch.testing.assert_close(compiled(x, x, x), attention.attend(x, x, x))
    assert sizes[0] == sizes[1]


def test_on_a_gpu_a_short_sequence_is_one_of_at_most_32_tokens():
    on_gpu = SimpleNamespace(dtype=torch.bfloat16, device=torch.device("cuda"))
    assert [attention._is_short(on_gpu, count) for count in (1, 32, 33)] == [True, True, False]


def test_masked_keys_have_no_effect():
    q, k, v = (torch.randn(2, 3, 4, n, 8) for n in (5, 9, 9))
    mask = (torch.arange(9) < 6).expand(2, 3, 1, 1, 9)
    expected = attention.explicit_attention(q, k[..., :6, :], v[..., :6, :])
    for attend in (attention.explicit_attention, attention.sequential_attention, attention.attend):
        torch.testing.assert_close(attend(q, k, v, mask), expected)
    halves = [part.bfloat16() for part in (q, k, v)]
    for learning in (True, False):
        with torch.set_grad_enabled(learning):
            out = attention.attend(*halves, mask)
        torch.testing.assert_close(out.float(), expected, atol=3e-2, rtol=0)


@pytest.mark.parametrize("axis", ["space", "time"])
def test_attention_along_an_axis_treats_sequences_independently(axis):
    q, k, v = torch.randn(3, 2, 5, 6, 16)
    out = attention.attend_along(axis, q, k, v, heads=4)
    for clip in range(2):
        for place in range(5 if axis == "space" else 6):
            one = (clip, place) if axis == "space" else (clip, slice(None), place)
            parts = (part[one].unflatten(-1, (4, 4)).transpose(0, 1) for part in (q, k, v))
            seen = attention.explicit_attention(*parts).transpose(0, 1).flatten(1)
            torch.testing.assert_close(out[one], seen)


@pytest.mark.parametrize("axis", ["space", "time"])
def test_float32_attention_uses_the_fused_kernel(axis):
    """It takes tensors of four axes alone: with more, weights would be written out instead."""
    q, k, v = torch.randn(3, 2, 5, 6, 16)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        out = attention.attend_along(axis, q, k, v, heads=4)
    torch.testing.assert_close(out, attention.attend_along(axis, q, k, v, heads=4))
