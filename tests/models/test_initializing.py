"""Initialization from other weights: what is loaded, skipped and initialized."""

import pytest
import torch
from diffusers import PixArtTransformer2DModel
from helpers.networks import relative_error
from safetensors.torch import save_file
from torch import Tensor, nn

from latte_cli.models import Latte, LatteShape, LatteT2V, TextShape
from latte_cli.models.exporting import write_diffusers
from latte_cli.models.initializing.from_weights import WeightsReport, initialize
from latte_cli.models.reading import read_weights
from latte_cli.runtime.errors import CheckpointError

SHAPE = {"latent_size": 8, "num_frames": 4, "patch": 2, "width": 32, "depth": 4, "heads": 4}
LABELS = "y_embedder.embedding_table.weight"


def with_random_weights(model: nn.Module) -> nn.Module:
    """The same network with random weights everywhere."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture
def dit() -> dict[str, Tensor]:
    """Weights under DiT's names: no position of frames, a thousand labels and the null label."""
    model = with_random_weights(Latte(LatteShape(**SHAPE, num_classes=1000)))
    return {name: value for name, value in model.state_dict().items() if name != "temp_embed"}


def initialize_model(
    model: Latte | LatteT2V, weights: dict[str, Tensor], tmp_path
) -> WeightsReport:
    path = tmp_path / "weights.pt"
    torch.save(weights, path)
    return initialize(model, read_weights(path))


def test_everything_but_labels_and_positions_is_loaded_from_dit(dit, tmp_path):
    # Latte, section 3.3.4: the label table is dropped and begins at zero, positions are repeated.
    model = Latte(LatteShape(**SHAPE, num_classes=3))
    report = initialize_model(model, dit, tmp_path)
    own = model.state_dict()
    assert report.kind == "dit"
    assert set(report.loaded) == set(dit) - {LABELS, "pos_embed"}
    for name in report.loaded:
        assert torch.equal(own[name], dit[name])
    assert (own[LABELS] == 0).all()
    assert report.skipped[LABELS] == "labels of another data set"
    assert report.initialized[LABELS] == "zero"
    assert report.initialized["temp_embed"] == "computed positions"
    fresh = Latte(model.shape)
    assert torch.equal(own["temp_embed"], fresh.temp_embed)
    assert report.note is None


def published_weights(shape: LatteShape) -> tuple[nn.Module, dict[str, Tensor]]:
    model = with_random_weights(Latte(shape))
    return model, model.state_dict()


def test_variant_6_begins_as_the_network_of_variant_1_that_it_is_initialized_from(tmp_path):
    source, weights = published_weights(LatteShape(**SHAPE))
    model = Latte(LatteShape(**SHAPE, variant=6)).eval()
    initialize_model(model, weights, tmp_path)
    x, t = torch.randn(2, 4, 4, 8, 8), torch.tensor([50, 900])
    out = model(x, t)
    torch.testing.assert_close(out, source(x, t), rtol=1e-4, atol=1e-4)
    out.square().mean().backward()
    joined = model.blocks[1].attn.proj.weight.grad.chunk(2, dim=1)
    assert all(part.any() for part in joined), "and goes on to use whole frames"


@pytest.mark.parametrize("variant", [5, 6])
def test_weights_of_tokens_are_interpolated_for_clips_of_another_size(variant, tmp_path):
    source, weights = published_weights(LatteShape(**SHAPE, variant=variant, frame_queries=3))
    larger = LatteShape(**{**SHAPE, "latent_size": 16}, variant=variant, frame_queries=3)
    model = Latte(larger).eval()
    assert "positions are recomputed" in initialize_model(model, weights, tmp_path).note
    ours, theirs = model.blocks[1].attn, source.blocks[1].attn
    x = torch.randn(1, 3, 64, 32)
    torch.testing.assert_close(ours(x), theirs(x, grid=(8, 8)))
    other = Latte(LatteShape(**SHAPE, variant=variant, frame_queries=2))
    with pytest.raises(CheckpointError, match="qk_logits"):
        initialize_model(other, weights, tmp_path)


