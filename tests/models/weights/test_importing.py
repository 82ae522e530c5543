"""Beginning a network from another's weights: what is taken, what is left, what is initialised."""

import pytest
import torch
from diffusers import PixArtTransformer2DModel
from safetensors.torch import save_file
from torch import Tensor, nn

from latte_cli.models import Latte, LatteShape, LatteT2V, TextShape
from latte_cli.models.weights.exporting import write_diffusers
from latte_cli.models.weights.importing import WeightsReport, initialize
from latte_cli.models.weights.reading import read_weights
from latte_cli.runtime.errors import CheckpointError

SHAPE = {"latent_size": 8, "num_frames": 4, "patch": 2, "width": 32, "depth": 4, "heads": 4}
LABELS = "y_embedder.embedding_table.weight"


def drawn(model: nn.Module) -> nn.Module:
    """The same network with random weights everywhere."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture
def dit() -> dict[str, Tensor]:
    """Weights under DiT's names: no position of frames, a thousand labels and the null label."""
    model = drawn(Latte(LatteShape(**SHAPE, num_classes=1000)))
    return {name: value for name, value in model.state_dict().items() if name != "temp_embed"}


def begin(model: Latte | LatteT2V, weights: dict[str, Tensor], tmp_path) -> WeightsReport:
    path = tmp_path / "weights.pt"
    torch.save(weights, path)
    return initialize(model, read_weights(path))


def test_dit_gives_all_but_labels_and_positions(dit, tmp_path):
    # Latte, section 3.3.4: the label table is dropped and begins at zero, positions are repeated.
    model = Latte(LatteShape(**SHAPE, num_classes=3))
    report = begin(model, dit, tmp_path)
    own = model.state_dict()
    assert report.kind == "dit"
    assert set(report.taken) == set(dit) - {LABELS, "pos_embed"}
    for name in report.taken:
        assert torch.equal(own[name], dit[name])
    assert (own[LABELS] == 0).all()
    assert report.left[LABELS] == "labels of another data set"
    assert report.initialised[LABELS] == "labels begin at zero"
    assert report.initialised["temp_embed"] == "positions, computed"
    fresh = Latte(model.shape)
    assert torch.equal(own["temp_embed"], fresh.temp_embed)
    assert report.note is None


def test_dit_gives_nothing_where_a_design_has_no_counterpart(dit, tmp_path):
    model = Latte(LatteShape(**{**SHAPE, "depth": 3}, variant=3))
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    report = begin(model, dit, tmp_path)
    own = model.state_dict()
    assert report.left["blocks.3.attn.proj.weight"].startswith("no such part: fewer blocks")
    kept = [name for name in own if "temporal_attn" in name]
    assert kept
    for name in kept:
        assert report.initialised[name] == "keeps its own initialisation"
        assert torch.equal(own[name], fresh[name])
    modulation = own["blocks.0.adaLN_modulation.1.weight"]
    theirs = dit["blocks.0.adaLN_modulation.1.weight"]
    assert torch.equal(modulation[: len(theirs)], theirs)
    assert (modulation[len(theirs) :] == 0).all(), "the second attention's part begins at zero"


def test_dit_gives_no_patches_to_tubes_and_no_modulation_to_tokens(dit, tmp_path):
    tubes = begin(Latte(LatteShape(**SHAPE, tube=2)), dit, tmp_path)
    assert "of other tokens" in tubes.left["x_embedder.proj.weight"]
    assert "upsample.deconv.weight" in tubes.initialised
    tokens = begin(Latte(LatteShape(**SHAPE, injection="tokens")), dit, tmp_path)
    assert "blocks.0.adaLN_modulation.1.weight" in tokens.left


def test_another_size_is_told_in_words(dit, tmp_path):
    larger = Latte(LatteShape(**{**SHAPE, "latent_size": 16}))
    note = begin(larger, dit, tmp_path).note
    assert note is not None
    assert "4 frames of 64x64, the preset asks for 4 frames of 128x128" in note
    assert (larger.pos_embed == Latte(larger.shape).pos_embed).all()


def test_a_latte_network_begins_from_one_for_other_clips_and_labels(tmp_path):
    theirs = drawn(Latte(LatteShape(**SHAPE, num_classes=5)))
    ours = Latte(LatteShape(**{**SHAPE, "num_frames": 8}, num_classes=3))
    torch.save({"ema": theirs.state_dict()}, tmp_path / "weights.pt")
    report = initialize(ours, read_weights(tmp_path / "weights.pt"))
    assert report.kind == "latte"
    assert "for 4 frames of 64x64, the preset asks for 8 frames of 64x64" in (report.note or "")
    assert report.left[LABELS] == "5 labels, the model has 3"
    x, t = torch.randn(1, 4, 4, 8, 8), torch.tensor([3])
    assert torch.equal(ours.blocks[0].attn.qkv.weight, theirs.blocks[0].attn.qkv.weight)
    same = Latte(theirs.shape).eval()
    initialize(same, read_weights(tmp_path / "weights.pt"))
    y = torch.tensor([4])
    assert torch.equal(same(x, t, y), theirs(x, t, y))


