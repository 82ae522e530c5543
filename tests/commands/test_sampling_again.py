"""Sampling twice: where clips of each checkpoint lie, what goes on, and what is refused."""

import json
import shutil

import pytest
from commands.pipelines import write_pipeline
from conftest import fail, stamps, succeed, tiny
from helpers.sampling import sample, sampled
from PIL import Image

from latte_cli.checkpoints.folder import list_checkpoints
from latte_cli.video_io import read_video, write_video


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    return write_pipeline(tmp_path_factory.mktemp("pipeline"))


def hinted(said):
    """The words of the command that a hint gives."""
    return said[said.index(": latte ") + len(": latte ") :].split()


def text(pipeline, *words):
    return ("t2v", "two dogs run", "--model", pipeline, "--frames", 2, "--steps", 1, *words)


def test_clips_of_each_checkpoint_lie_apart(world, tmp_path):
    """Train, sample, train on, sample, as the guide `sampling` says."""
    words = ("-n", 1, "--format=png")
    runs = world.root / "runs"
    shutil.copytree(runs, tmp_path / "runs")
    newest = list_checkpoints(tmp_path / "runs/shapes")[-1]
    kept = newest.rename(tmp_path / "later")
    sample = ("--json", "sample", "--preset=shapes", *tiny(), *words)
    assert json.loads(succeed(*sample).stdout)["out"] == "samples/shapes/step-000003"
    kept.rename(newest)
    assert json.loads(succeed(*sample).stdout)["out"] == "samples/shapes/step-000006"
    assert json.loads(succeed(*sample).stdout)["sampled_now"] == 0
    assert len(list((tmp_path / "samples/shapes").iterdir())) == 2


@pytest.mark.parametrize(
    ("name", "folder"), [("w.pt", "w-pt"), ("mine", "mine"), ("my/step-00000007", "my/step-000007")]
)
def test_weights_outside_of_a_run_have_a_folder_of_their_name(world, tmp_path, name, folder):
    checkpoint = list_checkpoints(world.run)[-1]
    if name.endswith(".pt"):
        import torch
        from safetensors.torch import load_file

        torch.save(load_file(checkpoint / "ema.safetensors"), name)
    else:
        shutil.copytree(checkpoint, tmp_path / name)
    result = sampled(world, "-n", 1, f"--checkpoint={name}")
    assert result["out"] == f"samples/{folder}"


def test_the_shipped_network_has_a_folder_of_its_own():
    words = ("sample", "--preset=shapes", "-n", 1, "--steps=1", "--json")
    assert json.loads(succeed(*words).stdout)["out"] == "samples/shapes-fast/shipped"


def test_other_clips_are_refused_in_words_with_the_command_that_keeps_both(world, tmp_path):
    first, second = list_checkpoints(world.run)
    sampled(world, "-n", 1, f"--checkpoint={first}", "--out=s")
    before = stamps(tmp_path / "s")
    words = sample(world, "-n", 1, f"--checkpoint={second}", "--guidance=3", "--out=s")
    said = fail(*words)
    assert f"step 3 of {world.run} against step 6; guidance 4 against 3" in said
    assert "sha256" not in said
    assert "--overwrite" in said
    assert stamps(tmp_path / "s") == before
    command = hinted(said)
    assert command == [*map(str, words[:-1]), "--out=s-2"]
    succeed(*command)
    assert stamps(tmp_path / "s") == before
    assert "s-3" in fail(*words), "s-2 is taken by now"


def test_overwriting_a_folder_replaces_its_clips_and_nothing_else(world, tmp_path):
    sampled(world, "-n", 3, "--out=s")
    (tmp_path / "s/notes.txt").write_text("mine")
    words = ("-n", 2, "--guidance=3", "--format=gif", "--out=s", "--overwrite")
    result = sampled(world, *words)
    assert (result["clips"], result["sampled_now"]) == (2, 2)
    names = sorted(path.name for path in (tmp_path / "s").iterdir())
    clips = ["00000-seed0-label0-000deg.gif", "00001-seed0-label1-045deg.gif"]
    assert names == [*clips, "grid.png", "notes.txt", "samples.jsonl", "settings.json"]
    before = stamps(tmp_path / "s")
    assert sampled(world, *words)["sampled_now"] == 0, "the same command goes on"
    assert stamps(tmp_path / "s") == before


