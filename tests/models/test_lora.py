"""Low-rank adapters: the change they make, their files, and the networks they are for."""

import json

import pytest
import torch
from helpers.networks import inputs, random_latte, random_text, relative_error, text_inputs
from safetensors.torch import load_file, save_file

from latte_cli.config.train_section import LoraConfig
from latte_cli.models.exporting import write_diffusers
from latte_cli.models.lora.adapters import (
    checksum_of_network,
    merge_adapter,
    read_adapter,
    write_adapter,
)
from latte_cli.models.lora.layers import adapters_of, add_lora, target_layers, without_adapters
from latte_cli.runtime.errors import CheckpointError, ConfigError

pytest.importorskip("peft")
LORA = LoraConfig(rank=2, alpha=6)


def adapted(model):
    """The network with adapters that are not zero, and what it was."""
    base = {name: value.clone() for name, value in model.state_dict().items()}
    add_lora(model, LORA)
    generator = torch.Generator().manual_seed(1)
    for name, value in model.named_parameters():
        if ".lora_" in name:
            value.data.normal_(std=0.2, generator=generator)
    return model, base


@pytest.fixture(params=["class", "text"])
def network(request):
    if request.param == "class":
        model = random_latte(depth=2)
        return model, inputs(model)
    model = random_text(depth=2)
    return model, text_inputs(model)


def test_adapters_begin_as_nothing_and_are_all_that_is_trained(network):
    model, (x, cond) = network
    with torch.no_grad():
        before = model(x, **cond)
        add_lora(model, LORA)
        assert torch.equal(model(x, **cond), before)
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert trained
    assert all(".lora_" in name for name in trained)
    share = sum(value.numel() for value in model.parameters() if value.requires_grad)
    assert share < 0.3 * sum(value.numel() for value in model.parameters())


def test_the_plain_network_with_the_changes_added_does_the_same(network):
    model, (x, cond) = network
    plain = random_latte(depth=2) if "y" in cond else random_text(depth=2)
    model, base = adapted(model)
    weights = model.state_dict()
    plain.load_state_dict(without_adapters(weights, LORA.scale))
    with torch.no_grad():
        expected = model(x, **cond)
        assert relative_error(plain(x, **cond), expected) < 1e-5
    assert without_adapters(weights, 0.0).keys() == base.keys()
    assert all(torch.equal(v, base[n]) for n, v in without_adapters(weights, 0.0).items())


@pytest.mark.parametrize("layout", ["peft", "diffusers", "kohya"])
def test_an_adapter_is_the_same_from_every_layout(network, tmp_path, layout):
    model, (x, cond) = network
    model, base = adapted(model)
    plain = random_latte(depth=2) if "y" in cond else random_text(depth=2)
    plain.load_state_dict(base)
    layers = adapters_of(model.state_dict())
    write_adapter(
        tmp_path / "made", layers, LORA.rank, LORA.scale_alpha, checksum_of_network(plain)
    )
    path = tmp_path / "made"
    if layout == "diffusers":
        path = path / "pytorch_lora_weights.safetensors"
    if layout == "kohya":
        path = tmp_path / "kohya.safetensors"
        save_file(kohya(layers, LORA.scale_alpha), path)
    adapter = read_adapter(path)
    merge_adapter(plain, adapter, scale=0.0)
    assert all(torch.equal(value, base[name]) for name, value in plain.state_dict().items())
    merge_adapter(plain, adapter)
    with torch.no_grad():
        assert relative_error(plain(x, **cond), model(x, **cond)) < 1e-5


def kohya(layers, alpha):
    """Names as kohya's scripts have them."""
    parts = {"lora_A": "lora_down.weight", "lora_B": "lora_up.weight"}
    named = {}
    for name, value in layers.items():
        layer, _, part = name.rpartition(".")
        key = f"lora_unet_{layer.replace('.', '_')}"
        named |= {f"{key}.{parts[part]}": value, f"{key}.alpha": torch.tensor(float(alpha))}
    return named


def test_peft_reads_the_folder(tmp_path):
    from peft import LoraConfig as PeftConfig
    from peft import set_peft_model_state_dict

    model, _ = adapted(random_text(depth=2))
    layers = adapters_of(model.state_dict())
    write_adapter(tmp_path / "made", layers, LORA.rank, LORA.scale_alpha, "0" * 16)
    config = PeftConfig.from_pretrained(tmp_path / "made")
    assert (config.r, config.lora_alpha) == (2, 6)
    theirs = random_text(depth=2)
    add_lora(theirs, LORA)
    weights = load_file(tmp_path / "made" / "adapter_model.safetensors")
    plain = {name.removeprefix("base_model.model."): value for name, value in weights.items()}
    found = set_peft_model_state_dict(theirs, plain)
    assert not found.unexpected_keys
    assert all(torch.equal(v, layers[n]) for n, v in adapters_of(theirs.state_dict()).items())


def test_diffusers_reads_the_file_and_gives_the_same(tmp_path):
    """Its class of Latte takes no adapters by itself; its loader for networks adds them."""
    from diffusers import LatteTransformer3DModel
    from diffusers.loaders.peft import PeftAdapterMixin

    class WithAdapters(LatteTransformer3DModel, PeftAdapterMixin):
        pass

    model = random_text(depth=2)
    write_diffusers(model, tmp_path / "network")
    model, _ = adapted(model)
    layers = adapters_of(model.state_dict())
    write_adapter(tmp_path / "made", layers, LORA.rank, LORA.scale_alpha, "0" * 16)
    theirs = WithAdapters.from_pretrained(tmp_path / "network")
    x, cond = text_inputs(model)
    name = "pytorch_lora_weights.safetensors"
    theirs.load_lora_adapter(tmp_path / "made", weight_name=name, prefix="transformer")
    with torch.no_grad():
        inputs = (x.transpose(1, 2), cond["t"])
        (out,) = theirs(*inputs, encoder_hidden_states=cond["text"], return_dict=False)
        assert relative_error(out.transpose(1, 2), model(x, **cond)) < 1e-5


def test_an_adapter_of_another_network_and_what_is_none_are_refused(tmp_path):
    model, _ = adapted(random_text(depth=2))
    layers = adapters_of(model.state_dict())
    write_adapter(tmp_path / "made", layers, LORA.rank, LORA.scale_alpha, "0" * 16)
    with pytest.raises(CheckpointError, match="trained on another network"):
        merge_adapter(random_text(depth=2), read_adapter(tmp_path / "made"))
    save_file(kohya(layers, 6), tmp_path / "kohya.safetensors")
    with pytest.raises(CheckpointError, match="which this network does not have"):
        merge_adapter(random_latte(depth=2), read_adapter(tmp_path / "kohya.safetensors"))
    with pytest.raises(CheckpointError, match=r"_attn1_to_k is \(16, 16\), the"):
        merge_adapter(random_text(depth=2, width=32), read_adapter(tmp_path / "kohya.safetensors"))
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="weight is no part of an adapter"):
        read_adapter(tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="no adapter can be read"):
        read_adapter(tmp_path / "none")
    (tmp_path / "made" / "adapter_config.json").write_text(json.dumps({"r": 0, "lora_alpha": 1}))
    with pytest.raises(CheckpointError, match="damaged"):
        read_adapter(tmp_path / "made")


def test_targets_that_match_nothing_are_an_error():
    with pytest.raises(ConfigError, match="no linear layer matches `to_z`") as error:
        target_layers(random_text(depth=2), ["*to_q", "to_z"])
    assert "names are as" in error.value.hint
