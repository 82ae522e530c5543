"""Folders of `latte t2v`: what they record, and which clips do not mix."""

import json
import shutil

import numpy as np
import pytest
from commands.pipelines import write_pipeline
from conftest import fail, stamps, succeed
from PIL import Image
from safetensors.torch import load_file, save_file

from latte_cli.evaluation.sources.npz import NpzSource
from latte_cli.evaluation.sources.videos import ReadRequest
from latte_cli.runtime.files import sha256_of
from latte_cli.sampling.pipelines.files import PipelineFiles

DOGS = "two dogs run"
SMALL = ("--frames", 4, "--steps", 3, "--precision", "float32")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return write_pipeline(tmp_path_factory.mktemp("pipeline"))


def test_the_folder_of_several_prompts_takes_any_format(pipeline, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    succeed("t2v", DOGS, "a cat", "--model", pipeline, *SMALL, "--format", "gif")
    assert len(list((tmp_path / "out").glob("*.gif"))) == 2


def settings_after(pipeline, out, *words):
    succeed("t2v", DOGS, "--model", pipeline, "--frames", 2, "--steps", 1, *words, "-o", out)
    return json.loads((out / "settings.json").read_text())


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", "float32"), ("bf16", "bfloat16"), ("auto", "float32")]
)
def test_settings_record_the_dtype(pipeline, tmp_path, monkeypatch, precision, dtype):
    monkeypatch.setattr("latte_cli.runtime.devices.has_bf16", lambda device: False)
    result = settings_after(pipeline, tmp_path / "out", "--precision", precision)
    assert result["precision"] == dtype


def test_settings_record_the_weights_and_a_copy_of_them_continues_the_folder(pipeline, tmp_path):
    copy = shutil.copytree(pipeline, tmp_path / "copy")
    result = settings_after(pipeline, tmp_path / "out")
    weights = pipeline / "transformer/diffusion_pytorch_model.safetensors"
    assert result["weights_sha256"] == sha256_of(weights)
    assert result["model"] == str(pipeline)
    assert settings_after(copy, tmp_path / "out") == result


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("transformer/diffusion_pytorch_model.safetensors", "against those of"),
        ("vae/diffusion_pytorch_model.safetensors", "another autoencoder"),
        ("text_encoder/model.safetensors", "another text encoder"),
        ("scheduler/scheduler_config.json", "other settings of the scheduler"),
    ],
)
def test_clips_of_other_weights_under_the_same_name_do_not_mix(pipeline, tmp_path, part, message):
    copy = shutil.copytree(pipeline, tmp_path / "copy")
    settings_after(copy, tmp_path / "out")
    if part.endswith(".json"):
        (copy / part).write_text((copy / part).read_text().replace("0.02", "0.03"))
    else:
        weights = {name: value + 0.01 for name, value in load_file(copy / part).items()}
        save_file(weights, copy / part, metadata={"format": "pt"})
    words = ("t2v", DOGS, "--model", copy, "--frames", 2, "--steps", 1)
    assert message in fail(*words, "-o", tmp_path / "out")


@pytest.mark.parametrize("option", ["precision", "text-encoder", "vae-decoder", "format"])
def test_unknown_values_fail_before_the_pipeline_is_opened(tmp_path, option):
    words = ("t2v", DOGS, "--model", tmp_path / "none", "-o", tmp_path / "out")
    assert f"--{option} fp16 is unknown" in fail(*words, f"--{option}", "fp16")
    assert "no such folder" in fail(*words)


def test_long_and_short_clips_and_those_from_a_picture_do_not_mix(pipeline, tmp_path):
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "first.png")
    words = ("t2v", DOGS, "--model", pipeline, *SMALL, "-o")
    for name, said_of, more in (
        ("long", "long frames 6", ("--long", 6)),
        ("image", "--image", ("--image", tmp_path / "first.png")),
    ):
        succeed(*words, tmp_path / name, *more)
        said = fail(*words, tmp_path / name)
        assert "against none" in said
        assert f"other settings: {said_of}" in said
    succeed(*words, tmp_path / "plain")
    assert "other settings: long none against" in fail(*words, tmp_path / "plain", "--long", 6)


