"""Attention over whole frames (FrameDiT-G and -H): its definition, images, positions and grids."""

# Axes: b clips, f frames, i images, s tokens of a frame, d width, m heads, e width of a head,
# r queries of a frame.

import pytest
import torch
import torch.nn.functional as F
from helpers.networks import (
    OF_WHOLE_FRAMES,
    initial_latte,
    random_latte,
    randomized,
    relative_error,
    small_shape,
)
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from latte_cli.config import load_config
from latte_cli.models import shape_from_config
from latte_cli.models.attention import Axis, Images, Joint
from latte_cli.models.embeddings import interpolate_grid
from latte_cli.models.exporting import config_for_shape, write_published
from latte_cli.models.layers import FrameAttention, FrameQueries
from latte_cli.runtime.errors import ConfigError, LatteWarning

AXES: list[tuple[Axis, ...]] = [("frames",), ("time", "frames")]
both = pytest.mark.parametrize("axes", AXES, ids="-".join)
HEADS = 4


def random_attention(axes: tuple[Axis, ...], queries: int = 3, rotary: bool = False):
    """Of 2 x 2 tokens of width 16."""
    return randomized(FrameAttention(16, HEADS, axes, FrameQueries(2, queries), rotary), std=0.5)


def written_out(
    attention: FrameAttention, x: Tensor, logits: Tensor, mask: Tensor | None = None
) -> Tensor:
    """The definition, a head after another: (b, f, s, d) -> (b, f, s, d).

    Args:
        attention: whose weights are used.
        x: tokens.
        logits: U of the queries and of the keys, (s, r) each.
        mask: frames that a frame attends to, (f, f) bool; None for all.
    """
    u_q, u_k = (each.softmax(dim=0) for each in logits)
    q = torch.einsum("sr,bfsd,ed->bfre", u_q, x, attention.q.weight) + attention.qk_bias[0]
    k = torch.einsum("sr,bfsd,ed->bfre", u_k, x, attention.k.weight) + attention.qk_bias[1]
    v = torch.einsum("bfsd,ed->bfse", x, attention.v.weight)
    width = x.shape[-1] // HEADS
    seen = torch.cat([_head(q, k, v, n, width, attention.rotary, mask) for n in range(HEADS)], -1)
    if attention.qkv is not None:
        local = attention.qkv(x).chunk(3, dim=-1)
        # One token at a time is a frame of a single token, which is its own query and key.
        own = [
            torch.cat(
                [_head(*(part[:, :, s, None] for part in local), n, width, attention.rotary, mask)
                 for n in range(HEADS)], -1)
            for s in range(x.shape[2])
        ]  # fmt: skip
        seen = torch.cat([torch.cat(own, dim=2), seen], dim=-1)
    return seen @ attention.proj.weight.T + attention.proj.bias


def _head(
    q: Tensor, k: Tensor, v: Tensor, head: int, width: int, rotary: bool, mask: Tensor | None
) -> Tensor:
    q, k, v = (part[..., head * width : (head + 1) * width] for part in (q, k, v))
    if rotary:
        q, k = turned(q), turned(k)
    scores = torch.einsum("bfre,bgre->bfg", q, k) / (q.shape[2] * width) ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return torch.einsum("bfg,bgse->bfse", scores.softmax(dim=-1), v)


def turned(x: Tensor) -> Tensor:
    """Rotary positions of frames by complex numbers: (b, f, r, e)."""
    angles = torch.arange(x.shape[1])[:, None] * 10000.0 ** -torch.arange(0, 1, 2 / x.shape[-1])
    turns = torch.polar(torch.ones_like(angles), angles)[:, None]
    pairs = torch.complex(*x.chunk(2, dim=-1)) * turns
    return torch.cat([pairs.real, pairs.imag], dim=-1)


@both
@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("queries", [1, 4])
def test_it_is_what_the_paper_defines(axes, rotary, queries):
    attention = random_attention(axes, queries, rotary)
    x = torch.randn(2, 5, 4, 16)
    expected = written_out(attention, x, attention.qk_logits.mT)
    assert relative_error(attention(x), expected) < 1e-5


