"""All variants: what sees what, how blocks begin, where positions enter (Latte, section 3.2)."""

# Axes: b clips, f frames, s tokens of a frame, d width, m heads, e width of a head.

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from helpers.networks import (
    DESIGNS,
    VARIANTS,
    differ,
    initial_latte,
    inputs,
    named,
    of_every_variant,
    random_latte,
    record_blocks,
    relative_error,
)
from torch import Tensor, nn

from latte_cli.models.attention import Axis

FRAME, PLACE = 1, 2  # of the token that is touched, among 4 frames of 4 tokens


def reach(kind: str) -> Tensor:
    """Which of (f, s) = 4 x 4 tokens one token reaches."""
    tokens = torch.zeros(4, 4, dtype=torch.bool)
    if kind in ("frame", "cross", "all"):
        tokens[FRAME] = True
    if kind in ("place", "cross", "all"):
        tokens[:, PLACE] = True
    return torch.ones_like(tokens) if kind == "all" else tokens


def moved_by_one_token(module: nn.Module, *cond: Tensor) -> Tensor:
    """Which tokens' outputs change with one token's input: (f, s) bool."""
    tokens = torch.randn(1, 4, 4, 16)
    touched = tokens.clone()
    touched[0, FRAME, PLACE] += torch.randn(16)
    return differ(module(touched, *cond), module(tokens, *cond), over=(0, 3))


BLOCKS_SEE = {
    1: ["frame", "place", "frame", "place"],
    2: ["frame", "frame", "place", "place"],
    3: ["all", "all", "all", "all"],
    4: ["cross", "cross", "cross", "cross"],
    5: ["frame", "all", "frame", "all"],  # a token changes its frame's weights for all places
    6: ["frame", "all", "frame", "all"],
}
CHOICES = [{}, {"temporal_position": "rope"}, {"injection": "tokens"}]


@pytest.mark.parametrize("design", of_every_variant(*CHOICES), ids=named)
def test_each_block_attends_as_its_variant_defines(design):
    model = random_latte(depth=4, **design)
    c = torch.randn(1, 1, 1, 16)
    for block, kind in zip(model.blocks, BLOCKS_SEE[design["variant"]], strict=True):
        assert torch.equal(moved_by_one_token(block, c), reach(kind))


