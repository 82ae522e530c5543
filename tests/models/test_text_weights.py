"""Text-to-video networks in diffusers' format: whole, in parts, in a pipeline, and back."""

import json
import time

import pytest
import torch
from diffusers import LatteTransformer3DModel
from safetensors.torch import load_file
from torch import nn

from latte_cli.models import LatteT2V, TextShape, load_latte, load_latte_t2v
from latte_cli.models.exporting import diffusers_config, write_diffusers
from latte_cli.runtime.errors import CheckpointError

SHAPE = TextShape(8, 16, 2, 24, 4, 3, text_width=32)


def diffusers_network(**values: object) -> LatteTransformer3DModel:
    """A tiny network of diffusers' class, of Latte-1's design, with random weights."""
    config = {k: v for k, v in diffusers_config(SHAPE).items() if not k.startswith("_")}
    model = LatteTransformer3DModel(**{**config, **values})
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model.eval()


def clip() -> dict[str, torch.Tensor]:
    return {
        "x": torch.randn(1, 16, 4, 8, 8),
        "t": torch.tensor([300]),
        "text": torch.randn(1, 5, 32),
    }


def same(ours: LatteT2V, theirs: LatteTransformer3DModel) -> None:
    values = clip()
    with torch.no_grad():
        expected = theirs(
            values["x"].transpose(1, 2), values["t"], values["text"], return_dict=False
        )[0].transpose(1, 2)
        torch.testing.assert_close(ours(**values), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("largest", ["10GB", "30KB"])
def test_a_folder_of_one_file_or_of_several_loads(largest, tmp_path):
    theirs = diffusers_network()
    theirs.save_pretrained(tmp_path, max_shard_size=largest)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (largest == "30KB")
    ours = load_latte_t2v(tmp_path)
    assert ours.shape == SHAPE
    assert not ours.training
    same(ours, theirs)


def test_a_pipeline_folder_loads(tmp_path):
    theirs = diffusers_network()
    theirs.save_pretrained(tmp_path / "transformer")
    same(load_latte_t2v(tmp_path), theirs)


def test_a_network_without_biases_or_with_other_eps_loads(tmp_path):
    theirs = diffusers_network(attention_bias=False, norm_eps=1e-3)
    theirs.save_pretrained(tmp_path)
    same(load_latte_t2v(tmp_path), theirs)


def test_written_folders_load_in_diffusers(tmp_path):
    ours = LatteT2V(SHAPE).eval()
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.2)
    write_diffusers(ours, tmp_path / "out")
    theirs = LatteTransformer3DModel.from_pretrained(tmp_path / "out")
    same(ours, theirs.eval())
    again = load_latte_t2v(tmp_path / "out").state_dict()
    for name, value in ours.state_dict().items():
        assert torch.equal(again[name], value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"activation_fn": "geglu"}, "activation_fn is 'geglu'"),
        ({"norm_elementwise_affine": True}, "norm_elementwise_affine is True"),
        ({"out_channels": 4}, "out_channels is 4"),
    ],
)
def test_a_design_other_than_latte_1_raises_checkpoint_error(values, message, tmp_path):
    diffusers_network(**values).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=message):
        load_latte_t2v(tmp_path)


def test_a_folder_without_a_network_raises_checkpoint_error(tmp_path):
    with pytest.raises(CheckpointError, match=r"neither ema\.safetensors nor config\.json"):
        load_latte_t2v(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"diffusion_pytorch_model\.safetensors: no such"):
        load_latte_t2v(tmp_path)
    diffusers_network().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="does not describe a transformer"):
        load_latte_t2v(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json: damaged"):
        load_latte_t2v(tmp_path)


def test_an_index_may_only_name_files_beside_it(tmp_path):
    diffusers_network().save_pretrained(tmp_path, max_shard_size="30KB")
    (index,) = tmp_path.glob("*.index.json")
    values = json.loads(index.read_text())
    first = next(iter(values["weight_map"]))
    index.write_text(json.dumps({"weight_map": {first: "../elsewhere.safetensors"}}))
    with pytest.raises(CheckpointError, match="not a file of weights"):
        load_latte_t2v(tmp_path)
    missing = values["weight_map"][first]
    index.write_text(json.dumps(values))
    (tmp_path / missing).unlink()
    with pytest.raises(CheckpointError, match=f"{missing}: no such file"):
        load_latte_t2v(tmp_path)


def test_each_loader_names_the_other(tmp_path):
    diffusers_network().save_pretrained(tmp_path / "text")
    with pytest.raises(CheckpointError, match="a text-to-video network"):
        load_latte(tmp_path / "text")
    weights = load_file(tmp_path / "text" / "diffusion_pytorch_model.safetensors")
    torch.save(weights, tmp_path / "text.pt")
    with pytest.raises(CheckpointError, match=r"without the config\.json"):
        load_latte_t2v(tmp_path / "text.pt")
    pictures = {n: v for n, v in weights.items() if not n.startswith("temporal")}
    torch.save(pictures, tmp_path / "pixart.pt")
    with pytest.raises(CheckpointError, match="PixArt-alpha, an image network"):
        load_latte_t2v(tmp_path / "pixart.pt")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_layers", 2**40),
        ("num_layers", 3),
        ("sample_size", -8),
        ("patch_size", 0),
        ("attention_head_dim", "x" * 9),
        ("video_length", None),
        ("caption_channels", 2**40),
    ],
)
def test_damaged_sizes_are_refused_before_a_network_is_built(tmp_path, key, value):
    diffusers_network().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    began = time.monotonic()
    with pytest.raises(CheckpointError) as error:
        load_latte_t2v(tmp_path)
    assert error.value.hint
    assert time.monotonic() - began < 5
