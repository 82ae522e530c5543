"""`latte t2v`: clips match the published pipeline, from prompts on the command line or in files."""

import gc
import json
import shutil

import numpy as np
import pytest
from commands.pipelines import write_pipeline
from commands.text_clips import published_clip, sampled_clip
from conftest import fail, succeed
from diffusers import AutoencoderKLTemporalDecoder
from PIL import Image

from latte_cli.commands import t2v
from latte_cli.sampling import text_to_video
from latte_cli.text.encoder import TextEncoder
from latte_cli.vae import psnr
from latte_cli.video_io import read_video

RACCOON = "A raccoon playing guitar, free shipping!"
DOGS = "two dogs run"
SMALL = ("--frames", 4, "--steps", 3, "--precision", "float32")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return write_pipeline(tmp_path_factory.mktemp("pipeline"))


@pytest.mark.parametrize("guidance", [0.0, 0.5, 1.0, 7.5])
def test_clips_match_the_published_pipeline(pipeline, monkeypatch, guidance):
    noise, frames = sampled_clip(monkeypatch, pipeline, RACCOON, guidance=guidance, size=(64, 48))
    assert frames.shape == (4, 64, 48, 3)
    assert frames.float().std() > 10, "a flat picture would match anything"
    assert psnr(frames, published_clip(pipeline, noise, RACCOON, guidance)) >= 45


def test_a_prompt_that_is_too_long_is_cut(pipeline, monkeypatch, capsys):
    long = "two dogs run over green grass " * 40
    noise, frames = sampled_clip(monkeypatch, pipeline, long, size=(64, 64))
    assert psnr(frames, published_clip(pipeline, noise, long)) >= 45
    succeed("t2v", long, "--model", pipeline, *SMALL, "-o", pipeline / "long.mp4")


def test_the_text_that_did_not_fit_is_reported(pipeline, tmp_path):
    result = succeed(
        "t2v", "grass " * 80 + "moon", "--model", pipeline, *SMALL, "-o", tmp_path / "a.mp4"
    )
    (line,) = [line for line in result.stderr.splitlines() if "longer than 120 tokens" in line]
    assert "left out:" in line
    assert line.count("moon") == 1


def test_the_temporal_decoder_matches_the_published_pipeline(tmp_path, monkeypatch):
    """Sixteen frames, of which it takes fourteen at a time."""
    folder = write_pipeline(tmp_path, frames=16)
    noise, frames = sampled_clip(
        monkeypatch, folder, DOGS, vae_decoder="temporal", frames=16, size=(32, 32)
    )
    vae = AutoencoderKLTemporalDecoder.from_pretrained(folder / "vae_temporal_decoder")
    assert psnr(frames, published_clip(folder, noise, DOGS, vae=vae)) >= 45


def test_the_text_encoder_is_freed_before_the_network_loads(pipeline, monkeypatch, tmp_path):
    there = []

    def loaded(path):
        there.append([o for o in gc.get_objects() if isinstance(o, TextEncoder)])
        return load(path)

    load = text_to_video.load_latte_t2v
    monkeypatch.setattr(text_to_video, "load_latte_t2v", loaded)
    succeed("t2v", DOGS, "--model", pipeline, *SMALL, "-o", tmp_path / "a.mp4")
    assert there == [[]]


def test_a_clip_is_the_same_alone_and_among_others(pipeline, tmp_path):
    lines = tmp_path / "prompts.txt"
    lines.write_text(f"{RACCOON}\n\n{DOGS}\n")
    options = ("--model", pipeline, *SMALL)
    succeed("t2v", "--prompts", lines, *options, "-o", tmp_path / "many")
    succeed("t2v", DOGS, *options, "-o", tmp_path / "one.mp4")
    names = sorted(path.name for path in (tmp_path / "many").iterdir())
    assert names == [
        *("00000-seed0.mp4", "00001-seed0.mp4"),
        *("grid.png", "samples.jsonl", "settings.json"),
    ]
    alone, among = read_video(tmp_path / "one.mp4"), read_video(tmp_path / "many/00001-seed0.mp4")
    assert np.array_equal(alone, among)
    assert not np.array_equal(alone, read_video(tmp_path / "many/00000-seed0.mp4"))


def test_only_missing_clips_are_sampled_and_the_list_is_complete(pipeline, tmp_path):
    table = tmp_path / "prompts.csv"
    table.write_text(f'prompt,seed,guidance\n"{RACCOON}",3,\n{DOGS},4,2.5\n')
    words = (
        "t2v",
        "--prompts",
        table,
        "--model",
        pipeline,
        *SMALL,
        "-n",
        2,
        "-o",
        tmp_path / "out",
    )
    succeed(*words)
    names = [f"{i:05d}-seed{s}.mp4" for i, s in enumerate([3, 3, 4, 4])]
    before = {name: (tmp_path / "out" / name).read_bytes() for name in names}
    (tmp_path / "out" / names[2]).unlink()
    result = json.loads(succeed("--json", *words).stdout)
    assert (result["clips"], result["sampled_now"]) == (4, 1)
    assert {name: (tmp_path / "out" / name).read_bytes() for name in names} == before
    rows = [json.loads(line) for line in (tmp_path / "out/samples.jsonl").read_text().splitlines()]
    assert [row["file"] for row in rows] == names
    assert [row["guidance"] for row in rows] == [7.5, 7.5, 2.5, 2.5]
    assert "other settings: steps 3 against 2" in fail(
        *words[:-2], "--steps", 2, "-o", tmp_path / "out"
    )


