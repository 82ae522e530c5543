"""What it costs to encode texts by T5, from its configuration."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latte_cli.text.encoder import MAX_TOKENS

_T5_XXL = {
    **{"d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64},
    **{"feed_forward_proj": "gated-gelu", "vocab_size": 32128},
}


@dataclass(frozen=True)
class EncoderCost:
    """What a text encoder costs.

    Attributes:
        parameters: of the encoder.
        flops_per_text: of its matrix products; a multiply-add is two.
        is_assumed: whether its configuration is not here, and that of T5-XXL is taken.
    """

    parameters: int
    flops_per_text: int
    is_assumed: bool


def encoder_cost(folder: Path) -> EncoderCost:
    """The cost of the text encoder of a pipeline.

    Args:
        folder: of the pipeline; if it is not here, its encoder is taken for T5-XXL.
    """
    try:
        file = folder / "text_encoder" / "config.json"
        values = {**_T5_XXL, **json.loads(file.read_text(encoding="utf-8"))}
        return _cost(values, is_assumed=False)
    except (OSError, ValueError, TypeError):  # reported when captions are encoded
        return _cost(_T5_XXL, is_assumed=True)


def _cost(values: Mapping[str, Any], *, is_assumed: bool) -> EncoderCost:
    """Count what all layers do to a text with its padding."""
    sizes = ("d_model", "d_ff", "num_layers", "vocab_size")
    width, hidden, layers, words = (int(values[name]) for name in sizes)
    inner = int(values["num_heads"]) * int(values["d_kv"])
    matrices = 3 if str(values["feed_forward_proj"]).startswith("gated") else 2
    a_layer = 4 * width * inner + matrices * width * hidden
    attention = 2 * 2 * MAX_TOKENS**2 * inner  # scores, and their sums of values
    return EncoderCost(
        parameters=layers * a_layer + words * width,
        flops_per_text=layers * (2 * MAX_TOKENS * a_layer + attention),
        is_assumed=is_assumed,
    )
