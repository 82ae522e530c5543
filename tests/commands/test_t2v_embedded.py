"""`latte t2v --model embedded`: a pipeline inside the package, with its own defaults and words."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from commands.pipelines import WIDTH, write_pipeline
from conftest import fail, succeed
from diffusers import LattePipeline
from recipes.make_text_encoder import all_sentences, write_tokenizer
from recipes.measure_t2v_shapes import measure, mixed_sentences, verdict
from recipes.ship_pipeline import ship
from safetensors.torch import load_file
from transformers import AutoTokenizer

from latte_cli.config import locations
from latte_cli.sampling.pipelines import files
from latte_cli.sources.shapes import direction_in, held_out_sentences, render_clip
from latte_cli.text.encoder import TextEncoder
from latte_cli.video_io import read_video, write_video

RED = "a red circle moving up and left"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> Path:
    """A tiny random pipeline of the embedded one's layout, vocabulary and precision."""
    root = tmp_path_factory.mktemp("assets")
    made = write_pipeline(root / "made")
    shutil.rmtree(made / "tokenizer")
    shutil.rmtree(made / "vae_temporal_decoder")
    write_tokenizer(made / "tokenizer", [text for text, _ in all_sentences()])
    (made / "sampling.json").write_text('{"steps": 3, "guidance": 2.5}\n')
    assert ship(made, root / "t2v-shapes") < 1_000_000
    return root


@pytest.fixture
def embedded(shipped, monkeypatch) -> Path:
    monkeypatch.setattr(locations, "EMBEDDED_PIPELINE", str(shipped / "t2v-shapes"))
    return shipped / "t2v-shapes"


def test_steps_guidance_frames_and_size_are_the_pipeline_s_own(embedded, tmp_path):
    succeed("t2v", RED, "--model=embedded", f"--out={tmp_path / 'a.mp4'}")
    options = ("--model=embedded", "-n", 2, f"--out={tmp_path / 'two'}")
    succeed("t2v", RED, *options)
    settings = json.loads((tmp_path / "two" / "settings.json").read_text())
    values = {"model": "embedded", "steps": 3, "frames": 4, "sampler": None, "size": None}
    assert {key: settings[key] for key in values} == values
    rows = [json.loads(line) for line in (tmp_path / "two" / "samples.jsonl").open()]
    assert {row["guidance"] for row in rows} == {2.5}
    assert read_video(tmp_path / "a.mp4").shape == (4, 64, 64, 3)
    said = succeed("t2v", RED, *options, "--steps=2", "--guidance=0", "--overwrite").stderr
    assert "does not know" not in said
    settings = json.loads((tmp_path / "two" / "settings.json").read_text())
    assert settings["steps"] == 2


def test_other_pipelines_are_sampled_as_latte_1_unless_they_say(tmp_path):
    write_pipeline(tmp_path / "plain")
    shown = files.PipelineFiles(str(tmp_path / "plain")).sampling()
    assert (shown.steps, shown.guidance) == (50, 7.5)
    for text in (
        '{"steps": 0, "guidance": 1}',
        '{"steps": 5}',
        "{",
        '{"steps": 1, "guidance": -1}',
    ):
        (tmp_path / "plain" / "sampling.json").write_text(text)
        said = fail("t2v", RED, f"--model={tmp_path / 'plain'}")
        assert "sampling.json: does not say how clips are sampled" in said


def test_the_same_clip_comes_from_the_folder(embedded, tmp_path):
    clips = []
    for model in ("embedded", embedded):
        out = tmp_path / f"{len(clips)}.npz"
        succeed("t2v", RED, f"--model={model}", f"--out={out}", "--precision=float32")
        clips.append(np.load(out)["clips"])
    assert np.array_equal(*clips)


def test_a_folder_of_that_name_does_not_hide_it(embedded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "embedded").mkdir()
    succeed("t2v", RED, "--model=embedded", "--out=a.npz")


def test_words_that_it_does_not_know_are_told_once_with_those_that_it_knows(embedded, tmp_path):
    options = ("--model=embedded", "--steps=2", f"--out={tmp_path / 'out'}")
    said = succeed("t2v", "A raccoon plays guitar.", RED, "a raccoon", *options).stderr
    (line,) = [line for line in said.splitlines() if "does not know" in line]
    assert "the embedded pipeline does not know: raccoon, plays, guitar; it knows: a, and," in line
    assert line.rstrip().endswith("up, yellow")
    assert {"circle", "purple", "left"} <= set(line.replace(",", "").split())