@pytest.mark.parametrize("variant", OF_WHOLE_FRAMES)
def test_a_temporal_block_is_this_attention_and_an_mlp(variant):
    block = random_latte(variant=variant, frame_queries=3).blocks[1]
    x, c = torch.randn(2, 3, 4, 16), torch.randn(2, 1, 1, 16)
    shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = block.adaLN_modulation(c).chunk(6, dim=-1)
    y = F.layer_norm(x, (16,), eps=1e-6) * (1 + scale) + shift
    y = x + gate * written_out(block.attn, y, block.attn.qk_logits.mT)
    z = F.layer_norm(y, (16,), eps=1e-6) * (1 + scale_mlp) + shift_mlp
    assert relative_error(block(x, c), y + gate_mlp * block.mlp(z)) < 1e-5


@pytest.mark.parametrize("variant", OF_WHOLE_FRAMES)
def test_spatial_blocks_are_those_of_variant_1(variant):
    plain, ours = (random_latte(variant=v).blocks[0] for v in (1, variant))
    ours.load_state_dict(plain.state_dict())
    x, c = torch.randn(2, 3, 4, 16), torch.randn(2, 1, 1, 16)
    assert torch.equal(ours(x, c), plain(x, c))


@both
@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("joint", ["temporal-mask", "only-video"])
def test_images_attend_to_themselves_or_skip(axes, rotary, joint: Joint):
    attention = random_attention(axes, rotary=rotary)
    x, frames, images = torch.randn(2, 7, 4, 16), 4, 3
    mask = torch.eye(frames + images, dtype=torch.bool)
    mask[:frames, :frames] = True
    expected = written_out(attention, x, attention.qk_logits.mT, mask)
    if joint == "only-video":
        expected[:, frames:] = attention.proj.bias
    assert relative_error(attention(x, Images(images, joint)), expected) < 1e-5


@both
@pytest.mark.parametrize("rotary", [False, True])
def test_only_rotary_attention_sees_the_order_of_frames(axes, rotary):
    attention, x = random_attention(axes, rotary=rotary), torch.randn(1, 4, 4, 16)
    order = torch.tensor([2, 0, 3, 1])
    error = relative_error(attention(x[:, order]), attention(x)[:, order])
    assert error > 1e-2 if rotary else error < 1e-5


def test_tokens_are_weighted_by_their_places():
    attention, x = random_attention(("frames",)), torch.randn(1, 4, 4, 16)
    places = torch.tensor([3, 1, 0, 2])
    out = attention(x)[:, :, places]
    assert relative_error(attention(x[:, :, places]), out) > 1e-2
    with torch.no_grad():
        attention.qk_logits.copy_(attention.qk_logits[:, :, places])
    assert relative_error(attention(x[:, :, places]), out) < 1e-5