NETWORKS_REACH = {
    1: ["frame", "all", "all", "all"],
    2: ["frame", "frame", "all", "all"],
    3: ["all", "all", "all", "all"],
    4: ["cross", "all", "all", "all"],
    5: ["frame", "all", "all", "all"],
    6: ["frame", "all", "all", "all"],
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_patch_influences_the_clip_in_the_order_of_its_variant(variant):
    model = random_latte(variant=variant, depth=4)
    x, cond = inputs(model, clips=1)
    touched = x.clone()
    touched[0, FRAME, :, 2:, :2] += 1  # the third of 2 x 2 patches of 2 x 2
    with record_blocks(model.blocks) as passed:
        model(x, **cond)
        model(touched, **cond)
    for number, kind in enumerate(NETWORKS_REACH[variant]):
        plain, other = passed[number][1], passed[number + 4][1]
        assert torch.equal(differ(other, plain, over=(0, 3)), reach(kind))


@pytest.mark.parametrize(
    ("silenced", "kind"), [("attn", "place"), ("temporal_attn", "frame"), ("mlp", "all")]
)
def test_variant_3_attends_in_space_then_in_time(silenced, kind):
    block = random_latte(variant=3).blocks[1]
    part = getattr(block, silenced)
    for parameter in (part.fc2 if silenced == "mlp" else part.proj).parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(moved_by_one_token(block, torch.randn(1, 1, 1, 16)), reach(kind))


def plain_attention(x: Tensor, weights: nn.Module, axis: Axis, heads: slice, of: int) -> Tensor:
    """Some of the heads' values along an axis, written out: (b, f, s, d) -> (b, f, s, m e)."""
    layout = {"space": "b f s (k m e) -> k (b f) m s e", "time": "b f s (k m e) -> k (b s) m f e"}
    q, k, v = rearrange(weights.qkv(x), layout[axis], k=3, m=of)[:, :, heads]
    seen = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v
    back = {"space": "(b f) m s e -> b f s (m e)", "time": "(b s) m f e -> b f s (m e)"}
    return rearrange(seen, back[axis], b=len(x))


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift


def test_a_block_of_variant_3_is_two_attentions_and_an_mlp():
    """Divided attention (TimeSformer), each sub-layer modulated, the attentions' gate shared."""
    block = random_latte(variant=3).blocks[1]
    x, c = torch.randn(2, 3, 4, 16), torch.randn(2, 1, 1, 16)
    parts = block.adaLN_modulation[1](F.silu(c)).chunk(8, dim=-1)
    shift, scale, gate, shift_mlp, scale_mlp, gate_mlp, shift_time, scale_time = parts
    every = slice(None)
    y = modulated(x, shift, scale)
    y = x + gate * block.attn.proj(plain_attention(y, block.attn, "space", every, 4))
    z, own = modulated(y, shift_time, scale_time), block.temporal_attn
    z = y + gate * own.proj(plain_attention(z, own, "time", every, 4))
    out = z + gate_mlp * block.mlp(modulated(z, shift_mlp, scale_mlp))
    assert relative_error(block(x, c), out) < 1e-5


def test_half_of_variant_4s_heads_attend_in_space_and_half_in_time():
    """Their results are added: one projection of both halves is the sum of a projection of each."""
    block = random_latte(variant=4).blocks[1]
    x, c = torch.randn(2, 3, 4, 16), torch.randn(2, 1, 1, 16)
    shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = block.adaLN_modulation(c).chunk(6, dim=-1)
    y, proj = modulated(x, shift, scale), block.attn.proj
    space = plain_attention(y, block.attn, "space", slice(2), 4)
    time = plain_attention(y, block.attn, "time", slice(2, 4), 4)
    added = space @ proj.weight[:, :8].T + time @ proj.weight[:, 8:].T + proj.bias
    y = x + gate * added
    out = y + gate_mlp * block.mlp(modulated(y, shift_mlp, scale_mlp))
    assert relative_error(block(x, c), out) < 1e-5


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("position", ["absolute", "rope"])
def test_blocks_begin_as_identity(variant, position):
    """Zero gates (DiT's adaLN-Zero)."""
    model = initial_latte(variant=variant, temporal_position=position)
    x, cond = inputs(model)
    c = torch.randn(2, 1, 1, 16)
    for block in model.blocks:
        tokens = torch.randn(2, 4, 4, 16)
        assert torch.equal(block(tokens, c), tokens)
    assert (model(x, **cond) == 0).all(), "the last layer begins at zero"


@pytest.mark.parametrize("design", DESIGNS, ids=named)
def test_a_few_steps_train_every_parameter(design):
    """Zero gates and a zero last layer hold most back at first, but nothing for long."""
    model = initial_latte(**design).train()
    x, cond = inputs(model, clips=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    target, moved = torch.randn_like(model(x, **cond)), set()
    for _ in range(4):
        optimizer.zero_grad()
        F.mse_loss(model(x, **cond), target).backward()
        moved = {name for name, p in model.named_parameters() if p.grad.any()}
        optimizer.step()
    assert moved == {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_part_of_the_modulation_has_gradients(variant):
    model = random_latte(variant=variant).train()
    x, cond = inputs(model)
    model(x, **cond).square().mean().backward()
    for block in model.blocks:
        parts = block.adaLN_modulation[1].weight.grad.chunk(8 if variant == 3 else 6)
        assert all(part.any() for part in parts)


FIRST_TEMPORAL = {1: 1, 2: 2, 3: 0, 4: 0, 5: 1, 6: 1}


@pytest.mark.parametrize("design", of_every_variant({}, {"injection": "tokens"}), ids=named)
def test_the_temporal_position_is_added_once_before_the_first_temporal_block(design):
    model = random_latte(depth=4, **design)
    x, cond = inputs(model)
    with record_blocks(model.blocks) as passed:
        model(x, **cond)
    before = model.x_embedder(x) + model.pos_embed[:, None]
    for number, (given, out) in enumerate(passed):
        added = given[:, :, : before.shape[2]] - before
        expected = torch.zeros_like(added)
        if number == FIRST_TEMPORAL[design["variant"]]:
            expected += model.temp_embed[:, :, None]
        torch.testing.assert_close(added, expected, atol=1e-5 * before.abs().max().item(), rtol=0)
        before = out


@pytest.mark.parametrize("variant", VARIANTS)
def test_rotary_networks_add_no_temporal_position(variant):
    model = random_latte(variant=variant, depth=4, temporal_position="rope")
    x, cond = inputs(model)
    with record_blocks(model.blocks) as passed:
        model(x, **cond)
    for (_, before), (given, _) in pairwise(passed):
        assert torch.equal(given, before)
    assert torch.equal(passed[0][0], model.x_embedder(x) + model.pos_embed[:, None])