def test_parameters_without_counterpart_in_dit_keep_their_initialization(dit, tmp_path):
    model = Latte(LatteShape(**{**SHAPE, "depth": 3}, variant=3))
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    report = initialize_model(model, dit, tmp_path)
    own = model.state_dict()
    assert report.skipped["blocks.3.attn.proj.weight"].startswith(
        "no counterpart: the model has fewer blocks"
    )
    kept = [name for name in own if "temporal_attn" in name]
    assert kept
    for name in kept:
        assert report.initialized[name] == "own initialization"
        assert torch.equal(own[name], fresh[name])
    modulation = own["blocks.0.adaLN_modulation.1.weight"]
    theirs = dit["blocks.0.adaLN_modulation.1.weight"]
    assert torch.equal(modulation[: len(theirs)], theirs)
    assert (modulation[len(theirs) :] == 0).all(), "the second attention's part begins at zero"


def test_tubes_skip_patches_and_tokens_skip_modulation_of_dit(dit, tmp_path):
    tubes = initialize_model(Latte(LatteShape(**SHAPE, tube=2)), dit, tmp_path)
    assert "other tokens" in tubes.skipped["x_embedder.proj.weight"]
    assert "upsample.deconv.weight" in tubes.initialized
    tokens = initialize_model(Latte(LatteShape(**SHAPE, injection="tokens")), dit, tmp_path)
    assert "blocks.0.adaLN_modulation.1.weight" in tokens.skipped


def test_a_different_clip_size_is_noted(dit, tmp_path):
    larger = Latte(LatteShape(**{**SHAPE, "latent_size": 16}))
    note = initialize_model(larger, dit, tmp_path).note
    assert note is not None
    assert "4 frames of 64x64, the preset is for 4 frames of 128x128" in note
    assert (larger.pos_embed == Latte(larger.shape).pos_embed).all()


def test_a_latte_network_loads_one_of_other_clips_and_labels(tmp_path):
    theirs = with_random_weights(Latte(LatteShape(**SHAPE, num_classes=5)))
    ours = Latte(LatteShape(**{**SHAPE, "num_frames": 8}, num_classes=3))
    torch.save({"ema": theirs.state_dict()}, tmp_path / "weights.pt")
    report = initialize(ours, read_weights(tmp_path / "weights.pt"))
    assert report.kind == "latte"
    assert "for 4 frames of 64x64, the preset is for 8 frames of 64x64" in (report.note or "")
    assert report.skipped[LABELS] == "5 labels, the model has 3"
    x, t = torch.randn(1, 4, 4, 8, 8), torch.tensor([3])
    assert torch.equal(ours.blocks[0].attn.qkv.weight, theirs.blocks[0].attn.qkv.weight)
    same = Latte(theirs.shape).eval()
    initialize(same, read_weights(tmp_path / "weights.pt"))
    y = torch.tensor([4])
    assert torch.equal(same(x, t, y), theirs(x, t, y))


def test_another_width_raises_checkpoint_error(dit, tmp_path):
    model = Latte(LatteShape(**{**SHAPE, "width": 64}))
    with pytest.raises(CheckpointError, match=r"is \(32,.*the model's is \(64,"):
        initialize_model(model, dit, tmp_path)


def test_weights_of_another_kind_raise_checkpoint_error(dit, tmp_path):
    with pytest.raises(CheckpointError, match="cannot be initialized from weights of kind dit"):
        initialize_model(LatteT2V(TextShape(**SHAPE, text_width=12)), dit, tmp_path)
    with pytest.raises(CheckpointError, match="not a Latte network"):
        initialize_model(Latte(LatteShape(**SHAPE)), {"conv.weight": torch.zeros(1)}, tmp_path)


def test_the_report_has_counts_and_reasons(dit, tmp_path):
    lines = initialize_model(Latte(LatteShape(**SHAPE)), dit, tmp_path).lines()
    assert lines[0] == f"loaded from dit: {len(dit) - 2} tensors"
    assert any(
        "skipped: 1 (y_embedder.embedding_table.weight): no label embedding" in x for x in lines
    )
    assert any("initialized: 2 (pos_embed, temp_embed): computed positions" in x for x in lines)


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
    return with_random_weights(model)


