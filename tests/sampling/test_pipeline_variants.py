"""Pipelines in every form that diffusers saves them in: half precision, pickles, shards."""

import json
import shutil

import pytest
import torch
from commands.pipelines import write_pipeline
from conftest import fail, succeed
from diffusers import AutoencoderKL, LattePipeline
from diffusers.utils import logging

from latte_cli.models import load_latte_t2v
from latte_cli.runtime.weight_files.pretrained import find_weight_set
from latte_cli.text.encoder import TextEncoder
from latte_cli.vae import LatentCodec


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return write_pipeline(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture
def saved(pipeline, tmp_path):
    """Saves the pipeline as diffusers does, in another form."""

    def save(dtype=torch.float32, **options):
        logging.disable_progress_bar()
        pipe = LattePipeline.from_pretrained(pipeline, torch_dtype=dtype)
        pipe.save_pretrained(tmp_path / "saved", **options)
        return tmp_path / "saved"

    return save


def parts(folder):
    """The numbers of network, autoencoder and text encoder."""
    encoder = TextEncoder.load(
        folder / "tokenizer", folder / "text_encoder", torch.device("cpu"), torch.float32
    )
    codec = LatentCodec.load(str(folder / "vae"))
    network = load_latte_t2v(folder / "transformer")
    return [each.state_dict() for each in (network, codec.vae, encoder._model)]


FORMS = {
    "fp16": {"variant": "fp16", "dtype": torch.float16},
    "bf16": {"variant": "bf16", "dtype": torch.bfloat16},
    "other_variant": {"variant": "ema"},
    "pickles": {"safe_serialization": False},
    "fp16_pickles": {"variant": "fp16", "dtype": torch.float16, "safe_serialization": False},
    "shards": {"max_shard_size": "8KB"},
    "fp16_shards": {"variant": "fp16", "dtype": torch.float16, "max_shard_size": "8KB"},
    "shards_of_pickles": {"safe_serialization": False, "max_shard_size": "8KB"},
}


@pytest.mark.parametrize("form", FORMS)
def test_pipelines_load_in_each_form(pipeline, saved, form):
    exact = "dtype" not in FORMS[form]
    found = parts(saved(**FORMS[form]))
    for ours, theirs in zip(found, parts(pipeline), strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert ours[name].dtype == torch.float32
            torch.testing.assert_close(ours[name], value, rtol=0 if exact else 0.01, atol=0)


def test_a_clip_comes_from_a_pipeline_in_half_precision(saved, tmp_path):
    folder = saved(variant="fp16", dtype=torch.float16)
    words = ("--frames", 4, "--steps", 2, "--precision", "float32", "-o", tmp_path / "a.mp4")
    succeed("t2v", "two dogs", "--model", folder, *words)
    assert (tmp_path / "a.mp4").is_file()


def test_plain_files_come_before_half_precision_and_whole_ones_before_both(pipeline, tmp_path):
    folder = tmp_path / "vae"
    shutil.copytree(pipeline / "vae", folder)
    vae = AutoencoderKL.from_pretrained(folder)
    vae.half().save_pretrained(folder, variant="fp16")
    assert find_weight_set(folder).variant == ""
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    assert find_weight_set(folder).variant == "fp16"
    index = {"weight_map": {"a": "diffusion_pytorch_model-00001-of-00002.safetensors"}}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    assert find_weight_set(folder).variant == "fp16", "the plain set lacks a shard"


@pytest.mark.parametrize(
    "name",
    [
        "diffusion_pytorch_model.safetensors.index.fp16.json",
        "diffusion_pytorch_model.safetensors.fp16.index.json",
        "diffusion_pytorch_model.fp16.safetensors.index.json",
        "model.safetensors.index.fp16.json",
        "pytorch_model.bin.index.fp16.json",
    ],
)
def test_indices_of_all_versions_are_known(tmp_path, name):
    (tmp_path / name).write_text(json.dumps({"weight_map": {"a": "x.fp16.safetensors"}}))
    for other in ("training_args.bin", "optimizer.bin", "config.json", "spiece.model"):
        (tmp_path / other).touch()
    found = find_weight_set(tmp_path)
    assert found.variant == "fp16"
    assert found.missing == [tmp_path / "x.fp16.safetensors"]


def test_missing_parts_are_named_with_what_helps(pipeline, tmp_path):
    def message(part, *words):
        shutil.copytree(pipeline, tmp_path / part)
        shutil.rmtree(tmp_path / part / part)
        said = fail("t2v", "a dog", "--model", tmp_path / part, "--steps=1", *words)
        assert f"has no folder {part}" in said
        return said

    words = "--vae-decoder temporal"
    assert "--vae-decoder frame" in message("vae_temporal_decoder", *words.split())
    assert words in message("vae")
    assert "or save the pipeline again" in message("text_encoder")
    shutil.copytree(pipeline, tmp_path / "whole")
    shutil.rmtree(tmp_path / "whole" / "vae_temporal_decoder")
    small = ("--frames", 4, "--steps", 1, "--precision", "float32")
    succeed("t2v", "a dog", "--model", tmp_path / "whole", *small, "-o", tmp_path / "a.mp4")


def test_a_pipeline_saved_without_its_network_is_refused(pipeline, tmp_path):
    shutil.copytree(pipeline, tmp_path / "p")
    index = json.loads((tmp_path / "p/model_index.json").read_text())
    index["transformer"] = [None, None]
    (tmp_path / "p/model_index.json").write_text(json.dumps(index))
    assert "was saved without its network" in fail("t2v", "a dog", "--model", tmp_path / "p")
