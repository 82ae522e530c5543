"""`latte t2v` of long clips, of clips that begin with a picture, and the folders it writes."""

import json

import av
import numpy as np
import pytest
import torch
from commands.pipelines import write_pipeline
from conftest import fail, stamps, succeed
from PIL import Image

from latte_cli.text.vbench import check_folder, read_suites
from latte_cli.vae import LatentCodec, to_pixels, to_signal
from latte_cli.video_io import read_video

DOGS = "two dogs run"
RACCOON = "A raccoon playing guitar"
SMALL = ("--frames", 4, "--steps", 3, "--precision", "float32")


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return write_pipeline(tmp_path_factory.mktemp("pipeline"))


@pytest.mark.parametrize("method", ["window", "fifo"])
def test_a_long_clip_begins_with_the_given_picture(pipeline, tmp_path, method):
    picture = Image.fromarray(np.tile(np.arange(64, dtype=np.uint8)[:, None, None] * 4, (1, 64, 3)))
    picture.save(tmp_path / "first.png")
    out = tmp_path / "pictures"
    options = ("--model", pipeline, *SMALL, "--image", tmp_path / "first.png", "-o", out)
    succeed("t2v", DOGS, *options, "--long", 9, "--long-method", method, "--format", "png")
    clip = read_video(out / "00000-seed0")
    assert clip.shape == (9, 64, 64, 3)
    codec = LatentCodec.load(str(pipeline / "vae"))
    mean = codec.encode(to_signal(torch.from_numpy(np.array(picture)))[None, None]).mean
    assert np.abs(clip[0].astype(int) - to_pixels(codec.decode(mean))[0, 0].numpy()).max() <= 1
    assert len({frame.tobytes() for frame in clip}) == 9


def test_a_vbench_folder_is_complete_resumed_and_checked(pipeline, tmp_path):
    rows = [
        {"prompt_en": DOGS, "dimension": ["subject_consistency", "motion_smoothness"]},
        {"prompt_en": "a red car; night.", "dimension": ["temporal_flickering"]},
    ]
    info = tmp_path / "vbench_full_info.json"
    info.write_text(json.dumps(rows))
    words = ("t2v", "--vbench", info, "--model", pipeline, "--frames", 2, "--steps", 1)
    result = json.loads(succeed("--json", *words, "-o", tmp_path / "out").stdout)
    assert (result["clips"], result["sampled_now"]) == (30, 30)
    names = {path.name for path in (tmp_path / "out/temporal_flickering").iterdir()}
    assert names == {f"a red car; night.-{number}.mp4" for number in range(25)}
    gone = tmp_path / "out/subject_consistency" / f"{DOGS}-3.mp4"
    before = gone.read_bytes()
    gone.unlink()
    assert json.loads(succeed("--json", *words, "-o", tmp_path / "out").stdout)["sampled_now"] == 1
    assert gone.read_bytes() == before
    assert all(c.complete == 1 for c in check_folder(tmp_path / "out", read_suites(info)))
    whole = stamps(tmp_path / "out")
    succeed(*words, "-o", tmp_path / "out")
    assert stamps(tmp_path / "out") == whole, "nothing is written if nothing is missing"
    (tmp_path / "out/subject_consistency" / "notes.txt").write_text("x")
    assert "1 have wrong names" in fail(*words, "-o", tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "holds no prompt"),
        ('[{"prompt": "a"}]', "not VBench's list"),
        ('[{"prompt_en": "a", "dimension": ["beauty"]}]', "`beauty` is not a dimension"),
        ('[{"prompt_en": "a/b", "dimension": ["scene"]}]', "cannot be the name of a file"),
        (None, "no such file"),
    ],
)
def test_an_invalid_vbench_list_fails(tmp_path, text, message):
    if text is not None:
        (tmp_path / "info.json").write_text(text)
    assert message in fail("t2v", "--vbench", tmp_path / "info.json", "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--long", 3), "--long 3 is no more than the 4 frames"),
        (("--long", 9, "--long-method", "slide"), "--long-method slide is unknown"),
        (("--long", 9, "--long-method", "fifo", "--sampler", "dpm++"), "deterministic single-step"),
        (("--image", "none.png"), "none.png: no such file"),
        (("--image", "text.png"), "cannot be read as a picture"),
        (("--format", "webm", "-n", 2), "--format webm is unknown"),
    ],
)
def test_invalid_options_of_long_clips_fail(pipeline, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.png").write_text("no picture")
    assert message in fail("t2v", DOGS, "--model", pipeline, *SMALL, *words)


def test_a_longer_clip_begins_with_the_shorter_one(pipeline, tmp_path):
    words = ("t2v", DOGS, "--model", pipeline, *SMALL)
    for name, long in (("plain.npz", ()), ("6.npz", ("--long", 6)), ("9.npz", ("--long", 9))):
        succeed(*words, *long, "-o", tmp_path / name)
    plain, six, nine = (np.load(tmp_path / f"{n}.npz")["clips"][0] for n in ("plain", "6", "9"))
    assert [len(clip) for clip in (plain, six, nine)] == [4, 6, 9]
    assert np.abs(six[:4].astype(int) - plain).max() <= 1
    assert np.abs(nine[:6].astype(int) - six).max() <= 1


def test_an_mp4_records_its_settings(pipeline, tmp_path):
    path = tmp_path / "a.mp4"
    succeed("t2v", DOGS, "--model", pipeline, *SMALL, "-o", path)
    with av.open(str(path)) as container:
        result = json.loads(container.metadata["comment"])
    assert (result["prompt"], result["steps"], result["seed"]) == (DOGS, 3, 0)


def test_clips_of_another_prompt_do_not_mix(pipeline, tmp_path):
    words = ("--model", pipeline, *SMALL, "-n", 2, "-o", tmp_path / "out")
    succeed("t2v", DOGS, *words)
    before = (tmp_path / "out/samples.jsonl").read_text()
    output = fail("t2v", RACCOON, *words)
    assert f"00000-seed0 has prompt `{DOGS}` against" in output
    assert (tmp_path / "out/samples.jsonl").read_text() == before
