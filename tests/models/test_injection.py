"""Timestep and label as extra tokens, or as modulation (Latte, section 3.3.2)."""

# Axes: b clips, f frames, s tokens of a frame, d width.

import pytest
import torch
import torch.nn.functional as F
from helpers.networks import (
    OF_WHOLE_FRAMES,
    VARIANTS,
    differ,
    inputs,
    named,
    of_every_variant,
    random_latte,
    random_text,
    randomized,
    record_blocks,
    relative_error,
    text_inputs,
)
from helpers.reference import ReferenceAttention
from torch import Tensor, nn

from latte_cli.models.layers import Block

TAKE_TOKENS = [variant for variant in VARIANTS if variant not in OF_WHOLE_FRAMES]


@pytest.mark.parametrize("design", of_every_variant({}, {"injection": "tokens"}), ids=named)
def test_timestep_and_label_change_the_prediction(design):
    model = random_latte(**design)
    x, cond = inputs(model, clips=1)
    out = model(x, **cond)
    for other in ({"t": cond["t"] + 400}, {"y": torch.tensor([2])}):
        assert differ(model(x, **{**cond, **other}), out, over=(0, 2, 3, 4)).all(), "every frame"


def products(module: nn.Module, x: Tensor, cond: dict[str, object]) -> dict[str, torch.dtype]:
    """The type of each linear layer's product under bf16 autocast, by the layer's name."""
    types: dict[str, torch.dtype] = {}
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear):
            part.register_forward_hook(
                lambda _, given, out, name=name: types.__setitem__(name, out.dtype)
            )
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        module(x, **cond)
    return types


def test_conditioning_is_computed_in_float32_under_autocast():
    """In bf16 a label's small share of the sum is rounded away beside the timestep's."""
    latte, text = random_latte(variant=3), random_text()
    for model, given in ((latte, inputs(latte)), (text, text_inputs(text))):
        types = products(model, *given)
        cond = ("t_embedder.", "adaln_single.", "adaLN_modulation")
        exact = {name for name in types if any(part in name for part in cond)}
        assert exact
        assert {name for name, dtype in types.items() if dtype == torch.float32} == exact


@pytest.mark.parametrize(("num_classes", "extra"), [(3, 2), (None, 1)])
def test_extra_tokens_follow_each_frames_tokens_and_are_dropped(num_classes, extra):
    model = random_latte(injection="tokens", num_classes=num_classes)
    x, cond = inputs(model)
    ends = []
    model.final_layer.register_forward_hook(lambda _, given, out: ends.append(given[0]))
    with record_blocks(model.blocks) as passed:
        out = model(x, **cond)
    assert out.shape == (2, 4, 8, 4, 4)
    given, last = passed[0][0], passed[-1][1]
    assert given.shape == last.shape == (2, 4, 4 + extra, 16)
    embedded = [model.t_embedder(cond["t"])]
    if num_classes is not None:
        embedded.append(model.y_embedder(cond["y"]))
    for place, vector in enumerate(embedded):
        assert torch.equal(given[:, :, 4 + place], vector[:, None].expand(-1, 4, -1))
    assert torch.equal(ends[0], last[:, :, :4])


@pytest.mark.parametrize("variant", TAKE_TOKENS)
def test_injection_by_tokens_has_no_modulation(variant):
    names = [
        name for name, _ in random_latte(variant=variant, injection="tokens").named_parameters()
    ]
    assert not [name for name in names if "adaLN" in name]
    assert [name for name, _ in random_latte(variant=variant).named_parameters() if "adaLN" in name]


@pytest.mark.parametrize("variant", TAKE_TOKENS)
def test_without_modulation_a_block_ignores_conditioning(variant):
    model = random_latte(variant=variant, injection="tokens")
    tokens = torch.randn(1, 4, 4, 16)
    for block in model.blocks:
        one, other = (block(tokens, torch.randn(1, 1, 1, 16)) for _ in range(2))
        assert torch.equal(one, other)


def test_a_block_without_modulation_is_a_plain_transformer_block():
    """Layer norm before each sub-layer, its output added (ViT)."""
    block = randomized(Block(16, 4, (("space",),), modulated=False))
    attention = ReferenceAttention(16, 4)
    attention.load_state_dict(block.attn.state_dict())
    x = torch.randn(1, 3, 4, 16)
    y = x[0] + attention(F.layer_norm(x[0], (16,), eps=1e-6))
    y = y + block.mlp(F.layer_norm(y, (16,), eps=1e-6))
    assert relative_error(block(x, torch.zeros(1, 1, 1, 16))[0], y) < 1e-5
