"""Damaged parts of a pipeline are errors with a hint, whatever their libraries raise."""

import json

import pytest
import torch
from commands.pipelines import write_pipeline

from latte_cli.runtime.errors import CheckpointError
from latte_cli.text.encoder import TextEncoder
from latte_cli.vae.autoencoders import load_autoencoder


@pytest.fixture
def pipeline(tmp_path):
    return write_pipeline(tmp_path / "pipeline")


def refused(load, *arguments) -> None:
    with pytest.raises(CheckpointError) as error:
        load(*arguments)
    assert error.value.hint


def load_text_encoder(pipeline) -> TextEncoder:
    folders = pipeline / "tokenizer", pipeline / "text_encoder"
    return TextEncoder.load(*folders, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("share", [0.1, 0.9])
def test_weights_that_are_cut_off(pipeline, share):
    for part, load in ("text_encoder", load_text_encoder), ("vae", None):
        path = next((pipeline / part).glob("*.safetensors"))
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        refused(*((load, pipeline) if load else (load_autoencoder, str(pipeline / part))))


@pytest.mark.parametrize(
    ("key", "value"), [("num_decoder_layers", "../.."), ("d_model", [[]]), ("vocab_size", -1)]
)
def test_values_of_another_type_in_the_text_encoders_configuration(pipeline, key, value):
    path = pipeline / "text_encoder" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    refused(load_text_encoder, pipeline)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("down_block_types", ["DownEncoderBlock2D"] * 5),
        ("up_block_types", []),
        ("block_out_channels", [[]]),
        ("act_fn", 3),
    ],
)
def test_values_of_another_type_in_the_autoencoders_configuration(pipeline, key, value):
    path = pipeline / "vae" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    refused(load_autoencoder, str(pipeline / "vae"))


@pytest.mark.parametrize(("key", "value"), [("model_max_length", "../.."), ("pad_token", 3)])
def test_values_of_another_type_in_the_tokenizers_configuration(pipeline, key, value):
    path = pipeline / "tokenizer" / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    refused(load_text_encoder, pipeline)


def test_a_vocabulary_with_a_damaged_table(pipeline):
    path = pipeline / "tokenizer" / "spiece.model"
    content = bytearray(path.read_bytes())
    begin = len(content) // 5
    for place in range(begin, len(content), 1000):
        content[place] ^= 0xFF
    path.write_bytes(content)
    refused(load_text_encoder, pipeline)


def test_sizes_that_the_text_encoder_cannot_compute_with(pipeline):
    path = pipeline / "text_encoder" / "config.json"
    values = json.loads(path.read_text()) | {"relative_attention_max_distance": -1}
    path.write_text(json.dumps(values))
    encoder = load_text_encoder(pipeline)
    refused(encoder.encode, ["two dogs run"])