class LargestTensor(TorchDispatchMode):
    """Counts the elements of the largest tensor that any operation makes."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for value in out if isinstance(out, (tuple, list)) else [out]:
            self.elements = max(self.elements, value.numel())
        return out


def test_no_tensor_is_larger_than_the_tokens():
    attention = randomized(FrameAttention(16, HEADS, ("frames",), FrameQueries(6, 8)))
    x = torch.randn(2, 32, 36, 16)  # weights of tokens for tokens would be 32 times as many
    with torch.no_grad(), LargestTensor() as largest:
        attention(x)
    assert largest.elements == x.numel()


@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (8, 8), (2, 2), (3, 8), (1, 16)])
def test_another_grids_tokens_have_the_values_at_their_positions(rows, columns):
    """Those of `spatial_table`: n tokens are at 0, base/n, 2 base/n, …; the edge has the last."""
    trained = torch.arange(4, dtype=torch.float64)
    row, column = torch.meshgrid(trained, trained, indexing="ij")
    values = torch.stack([row, column, row * column]).flatten(1)
    found = interpolate_grid(values, 4, (rows, columns)).unflatten(-1, (rows, columns))
    at = [(torch.arange(n) * 4 / n).clamp(max=3).double() for n in (rows, columns)]
    row, column = torch.meshgrid(*at, indexing="ij")
    torch.testing.assert_close(found, torch.stack([row, column, row * column]))


@both
@pytest.mark.parametrize("grid", [(4, 4), (1, 4), (3, 2)])
def test_on_another_grid_the_weights_of_tokens_are_interpolated(axes, grid):
    """Also on one of as many tokens as the trained 2 x 2."""
    attention = random_attention(axes)
    x = torch.randn(1, 3, grid[0] * grid[1], 16)
    logits = interpolate_grid(attention.qk_logits, 2, grid)
    assert relative_error(attention(x, grid=grid), written_out(attention, x, logits.mT)) < 1e-5
    at_home = torch.randn(1, 3, 4, 16)
    assert torch.equal(attention(at_home, grid=(2, 2)), attention(at_home))


@pytest.mark.parametrize("design", [{"variant": 5}, {"variant": 6, "temporal_position": "rope"}])
def test_networks_run_on_other_sizes_and_lengths(design):
    model = random_latte(num_classes=None, **design)
    grids = []
    model.blocks[1].attn.register_forward_pre_hook(lambda _, given: grids.append(given[2]))
    for rows, columns in ((8, 8), (4, 10)):
        out = model(torch.randn(1, 4, 4, rows, columns), torch.zeros(1))
        assert out.shape == (1, 4, 8, rows, columns)
    assert grids == [(4, 4), (2, 5)]
    with pytest.warns(LatteWarning, match="7 frames"):
        assert model(torch.randn(1, 7, 4, 4, 4), torch.zeros(1)).isfinite().all()


@pytest.mark.parametrize("variant", OF_WHOLE_FRAMES)
def test_in_bf16_it_stays_close(variant):
    attention = random_latte(variant=variant).blocks[1].attn
    x = torch.randn(2, 4, 4, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = attention(x)
    assert low.dtype == torch.bfloat16
    assert relative_error(low.float(), attention(x)) < 2e-2


@pytest.mark.parametrize("variant", OF_WHOLE_FRAMES)
def test_queries_of_a_frame_differ_from_the_start(variant):
    """With equal U they would have equal gradients and stay one."""
    attention = initial_latte(variant=variant).blocks[1].attn
    weights = attention.qk_logits.softmax(dim=-1)
    assert (weights.diff(dim=1).abs().amax(dim=-1) > 1e-3).all()
    assert (weights[0] != weights[1]).any(), "those of queries and keys are their own"
    assert not attention.qk_bias.any()


def test_the_number_of_queries():
    assert [small_shape(variant=v).frame_queries for v in (1, 5, 6)] == [None, 4, 4]
    assert small_shape(variant=5, latent_size=32).frame_queries == 64
    assert small_shape(variant=5, frame_queries=1).frame_queries == 1
    own = load_config(None, ["model.variant=5", "model.frame_queries=9"])
    assert shape_from_config(own).frame_queries == 9


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.variant=5", "model.frame_queries=0"], "frame_queries"),
        (["model.condition=text", "model.frame_queries=3"], "model.condition text needs None"),
        (["model.condition=text", "model.variant=5"], "model.condition text needs 1"),
    ],
)
def test_settings_that_do_not_go_together_raise_config_error(words, message):
    with pytest.raises(ConfigError, match=message):
        load_config(None, words)


def test_the_published_format_does_not_hold_it(tmp_path):
    for variant in OF_WHOLE_FRAMES:
        with pytest.raises(ConfigError, match=f"has no variant {variant}"):
            write_published(random_latte(variant=variant), tmp_path / "weights.pt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("variant", OF_WHOLE_FRAMES)
def test_a_shape_is_the_same_after_its_configuration(variant):
    shape = random_latte(variant=variant, frame_queries=3).shape
    assert shape_from_config(config_for_shape(shape, load_config("shapes"))) == shape


@pytest.mark.parametrize("variant", OF_WHOLE_FRAMES)
def test_it_has_a_forward_mode_derivative(variant):
    """That flow maps are trained with."""
    model = random_latte(variant=variant, num_classes=None).double()
    x, direction = torch.randn(2, 1, 4, 4, 4, 4, dtype=torch.float64)
    t = torch.full((1,), 400.0, dtype=torch.float64)
    with sdpa_kernel(SDPBackend.MATH):  # for spatial attention
        _, change = torch.func.jvp(lambda z: model(z, t), (x,), (direction,))
    step = 1e-6
    expected = (model(x + step * direction, t) - model(x - step * direction, t)) / (2 * step)
    assert relative_error(change, expected) < 1e-4
