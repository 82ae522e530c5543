"""What encoding texts costs, held to operations as PyTorch counts them."""

import json
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import T5Config, T5EncoderModel

from latte_cli.config.locations import pipeline_path
from latte_cli.text.cost import encoder_cost
from latte_cli.text.encoder import MAX_TOKENS

SIZES = {"d_model": 24, "d_kv": 6, "d_ff": 40, "num_layers": 3, "num_heads": 5, "vocab_size": 50}


@pytest.mark.parametrize("kind", ["gated-gelu", "relu"])
def test_a_text_costs_what_the_encoder_does(tmp_path, kind):
    config = {**SIZES, "feed_forward_proj": kind}
    (tmp_path / "text_encoder").mkdir()
    (tmp_path / "text_encoder" / "config.json").write_text(json.dumps(config))
    encoder = T5EncoderModel(T5Config(**config))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder(torch.zeros(1, MAX_TOKENS, dtype=torch.long))
    cost = encoder_cost(tmp_path)
    assert (cost.flops_per_text, cost.is_assumed) == (counter.get_total_flops(), False)
    values = encoder.named_parameters()
    matrices = {n: v.numel() for n, v in values if v.ndim == 2 and "relative" not in n}
    assert cost.parameters == sum(matrices.values())


def test_the_encoder_that_ships_is_counted():
    cost = encoder_cost(pipeline_path("embedded"))
    assert not cost.is_assumed
    assert cost.parameters < 1e6


def test_an_encoder_that_is_not_here_is_taken_for_t5_xxl():
    """Its published encoder has 4 762 310 656 parameters, with norms and relative positions."""
    cost = encoder_cost(Path("maxin-cn/Latte-1"))
    assert cost.is_assumed
    assert cost.parameters == pytest.approx(4_762_310_656, rel=1e-4)
