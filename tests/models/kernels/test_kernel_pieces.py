"""Attention over time in pieces: the same as in one, and no copy is larger than a piece."""

import pytest
import torch
from helpers.copies import copied_bytes

from latte_cli.models.attention import Images, attend_along, attend_in_time
from latte_cli.models.kernels import pieces

HEADS = 2


@pytest.fixture
def dtype() -> torch.dtype:
    return torch.double


@pytest.fixture
def small_pieces(monkeypatch, dtype) -> None:
    """Of two locations of one clip."""
    monkeypatch.setattr(pieces, "_PIECE_BYTES", 2 * HEADS * 5 * 8 * dtype.itemsize)


def with_gradients(attend, qkv: torch.Tensor, upstream: torch.Tensor) -> list[torch.Tensor]:
    leaf = qkv.clone().requires_grad_()
    out = attend(leaf)
    return [out, torch.autograd.grad(out, leaf, upstream)[0]]


@pytest.mark.parametrize("joint", ["temporal-mask", "only-video"])
@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize("images", [0, 2])
def test_pieces_are_the_whole(small_pieces, images, joined, joint):
    qkv = torch.randn(3, 5 + images, 5, 3 * HEADS * 8, dtype=torch.double)
    upstream, how = torch.randn_like(qkv[..., : HEADS * 8]), Images(images, joint)

    def ours(x):
        return attend_in_time([x] if joined else x.chunk(3, dim=-1), HEADS, how)

    def plain(x):
        return attend_along("time", *x.chunk(3, dim=-1), HEADS, how)

    found, wanted = (with_gradients(each, qkv, upstream) for each in (ours, plain))
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        torch.testing.assert_close(ours(qkv), wanted[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_no_copy_is_larger_than_a_piece(small_pieces, dtype):
    """All copies together are q, k, v, the output and their gradients: none is made twice."""
    x = torch.randn(2, 5, 6, 3 * HEADS * 8, dtype=dtype, requires_grad=True)
    with copied_bytes() as copied:
        attend_in_time([x], HEADS).sum().backward()
    assert max(copied) <= 2 * HEADS * 5 * 8 * dtype.itemsize
    of_output = x.nbytes // 3
    assert sum(copied) <= 8 * of_output
    with copied_bytes() as copied:
        attend_along("time", *x.chunk(3, dim=-1), HEADS).sum().backward()
    assert max(copied) >= of_output


def test_one_frame_is_its_value():
    """And its queries, keys and values are not copies, which must stay as they are."""
    qkv = torch.randn(2, 1, 3, 3 * HEADS * 8)
    before = qkv.clone()
    out = attend_in_time([qkv], HEADS)
    torch.testing.assert_close(out, qkv[..., 2 * HEADS * 8 :])
    assert torch.equal(qkv, before)


def test_autocast_does_not_reach_into_pieces():
    qkv = torch.randn(1, 4, 3, 3 * HEADS * 8)
    with torch.autocast("cpu", torch.bfloat16):
        out = attend_in_time([qkv], HEADS)
    assert torch.equal(out, attend_in_time([qkv], HEADS))