@pytest.mark.parametrize("sample_size", [8, 64, 128])
def test_one_frame_of_a_network_from_pixart_matches_pixart(sample_size, tmp_path):
    # Temporal blocks begin as identity, so that a clip of one frame is the picture model's output.
    theirs = pixart(sample_size, use_additional_conditions=False)
    theirs.save_pretrained(tmp_path / "pixart")
    shape = TextShape(
        sample_size, 4, 2, 32, 4, 4, text_width=12, interpolation_scale=max(sample_size // 64, 1)
    )
    ours = with_random_weights(LatteT2V(shape))
    report = initialize(ours, read_weights(tmp_path / "pixart"))
    assert report.kind == "pixart"
    assert set(report.loaded) == set(theirs.state_dict())
    reasons = {n: r for n, r in report.initialized.items() if n.startswith("temporal")}
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
        assert relative_error(ours(x, t, text=text)[:, 0], expected) < 1e-5
        ours.position_scale = 0.0  # as at the first step of `train.position_warmup`
        frames = ours(x.expand(-1, 4, -1, -1, -1), t, text=text)
        every_frame = expected[:, None].expand(-1, 4, -1, -1, -1)
        assert relative_error(frames, every_frame) < 1e-5
        ours.position_scale = 1.0
        assert not torch.allclose(ours(x.expand(-1, 4, -1, -1, -1), t, text=text), frames, atol=0.1)


@pytest.mark.parametrize(
    ("ours", "said"),
    [
        (
            {"width": 64, "heads": 8},
            "model.width is 64, the file's 32; model.heads is 8, the file's 4",
        ),
        ({"depth": 6}, "model.depth is 6, the file's 4"),
        ({"depth": 2}, "model.depth is 2, the file's 4"),
        ({"heads": 2}, "model.heads is 2, the file's 4"),
        ({"patch": 4}, "model.patch is 4, the file's 2"),
        ({"text_width": 16}, "model.text_width is 16, the file's 12"),
        ({"in_channels": 8}, "vae.latent_channels is 8, the file's 4"),
    ],
)
def test_weights_of_pixart_of_another_size_raise_checkpoint_error(ours, said, tmp_path):
    """Heads in particular, which no tensor's size tells: the network would be another one."""
    pixart(8, use_additional_conditions=False).save_pretrained(tmp_path / "pixart")
    sizes = {"patch": 2, "width": 32, "depth": 4, "heads": 4, "text_width": 12}
    network = LatteT2V(TextShape(8, 4, **{**sizes, **ours}))
    with pytest.raises(CheckpointError) as caught:
        initialize(network, read_weights(tmp_path / "pixart"))
    assert said in str(caught.value)
    key = said.partition(" is ")[0]
    assert f"-o {key}=" in caught.value.hint


def test_a_bare_file_with_fewer_blocks_raises_checkpoint_error(tmp_path):
    save_file(pixart(8, use_additional_conditions=False).state_dict(), tmp_path / "w.safetensors")
    network = LatteT2V(TextShape(8, 4, 2, 32, 6, 4, text_width=12))
    with pytest.raises(CheckpointError, match=r"transformer_blocks\.2.* is missing"):
        initialize(network, read_weights(tmp_path / "w.safetensors"))


def test_image_size_embeddings_of_pixart_are_skipped(tmp_path):
    pixart(128, use_additional_conditions=True).save_pretrained(tmp_path / "pixart")
    ours = LatteT2V(TextShape(128, 4, 2, 32, 4, 4, text_width=12, interpolation_scale=2))
    report = initialize(ours, read_weights(tmp_path / "pixart"))
    skipped = [name for name in report.skipped if "resolution_embedder" in name]
    assert skipped
    assert {report.skipped[name] for name in skipped} == {"Latte has no embedding of image sizes"}


def test_a_shallower_text_network_raises_checkpoint_error(tmp_path):
    write_diffusers(LatteT2V(TextShape(**SHAPE, text_width=12)), tmp_path / "shallow")
    deeper = LatteT2V(TextShape(**{**SHAPE, "depth": 6}, text_width=12))
    with pytest.raises(CheckpointError, match=r"model\.depth is 6, the file's 4"):
        initialize(deeper, read_weights(tmp_path / "shallow"))


def test_half_precision_becomes_float32(dit, tmp_path):
    save_file({n: v.half() for n, v in dit.items()}, tmp_path / "w.safetensors")
    model = Latte(LatteShape(**SHAPE))
    initialize(model, read_weights(tmp_path / "w.safetensors"))
    assert {p.dtype for p in model.parameters()} == {torch.float32}
