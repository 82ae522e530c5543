"""A text-to-video pipeline made ready to draw: parts that do not fit each other are told."""

import shutil

import pytest
import torch
from diffusers import AutoencoderKL
from helpers.pipelines import SENTENCES, WIDTH, write_pipeline
from transformers import T5Config, T5EncoderModel

from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import CheckpointError
from latte_cli.sampling.text_pipeline import open_pipeline
from latte_cli.sampling.text_plan import T2VOptions, list_clips
from latte_cli.text.prompts import Prompt


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return write_pipeline(tmp_path_factory.mktemp("pipeline"))


def opened(folder, *prompts):
    options = T2VOptions(prompts, model=str(folder), steps=2, precision="float32", negative="low")
    clips = list_clips(options)
    return clips, open_pipeline(options, clips, Console(quiet=True))


def test_every_text_is_encoded_once_and_clips_are_told_theirs(pipeline):
    prompts = [
        Prompt(SENTENCES[0]),
        Prompt(SENTENCES[1], negative=SENTENCES[0], guidance=2, seed=5),
    ]
    clips, there = opened(pipeline, *prompts)
    assert set(there.texts) == {SENTENCES[0], SENTENCES[1], "low"}
    first, second = map(there.clip, clips)
    assert torch.equal(first.text.tokens, second.negative.tokens)
    assert torch.equal(first.negative.tokens, there.texts["low"].tokens)
    assert not torch.equal(first.text.tokens, second.text.tokens)
    assert [(c.seed, c.guidance) for c in (first, second)] == [(0, 7.5), (5, 2)]
    assert there.size == (64, 64), "8 x 8 latents, 8 pixels each"


def test_a_text_encoder_of_another_width_is_told(pipeline, tmp_path):
    copy = shutil.copytree(pipeline, tmp_path / "copy")
    sizes = {"vocab_size": 160, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1}
    shutil.rmtree(copy / "text_encoder")
    T5EncoderModel(T5Config(**sizes, num_heads=2)).save_pretrained(copy / "text_encoder")
    with pytest.raises(CheckpointError, match=f"embeddings of width 16, its network takes {WIDTH}"):
        opened(copy, Prompt("a red car"))


def test_an_autoencoder_of_other_latents_is_told(pipeline, tmp_path):
    copy = shutil.copytree(pipeline, tmp_path / "copy")
    shutil.rmtree(copy / "vae")
    AutoencoderKL(block_out_channels=(32,), latent_channels=3).save_pretrained(copy / "vae")
    with pytest.raises(CheckpointError, match="has 3 latent channels, its network takes 4"):
        opened(copy, Prompt("a red car"))