def test_punctuation_and_capitals_make_no_difference(embedded):
    part = files.PipelineFiles("embedded").part
    encoder = TextEncoder.load(
        part("tokenizer"), part("text_encoder"), torch.device("cpu"), torch.float32
    )
    plain, *others = encoder.encode(
        ["red circle moving up and left", "Red circle, moving up-and-left!", "red circle moving"]
    )
    assert not plain.unknown
    assert torch.equal(plain.tokens, others[0].tokens)
    assert not torch.equal(plain.tokens, others[1].tokens)


def test_an_installation_without_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(locations, "EMBEDDED_PIPELINE", str(tmp_path / "t2v-shapes"))
    said = fail("t2v", RED, "--model=embedded")
    assert "lacks the embedded text-to-video pipeline" in said
    assert "install the package again" in said


def test_without_a_network_the_hint_names_it():
    said = fail("t2v", RED)
    assert "maxin-cn/Latte-1/scheduler: not found on this machine" in said
    assert "--model embedded is a small built-in pipeline, which knows moving shapes" in said


def test_captions_of_a_preset_may_be_encoded_by_it(embedded, tmp_path):
    """`text.path: embedded`, with the hint of missing encoders."""
    files.PipelineFiles("embedded", is_whole=False).part("text_encoder")
    monkey = files.PipelineFiles(str(tmp_path), is_whole=False)
    assert monkey.root == tmp_path
    succeed("prepare", "shapes", "--count=8", "--size=32", f"--data-root={tmp_path / 'data'}")
    words = [f"data.root={tmp_path / 'data' / 'shapes'}", "data.size=32"]
    words += [f"model.text_width={WIDTH}", "sample.prompts=[]"]
    overrides = [word for each in words for word in ("-o", each)]
    roots = (f"--data-root={tmp_path / 'data'}", f"--latents-root={tmp_path / 'latents'}")
    shown = succeed("--json", "encode-latents", "--preset=t2v-shapes", *roots, *overrides)
    assert json.loads(shown.stdout)["captions"] > 16
    assert (tmp_path / "latents" / "shapes-text-embedded" / "meta.json").is_file()


def test_halved_it_is_still_a_pipeline_of_diffusers(embedded):
    weights = load_file(embedded / "transformer" / "diffusion_pytorch_model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float16}
    theirs = LattePipeline.from_pretrained(embedded, torch_dtype=torch.float32)
    theirs.set_progress_bar_config(disable=True)
    frames = theirs(
        RED, num_inference_steps=2, video_length=4, height=32, width=32, output_type="pt"
    ).frames
    assert frames.shape == (1, 4, 3, 32, 32)


def test_the_tokenizer_is_sentencepiece_s_and_splits_captions_into_words(embedded):
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(
        model_file=str(embedded / "tokenizer" / "spiece.model")
    )
    tokenizer = AutoTokenizer.from_pretrained(embedded / "tokenizer")
    for text, _ in all_sentences():
        ids = tokenizer(text).input_ids
        assert ids[:-1] == model.encode(text)
        assert len(ids) == len(text.split()) + 1
        assert tokenizer.unk_token_id not in ids


def test_measured_sentences_are_balanced_and_no_caption_of_training_among_the_held_out():
    mixed = mixed_sentences()
    assert len(set(mixed)) == 64
    assert set(Counter(map(direction_in, mixed)).values()) == {8}
    assert not set(mixed).intersection(held_out_sentences())


def test_clips_are_measured_by_their_sentences(embedded, tmp_path):
    write_video(tmp_path / "real.mp4", render_clip(0, seed=1, num_frames=15)[::2], 4)
    right = verdict("a purple diamond moving right", tmp_path / "real.mp4")
    assert right == {"direction": True, "color": True, "one figure": True, "kind": True}
    wrong = verdict("a red square moving left", tmp_path / "real.mp4")
    assert wrong == {"direction": False, "color": False, "one figure": True, "kind": False}
    texts = ["a red circle moving left", "a red circle moving up"]
    found = measure(texts, tmp_path / "clips", ["--model=embedded"])
    assert found["clips"] == 2
    names = [path.name for path in sorted((tmp_path / "clips").glob("*.mp4"))]
    assert names == ["00000-seed0.mp4", "00001-seed1.mp4"], "each from its own noise"
    assert len(found["wrong direction"]) == 2 - 2 * found["direction"]