def test_another_width_is_refused_with_both_sizes(dit, tmp_path):
    model = Latte(LatteShape(**{**SHAPE, "width": 64}))
    with pytest.raises(CheckpointError, match=r"is \(32,.*the model's is \(64,"):
        begin(model, dit, tmp_path)


def test_weights_of_another_kind_are_refused(dit, tmp_path):
    with pytest.raises(CheckpointError, match="kind dit cannot begin"):
        begin(LatteT2V(TextShape(**SHAPE, text_width=12)), dit, tmp_path)
    with pytest.raises(CheckpointError, match="not a Latte network"):
        begin(Latte(LatteShape(**SHAPE)), {"conv.weight": torch.zeros(1)}, tmp_path)


def test_the_report_counts_and_gives_reasons(dit, tmp_path):
    lines = begin(Latte(LatteShape(**SHAPE)), dit, tmp_path).lines()
    assert lines[0] == f"taken from dit: {len(dit) - 2} tensors"
    assert any(
        "left out: 1 (y_embedder.embedding_table.weight): the model has none" in x for x in lines
    )
    assert any("initialised: 2 (pos_embed, temp_embed): positions, computed" in x for x in lines)


def pixart(sample_size: int, **values: object) -> PixArtTransformer2DModel:
    """A tiny PixArt-alpha of diffusers' class with random weights."""
    model = PixArtTransformer2DModel(
        num_attention_heads=4,
        attention_head_dim=8,
        num_layers=2,
        cross_attention_dim=32,
        caption_channels=12,
        sample_size=sample_size,
        **values,
    )
    return drawn(model)


@pytest.mark.parametrize("sample_size", [8, 64, 128])
def test_begun_from_pixart_a_picture_is_pixarts(sample_size, tmp_path):
    # Temporal blocks begin as identity, so that a clip of one frame is the picture model's output.
    theirs = pixart(sample_size, use_additional_conditions=False)
    theirs.save_pretrained(tmp_path / "pixart")
    shape = TextShape(
        sample_size, 4, 2, 32, 4, 4, text_width=12, interpolation_scale=max(sample_size // 64, 1)
    )
    ours = drawn(LatteT2V(shape))
    report = initialize(ours, read_weights(tmp_path / "pixart"))
    assert report.kind == "pixart"
    assert set(report.taken) == set(theirs.state_dict())
    reasons = {n: r for n, r in report.initialised.items() if n.startswith("temporal")}
    assert reasons
    assert set(reasons.values()) == {"temporal blocks begin as identity"}
    x, t, text = torch.randn(2, 1, 4, 8, 8), torch.tensor([3, 700]), torch.randn(2, 5, 12)
    with torch.no_grad():
        (expected,) = theirs(
            x[:, 0],
            text,
            t,
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
            return_dict=False,
        )
        torch.testing.assert_close(ours(x, t, text=text)[:, 0], expected, atol=1e-4, rtol=1e-5)


def test_what_pixart_is_told_of_a_pictures_size_is_left(tmp_path):
    pixart(128, use_additional_conditions=True).save_pretrained(tmp_path / "pixart")
    ours = LatteT2V(TextShape(128, 4, 2, 32, 4, 4, text_width=12, interpolation_scale=2))
    report = initialize(ours, read_weights(tmp_path / "pixart"))
    left = [name for name in report.left if "resolution_embedder" in name]
    assert left
    assert {report.left[name] for name in left} == {"Latte is not told a picture's size"}


def test_a_shallower_text_network_is_refused(tmp_path):
    write_diffusers(LatteT2V(TextShape(**SHAPE, text_width=12)), tmp_path / "shallow")
    deeper = LatteT2V(TextShape(**{**SHAPE, "depth": 6}, text_width=12))
    with pytest.raises(CheckpointError, match=r"temporal_transformer_blocks\.2"):
        initialize(deeper, read_weights(tmp_path / "shallow"))


def test_half_precision_becomes_float32(dit, tmp_path):
    save_file({n: v.half() for n, v in dit.items()}, tmp_path / "w.safetensors")
    model = Latte(LatteShape(**SHAPE))
    initialize(model, read_weights(tmp_path / "w.safetensors"))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