@pytest.mark.parametrize("name", ["folder", "clip.gif", "clips.npz"])
def test_clips_of_other_options_fail_before_any_weights_are_read(
    pipeline, tmp_path, monkeypatch, name
):
    out = tmp_path / name
    words = ("t2v", DOGS, "--model", pipeline, *SMALL, "-o", out)
    succeed(*words)
    monkeypatch.setattr(PipelineFiles, "checksum", None)
    for more, said in (
        (("--steps", 2), "steps 3 against 2"),
        (("--size", "16"), "size none against 16 16"),
        (("--sampler", "ddim"), "sampler none against ddim"),
    ):
        assert said in fail(*words, *more)
    said = fail(*words, "--guidance", 2)
    assert "guidance 7.5 against 2" in said


def test_fewer_prompts_of_the_same_clips_are_already_there(pipeline, tmp_path):
    words = ("--model", pipeline, *SMALL, "-o", tmp_path / "out")
    succeed("t2v", DOGS, "the sea", *words)
    before = stamps(tmp_path)
    assert json.loads(succeed("--json", "t2v", DOGS, *words).stdout)["sampled_now"] == 0
    assert stamps(tmp_path) == before


def stacked(pipeline, out, *prompts):
    """The command that samples small clips into one npz file."""
    return ("--json", "t2v", *prompts, "--model", pipeline, "--frames", 2, "--steps", 1, "-o", out)


@pytest.mark.parametrize(
    ("then", "more", "message"),
    [
        (
            ["the sea at night"],
            (),
            "00000-seed0 has prompt `two dogs run` against `the sea",
        ),
        ([DOGS], ("--guidance", 3), "00000-seed0 has guidance 7.5 against 3"),
        ([DOGS], ("--negative", "grass"), "00000-seed0 has negative none against grass"),
        ([DOGS, "a red car"], ("-n", 2), "00001-seed0 has prompt `the sea` against `two dogs run`"),
    ],
)
def test_an_npz_of_other_prompts_fails_and_is_unchanged(pipeline, tmp_path, then, more, message):
    out = tmp_path / "clips.npz"
    first = [DOGS, "the sea"] if len(then) > 1 else [DOGS]
    succeed(*stacked(pipeline, out, *first))
    before = out.read_bytes()
    output = fail(*stacked(pipeline, out, *then), *more)
    assert f"{out} holds other clips: {message}" in output
    assert out.read_bytes() == before
    assert json.loads(succeed(*stacked(pipeline, out, *first)).stdout)["sampled_now"] == 0


def test_an_npz_is_extended_by_prompts_and_read_for_evaluation(pipeline, tmp_path):
    out = tmp_path / "clips.npz"
    succeed(*stacked(pipeline, out, DOGS))
    first = np.load(out)["clips"]
    result = json.loads(succeed(*stacked(pipeline, out, DOGS, "the sea")).stdout)
    assert result["sampled_now"] == 1
    with np.load(out, allow_pickle=False) as arrays:
        prompts = [json.loads(about)["prompt"] for about in arrays["abouts"].tolist()]
        clips = arrays["clips"]
    assert prompts == [DOGS, "the sea"]
    assert np.array_equal(clips[:1], first)
    source = NpzSource(out, None, "crop-resize")
    assert [video.label for video in source.videos] == [None, None]
    wanted = [ReadRequest(video, (range(2),)) for video in source.videos]
    assert all(
        np.array_equal(got.clips[0], clip)
        for got, clip in zip(source.read(wanted), clips, strict=True)
    )


def test_a_damaged_clip_is_reported_and_sampled_again(pipeline, tmp_path):
    out = tmp_path / "out"
    words = stacked(pipeline, out, DOGS, "the sea", "a red car")
    succeed(*words)
    before = {path: path.read_bytes() for path in out.iterdir()}
    empty, cut = out / "00001-seed0.mp4", out / "00002-seed0.mp4"
    empty.write_bytes(b"")
    cut.write_bytes(before[cut][:-9])
    again = succeed(*words)
    assert json.loads(again.stdout)["sampled_now"] == 2
    assert "2 clips are damaged and sampled again: 00001-seed0, 00002-seed0" in again.stderr
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    assert "clips are damaged" not in succeed(*words).stderr


@pytest.mark.parametrize("fmt", ["mp4", "npz"])
def test_a_command_with_nothing_to_do_writes_nothing(pipeline, tmp_path, fmt):
    """Nor creates a file for a moment: a disk may be read-only."""
    out = tmp_path / "out"
    words = (*stacked(pipeline, out, DOGS, "the sea"), "--format", fmt)
    succeed(*words)
    before = stamps(out)
    succeed(*words)
    assert stamps(out) == before