def test_videos_of_others_in_a_folder_are_never_deleted(world, tmp_path):
    (tmp_path / "s").mkdir()
    write_video(tmp_path / "s/holiday.mp4", read_video(_a_video(world)), 8)
    before = stamps(tmp_path / "s")
    for more in ((), ("--overwrite",)):
        assert "holiday" in fail(*sample(world, "-n", 1, "--out=s", *more))
        assert stamps(tmp_path / "s") == before


def _a_video(world):
    return next((world.root / "data/shapes/videos").glob("*.mp4"))


@pytest.mark.parametrize("name", ["clip.mp4", "clip.gif", "clip.png", "clip.npz"])
def test_one_rule_for_a_file_of_sample(world, tmp_path, name):
    words = ("-n", 1, "--frames", 1 if name == "clip.png" else 4, "-o", name)
    assert sampled(world, *words)["sampled_now"] == 1
    before = stamps(tmp_path)
    again = succeed("--json", *sample(world, *words))
    assert json.loads(again.stdout)["sampled_now"] == 0
    assert "already there" in again.stderr
    said = fail(*sample(world, *words, "--guidance=3"))
    assert f"{name} " in said
    assert "guidance 4 against 3" in said
    assert f"-o clip-2{name[-4:]} " in said
    assert stamps(tmp_path) == before
    assert sampled(world, *words, "--guidance=3", "--overwrite")["sampled_now"] == 1
    assert sampled(world, *words, "--guidance=3")["sampled_now"] == 0


@pytest.mark.parametrize("name", ["out.mp4", "out.gif", "out.npz"])
def test_one_rule_for_a_file_of_t2v(pipeline, tmp_path, name):
    words = text(pipeline, "-o", name)
    succeed(*words)
    before = stamps(tmp_path)
    assert "already there" in succeed(*words).stderr
    said = fail(*words, "--guidance", 3, "--negative", "grass")
    assert "guidance 7.5 against 3" in said
    assert "--overwrite" in said
    assert stamps(tmp_path) == before
    succeed(*words, "--guidance", 3, "--overwrite")
    assert "guidance 3 against 7.5" in fail(*words)


def test_a_file_that_somebody_else_made_is_kept(world, pipeline, tmp_path):
    shutil.copy(_a_video(world), "out.mp4")
    Image.new("RGB", (8, 8)).save("out.png")
    before = stamps(tmp_path)
    for command in (text(pipeline, "-o", "out.mp4"), sample(world, "-n", 1, "--out", "out.mp4")):
        said = fail(*command)
        assert "out.mp4" in said
        assert "does not say how it was made" in said
    assert "out.png" in fail(*sample(world, "--frames=1", "--out", "out.png"))
    assert stamps(tmp_path) == before
    succeed(*sample(world, "-n", 1, "--out", "out.mp4", "--overwrite"))
    assert read_video("out.mp4").shape == (4, 32, 32, 3)


def test_a_damaged_file_of_the_same_request_is_sampled_again(world, tmp_path):
    words = ("-n", 1, "--out", "clip.gif")
    sampled(world, *words)
    whole = (tmp_path / "clip.gif").read_bytes()
    (tmp_path / "clip.gif").write_bytes(whole[:-400])
    result = succeed("--json", *sample(world, *words))
    assert json.loads(result.stdout)["sampled_now"] == 1
    assert "damaged" in result.stderr
    assert (tmp_path / "clip.gif").read_bytes() == whole


def test_a_folder_of_the_version_before_is_another_folder(world, tmp_path):
    """`samples/shapes` used to hold clips itself."""
    sampled(world, "-n", 1, "--out=samples/shapes")
    before = (tmp_path / "samples/shapes/settings.json").read_bytes()
    assert sampled(world, "-n", 1)["out"] == "samples/shapes/step-000006"
    assert (tmp_path / "samples/shapes/settings.json").read_bytes() == before
    assert sampled(world, "-n", 1, "--out=samples/shapes")["sampled_now"] == 0