def test_one_frame_is_a_picture(pipeline, tmp_path):
    options = ("--model", pipeline, "--steps", 2)
    succeed("t2v", DOGS, *options, "--frames", 1, "-o", tmp_path / "dogs.png")
    picture = Image.open(tmp_path / "dogs.png")
    assert picture.size == (64, 64)
    assert json.loads(picture.text["settings"])["prompt"] == DOGS
    output = fail("t2v", DOGS, *options, "--frames", 2, "-o", tmp_path / "more.png")
    assert "more.png is one picture, but a clip has 2 frames" in output


@pytest.mark.parametrize("name", ["clip.gif", "clip.npz", "clip.mp4"])
def test_the_suffix_sets_the_format_of_a_file(pipeline, tmp_path, name):
    path = tmp_path / name
    succeed("t2v", DOGS, "--model", pipeline, *SMALL, "-o", path)
    if path.suffix == ".npz":
        assert np.load(path)["clips"].shape == (1, 4, 64, 64, 3)
    else:
        assert read_video(path).shape == (4, 64, 64, 3)


@pytest.mark.parametrize("sampler", ["ddpm", "dpm++", "unipc", "euler"])
def test_other_samplers_use_the_pipeline_s_noise_schedule(pipeline, tmp_path, sampler):
    path = tmp_path / "a.mp4"
    succeed("t2v", DOGS, "--model", pipeline, *SMALL, "--sampler", sampler, "-o", path)
    assert read_video(path).std() > 10


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no prompt"),
        ((DOGS, "--model", "no/such/folder"), "no/such/folder: no such folder"),
        ((DOGS, "--size", "30x64"), "frames of 30x64 pixels: this model makes multiples of 16"),
        ((DOGS, "--size", "wide"), "--size wide"),
        ((DOGS, "--steps", "2000"), "2000 steps, but the network was trained on 1000 timesteps"),
        ((DOGS, "--sampler", "magic"), "--sampler magic is unknown"),
        ((DOGS, "--text-encoder-bits", 8), "needs the package bitsandbytes"),
        ((DOGS, "--text-encoder-bits", 2), "--text-encoder-bits 2 is unknown"),
        ((DOGS, "--vae-decoder", "spatial"), "--vae-decoder spatial is unknown"),
        ((DOGS, "--precision", "fp16"), "--precision fp16 is unknown"),
        ((DOGS, "--text-encoder", "gpu"), "--text-encoder gpu is unknown"),
        ((DOGS, DOGS, "-o", "two.mp4"), "two.mp4 is one file, but there are 2 clips"),
        ((DOGS, "-o", "sample.steps=3"), "sample.steps=3 is a place for clips here, not a setting"),
        ((DOGS, "-o", "clip.avi"), "clips cannot be written as `.avi`"),
    ],
)
def test_invalid_options_fail(pipeline, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    model = () if "--model" in words else ("--model", pipeline)
    assert message in fail("t2v", *words, *model)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "\n \n", "has no prompt"),
        ("a.csv", "text\nhello\n", "has no column `prompt`"),
        ("a.csv", "prompt,seed\nhello,x\n", "line 2 has a value that is not a number"),
        ("a.jsonl", '{"prompt": "a"}\nnot json\n', "line 2 is not JSON"),
        ("a.jsonl", '{"prompt": "a", "sed": 1}\n', "line 1 has the unknown key `sed`"),
        ("a.jsonl", '{"seed": 1}\n', "line 1 has no prompt"),
        ("a.csv", "prompt,seed\nhello,-1\n", "line 2 has the seed -1"),
        ("missing.txt", None, "cannot be read"),
    ],
)
def test_errors_in_a_prompt_file_name_the_line(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    assert message in fail("t2v", "--prompts", tmp_path / name)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: shutil.rmtree(folder / "vae"), "has no folder vae"),
        (lambda folder: (folder / "model_index.json").unlink(), "not a text-to-video pipeline"),
        (lambda folder: (folder / "tokenizer/spiece.model").unlink(), "has no readable tokenizer"),
        (
            lambda folder: (folder / "text_encoder/model.safetensors").unlink(),
            "no readable text encoder",
        ),
    ],
)
def test_errors_of_a_broken_pipeline_name_the_part(pipeline, tmp_path, damage, message):
    copy = shutil.copytree(pipeline, tmp_path / "pipeline")
    damage(copy)
    assert message in fail("t2v", DOGS, "--model", copy, *SMALL, "-o", tmp_path / "a.mp4")


def test_no_hub_and_no_folder_fails(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "give --model FOLDER" in fail("t2v", DOGS, "--model", "nobody/nothing")


def test_cleaning_reports_what_it_takes_and_refuses_to_take_all(pipeline, tmp_path, monkeypatch):
    """Two prompts of which nothing is left would give one and the same clip."""
    monkeypatch.chdir(tmp_path)
    words = ("t2v", "--model", pipeline, "-o", "out.npz", *SMALL)
    monkeypatch.setattr(t2v, "load_generator", None)  # before anything is loaded
    for emptied in ("一只浣熊在弹吉他", "photo.png"):
        said = fail(*words, emptied)
        assert f"cleaning leaves nothing of the prompt `{emptied}`" in said
        assert "--no-clean" in said
    assert "photo.png" in fail(*words, DOGS, "--negative", "photo.png")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert "note: cleaning took `r2d2` out" in succeed(*words, "two dogs run r2d2").stderr
    said = succeed(*words, "一只浣熊", "--no-clean", "-o", "kept.npz").stderr
    assert "cleaning" not in said
    assert "the text encoder does not know: 一只浣熊; to the network" in said
