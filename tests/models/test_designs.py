"""What designs cost: the paper's figures, and operations worked out by hand for small networks."""

from functools import cache

import pytest
import torch

from latte_cli.config import load_config
from latte_cli.models import build_model
from latte_cli.models.designs import Design, count_design
from latte_cli.models.embeddings import rotary_table, spatial_table, temporal_table

# Latte, Table 2 and the exact counts behind its rounding.
PARAMETERS = {"S": 32_480_672, "B": 129_547_040, "L": 456_815_648, "XL": 673_681_568}
TINY = {
    "data.size": 32,
    "data.frames": 4,
    "model.size": "null",
    "model.width": 16,
    "model.depth": 4,
    "model.heads": 2,
}


@cache
def design(*overrides: str) -> Design:
    return count_design(load_config(None, overrides))


def words(**values: object) -> list[str]:
    chosen = TINY | {key.replace("__", "."): value for key, value in values.items()}
    return [f"{key}={value}" for key, value in chosen.items()]


def tiny(**values: object) -> Design:
    return design(*words(**values))


@pytest.mark.parametrize("variant", [1, 2])
@pytest.mark.parametrize("size", PARAMETERS)
def test_parameter_counts_of_variants_1_and_2_match_the_paper(size, variant):
    counted = design(f"model.size={size}", f"model.variant={variant}")
    assert counted.parameters == PARAMETERS[size]


@pytest.mark.parametrize("size", PARAMETERS)
def test_variants_1_to_5_have_similar_parameter_counts(size):
    *counts, joined = [
        design(f"model.size={size}", f"model.variant={v}").parameters for v in range(1, 7)
    ]
    assert max(counts) / min(counts) < 1.016
    assert 1.1 < joined / min(counts) < 1.13, "two attentions in a temporal block"


def test_flops_of_xl_match_the_paper():
    """Its 5572.69 G are of a batch of three clips, and of multiply-adds."""
    counted = design("model.size=XL", "model.variant=1")
    assert counted.multiply_adds == pytest.approx(1.86e12, rel=0.01)
    assert counted.multiply_adds == pytest.approx(5572.69e9 / 3, rel=0.01)
    assert (counted.depth, counted.width, counted.heads) == (28, 1152, 16)


def by_hand(frames: int, places: int, *, width=16, spatial=2, temporal=2, blocks=4) -> int:
    """Operations of a network of Variant 1, 2 or 4, from the sizes of its matrices."""
    tokens, patch = frames * places, 4 * 2 * 2  # latent channels x patch x patch
    ends = 2 * tokens * patch * width + 2 * tokens * width * 2 * patch
    timestep = 2 * 256 * width + 2 * width * width
    modulation = blocks * 2 * width * 6 * width + 2 * width * 2 * width  # of the last layer, too
    linear = blocks * 2 * tokens * width * (3 + 1 + 4 + 4) * width
    # Queries with keys, then weights with values: 2 x 2 x width for each pair of tokens.
    pairs = tokens * (spatial * places + temporal * frames)
    return ends + timestep + modulation + linear + int(4 * width * pairs)


@pytest.mark.parametrize(("frames", "size"), [(4, 32), (8, 32), (4, 64), (16, 64)])
@pytest.mark.parametrize("variant", [1, 2])
def test_flops_match_a_calculation_by_hand(frames, size, variant):
    """Half of the blocks attend to the places of a frame, half to the frames of a place."""
    places = (size // 16) ** 2
    counted = tiny(data__frames=frames, data__size=size, model__variant=variant)
    assert counted.flops == by_hand(frames, places)
    assert counted.tokens == frames * places


def test_half_of_the_heads_cost_half_of_the_flops():
    """Variant 4: all blocks attend both ways, with half of the width each."""
    counted = tiny(model__variant=4, data__frames=8)
    assert counted.flops == by_hand(8, 4, spatial=4 / 2, temporal=4 / 2)
    assert counted.flops == tiny(model__variant=1, data__frames=8).flops


@pytest.mark.parametrize("queries", [1, 4])
@pytest.mark.parametrize("frames", [4, 8])
def test_flops_of_attention_over_whole_frames(frames, queries):
    """Beside Variant 1: pooled tokens, queries and keys from them, values and the last layer."""
    values = {"data__frames": frames, "data__size": 64, "model__frame_queries": queries}
    places, width = 16, 16
    pooled = 2 * (2 * queries) * places * width
    projected = 2 * (2 * queries) * width**2 + 2 * places * 2 * width**2
    pairs = 2 * frames * (queries + places) * width
    own = frames * (pooled + projected + pairs)
    local = frames * places * (2 * 4 * width**2 + 4 * frames * width)
    plain = by_hand(frames, places)
    assert tiny(model__variant=5, **values).flops == plain + 2 * (own - local)
    assert tiny(model__variant=6, **values).flops == plain + 2 * own


def test_attention_lengths_follow_the_design():
    space, time, both = {"space": 16}, {"time": 4}, {"space": 16, "time": 4}
    assert tiny(data__size=64).attention == (space, time, space, time)
    assert tiny(data__size=64, model__variant=2).attention == (space, space, time, time)
    assert tiny(data__size=64, model__variant=3).attention == (both,) * 4
    assert tiny(data__size=64, model__variant=4).attention == (both,) * 4
    frames = {"frames": 4}
    assert tiny(data__size=64, model__variant=5).attention == (space, frames, space, frames)
    assert tiny(data__size=64, model__variant=6).attention[1] == {"time": 4, "frames": 4}
    tubes = tiny(data__size=64, model__patch_embedding="compression")
    assert (tubes.attention[:2], tubes.tokens) == ((space, {"time": 2}), 32)
    told = tiny(model__injection="tokens", model__condition="class", model__num_classes=3)
    assert (told.attention[0], told.tokens) == ({"space": 6}, 24), "timestep and label are tokens"
    assert tiny(model__patch=4, data__size=64).tokens == 16


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"model__condition": "class", "model__num_classes": 3},
        {"model__variant": 3},
        {"model__variant": 6},
    ],
)
def test_parameter_count_matches_the_built_network(values):
    model = build_model(load_config(None, words(**values)))
    assert tiny(**values).parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("position", ["absolute", "rope"])
def test_counting_does_not_affect_later_networks(position):
    """Tables of positions are kept between networks, but not those that hold no values."""
    for table in (rotary_table, spatial_table, temporal_table):
        table.cache_clear()
    config = load_config(None, words(model__temporal_position=position))
    count_design(config)
    model = build_model(config)
    assert torch.equal(model.pos_embed, spatial_table(2, 2, 16))
    assert model.pos_embed.isfinite().all()
    assert model(torch.randn(1, 4, 4, 4, 4), torch.zeros(1)).shape == (1, 4, 8, 4, 4)


def test_a_text_to_video_network_is_counted():
    """Latte-1's parameters, of which its authors say about a billion; its text costs, too."""
    counted = design("model.condition=text")
    with torch.device("meta"):
        network = build_model(load_config(None, ["model.condition=text"]))
    assert counted.parameters == sum(value.numel() for value in network.parameters())
    assert 1.0e9 < counted.parameters < 1.1e9
    assert counted.flops > design("model.condition=none").flops
