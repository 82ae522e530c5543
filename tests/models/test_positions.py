"""Position tables, rotary positions, and sizes that the network was not trained on."""

# Axes: f frames, n tokens attended over, e width of a head, s tokens of a frame, d width.

import warnings

import pytest
import torch
from helpers.networks import VARIANTS, differ, inputs, random_latte, randomized, record_blocks
from torch import nn

from latte_cli.models.attention import attend
from latte_cli.models.embeddings import (
    rotate,
    sincos,
    spatial_table,
    temporal_table,
    timestep_features,
)
from latte_cli.models.layers import Block
from latte_cli.runtime.errors import LatteWarning

DOUBLE = torch.float64


def grid(table: torch.Tensor, rows: int) -> torch.Tensor:
    """(1, s, d) as (rows, columns, d)."""
    return table[0].unflatten(0, (rows, -1))


def test_products_of_positions_depend_only_on_distance():
    """sin a sin b + cos a cos b = cos(a - b), at every frequency (Vaswani et al. 2017)."""
    table = sincos(torch.arange(12), 16)
    products = table @ table.T
    for distance in range(12):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    assert products[0, 0] == 8, "the squares of sine and cosine, for each of 8 frequencies"


def test_columns_use_the_first_half_and_rows_the_second():
    table = grid(spatial_table(3, 5, 16), 3)
    assert (table[..., :8] == table[:1, :, :8]).all()
    assert (table[..., 8:] == table[:, :1, 8:]).all()
    torch.testing.assert_close(table[0, :, :8], sincos(torch.arange(5), 8).float())
    torch.testing.assert_close(table[:, 0, 8:], sincos(torch.arange(3), 8).float())


def test_another_grid_is_interpolated_over_the_trained_range():
    trained = grid(spatial_table(4, 4, 16), 4)
    assert torch.equal(grid(spatial_table(4, 4, 16, 4), 4), trained)
    finer = grid(spatial_table(8, 8, 16, 4), 8)
    torch.testing.assert_close(finer[::2, ::2], trained)
    coarser = grid(spatial_table(2, 2, 16, 4), 2)
    torch.testing.assert_close(coarser, trained[::2, ::2])
    oblong = grid(spatial_table(2, 8, 16, 4), 2)
    torch.testing.assert_close(oblong, finer[::4])


def test_a_scale_divides_positions():
    """PixArt-alpha's interpolation: at twice the size, the positions of the smaller."""
    scaled = grid(spatial_table(8, 8, 16, 8, 2.0), 8)
    torch.testing.assert_close(scaled[::2, ::2], grid(spatial_table(4, 4, 16), 4))


def test_longer_tables_begin_as_shorter_ones():
    assert torch.equal(temporal_table(9, 16)[:, :6], temporal_table(6, 16))


def test_timestep_zero_is_cosines_of_zero():
    features = timestep_features(torch.tensor([0, 500]), 8)
    assert features[0].tolist() == [1] * 4 + [0] * 4
    torch.testing.assert_close(features[1, 0], torch.tensor(500.0).cos())


def test_rotated_products_depend_only_on_distance():
    """RoFormer, equation 16: <R_m q, R_n k> is a function of q, k and m - n."""
    q, k = torch.randn(2, 16, dtype=DOUBLE)
    turned_q, turned_k = (rotate(part.expand(10, 16)).to(DOUBLE) for part in (q, k))
    products = turned_q @ turned_k.T
    for distance in range(-9, 10):
        diagonal = products.diagonal(distance)
        expected = diagonal[:1].expand_as(diagonal)
        torch.testing.assert_close(diagonal, expected, atol=1e-5, rtol=0)
    assert products[0].std() > 0.1, "and on distance it does depend"


