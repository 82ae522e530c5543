"""Loading a text-to-video pipeline: texts, and parts that do not fit each other."""

import shutil

import pytest
import torch
from commands.pipelines import SENTENCES, WIDTH, write_pipeline
from diffusers import AutoencoderKL
from transformers import T5Config, T5EncoderModel

from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import CheckpointError
from latte_cli.sampling.text_requests import T2VOptions, text_clip_requests
from latte_cli.sampling.text_to_video import load_generator
from latte_cli.text.prompts import Prompt


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return write_pipeline(tmp_path_factory.mktemp("pipeline"))


def load(folder, *prompts):
    options = T2VOptions(prompts, model=str(folder), steps=2, precision="float32", negative="low")
    requests = text_clip_requests(options)
    return requests, load_generator(options, requests, Console(quiet=True))


def test_every_text_is_encoded_once_and_clips_get_theirs(pipeline):
    prompts = [
        Prompt(SENTENCES[0]),
        Prompt(SENTENCES[1], negative=SENTENCES[0], guidance=2, seed=5),
    ]
    (first, second), generator = load(pipeline, *prompts)
    assert set(generator.texts) == {SENTENCES[0], SENTENCES[1], "low"}
    tokens = {text: encoded.tokens for text, encoded in generator.texts.items()}
    for request, texts in ((first, (SENTENCES[0], "low")), (second, (SENTENCES[1], SENTENCES[0]))):
        length = generator.texts[request.prompt].length
        for found, text in zip(generator.conditioning(request), texts, strict=True):
            assert torch.equal(found[0], tokens[text][:length])
    assert not torch.equal(tokens[SENTENCES[0]], tokens[SENTENCES[1]])
    assert [(c.seed, c.guidance) for c in (first, second)] == [(0, 7.5), (5, 2)]
    assert generator.size == (64, 64), "8 x 8 latents, 8 pixels each"


def test_a_text_encoder_of_another_width_raises(pipeline, tmp_path):
    copy = shutil.copytree(pipeline, tmp_path / "copy")
    sizes = {"vocab_size": 160, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1}
    shutil.rmtree(copy / "text_encoder")
    T5EncoderModel(T5Config(**sizes, num_heads=2)).save_pretrained(copy / "text_encoder")
    with pytest.raises(CheckpointError, match=f"embeddings of width 16, the network takes {WIDTH}"):
        load(copy, Prompt("a red car"))


def test_an_autoencoder_of_other_latents_raises(pipeline, tmp_path):
    copy = shutil.copytree(pipeline, tmp_path / "copy")
    shutil.rmtree(copy / "vae")
    AutoencoderKL(block_out_channels=(32,), latent_channels=3).save_pretrained(copy / "vae")
    with pytest.raises(CheckpointError, match="has 3 latent channels, the network takes 4"):
        load(copy, Prompt("a red car"))