def test_rotate_rotates_each_pair_of_channels():
    """Channel pairs as complex numbers times exp(i n theta), theta = 10000^(-2j/e)."""
    x = torch.randn(3, 7, 16)
    pairs = torch.complex(*x.double().chunk(2, dim=-1))
    theta = 10000.0 ** (-torch.arange(8, dtype=DOUBLE) / 8)
    angles = torch.arange(7, dtype=DOUBLE)[:, None] * theta
    turned = pairs * torch.polar(torch.ones_like(angles), angles)
    expected = torch.cat([turned.real, turned.imag], dim=-1).float()
    torch.testing.assert_close(rotate(x), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(rotate(x).norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(rotate(x)[:, 0], x[:, 0]), "the first position is not turned"
    assert rotate(x.bfloat16()).dtype == torch.bfloat16


def test_rotary_attention_does_not_depend_on_absolute_time():
    q, k, v = torch.randn(3, 2, 5, 16)
    late_q, late_k = (rotate(nn.functional.pad(part, (0, 0, 7, 0)))[:, 7:] for part in (q, k))
    late, early = attend(late_q, late_k, v), attend(rotate(q), rotate(k), v)
    torch.testing.assert_close(late, early, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("axes", [("time",), ("space", "time")])
def test_rotary_blocks_depend_only_on_the_order_of_frames(axes):
    """Attention without positions does not see an order: shuffled inputs, shuffled outputs."""
    tokens, c = torch.randn(1, 4, 5, 16), torch.randn(1, 1, 1, 16)
    frames, places = torch.tensor([2, 0, 3, 1]), torch.tensor([4, 1, 0, 3, 2])
    for rotary in (False, True):
        block = randomized(Block(16, 4, (axes,), rotary=rotary))
        out = block(tokens, c)
        torch.testing.assert_close(block(tokens[:, :, places], c), out[:, :, places])
        moved = differ(block(tokens[:, frames], c), out[:, frames], over=(0, 2, 3))
        assert moved.all() == moved.any() == rotary


@pytest.mark.parametrize("position", ["absolute", "rope"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_still_clip_stays_still_with_rotary_positions(variant, position):
    """Turned attention over frames that are alike gives what one of them holds, at any time."""
    model = random_latte(variant=variant, temporal_position=position)
    x, cond = inputs(model)
    out = model(x[:, :1].expand_as(x), **cond)
    moves = differ(out, out[:, :1].expand_as(out), over=(0, 2, 3, 4))[1:]
    assert moves.all() == moves.any() == (position == "absolute")
    assert ("temp_embed" in dict(model.named_buffers())) == (position == "absolute")


@pytest.mark.parametrize("position", ["absolute", "rope"])
@pytest.mark.parametrize("frames", [8, 32, 64])
def test_untrained_lengths_warn_and_name_the_trained_one(frames, position):
    model = random_latte(num_frames=16, temporal_position=position)
    x, cond = torch.randn(2, frames, 4, 4, 4), inputs(model)[1]
    with pytest.warns(LatteWarning, match=f"{frames} frames for a network trained on 16"):
        out = model(x, **cond)
    assert out.shape == (2, frames, 8, 4, 4)
    assert out.isfinite().all()


@pytest.mark.parametrize(("frames", "images"), [(16, 0), (1, 0), (16, 8), (1, 3)])
def test_trained_lengths_and_single_frames_run_without_a_warning(frames, images):
    model = random_latte(num_frames=16, num_classes=None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = model(torch.randn(1, frames + images, 4, 4, 4), torch.zeros(1), num_images=images)
    assert out.shape[1] == frames + images


@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (4, 8), (10, 2), (2, 2)])
def test_other_sizes_run_with_interpolated_positions(rows, columns):
    model = random_latte(num_classes=None)
    nn.init.zeros_(model.x_embedder.proj.weight)
    nn.init.zeros_(model.x_embedder.proj.bias)
    with record_blocks(model.blocks) as passed:
        out = model(torch.randn(1, 4, 4, rows, columns), torch.zeros(1))
    assert out.shape == (1, 4, 8, rows, columns)
    positions = spatial_table(rows // 2, columns // 2, 16, 2)
    assert torch.equal(passed[0][0], positions[:, None].expand(1, 4, -1, -1))
