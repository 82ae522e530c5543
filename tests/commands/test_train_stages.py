"""`latte train` with a preset of stages: in turn, and continued exactly where it stopped."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch
from conftest import TINY, World, fail, invoke, succeed
from helpers.runs import launch, rows
from safetensors.torch import load_file

from latte_cli.checkpoints.folder import list_checkpoints, read_checkpoint_config
from latte_cli.commands import train as train_command

PRESET = """base: shapes
stages:
  - name: images
    data: {frames: 1}
    train: {steps: 3}
  - name: video
    data: {frames: 4}
    train: {steps: 4}
"""
IMAGES, VIDEO = Path("runs/two/stage-1-images"), Path("runs/two/stage-2-video")
CONSTANT = {"train.lr_schedule": "constant", "train.precision": "float32"}


@pytest.fixture(autouse=True)
def _preset(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(PRESET)


def words(world: World, *more: object, **values: object) -> list[object]:
    """`latte train`; frames and steps are the stages' own."""
    chosen = {
        key: value for key, value in TINY.items() if key not in ("data.frames", "train.steps")
    }
    chosen |= CONSTANT | {key.replace("__", "."): value for key, value in values.items()}
    options = [word for key, value in chosen.items() for word in ("-o", f"{key}={value}")]
    return ["train", "--preset=two", *options, f"--latents-root={world.root / 'latents'}", *more]


def newest(run: Path) -> dict[str, torch.Tensor]:
    return load_file(list_checkpoints(run)[-1] / "ema.safetensors")


def test_each_stage_is_a_run_that_begins_with_the_one_before(world):
    shown = json.loads(succeed("--json", *words(world)).stdout)
    assert (shown["run"], shown["step"]) == (str(VIDEO), 4)
    assert [rows(run)[-1]["step"] for run in (IMAGES, VIDEO)] == [3, 4]
    images, video = (read_checkpoint_config(list_checkpoints(r)[-1]) for r in (IMAGES, VIDEO))
    assert (images.data.frames, images.train.init) == (1, None)
    assert (video.data.frames, video.train.init) == (4, str(list_checkpoints(IMAGES)[-1]))
    # The same as two commands with --init.
    alone = ("-o", "stages=[]", "-o", "data.frames=4", "--steps=4", "--run=alone")
    succeed(*words(world, *alone, f"--init={IMAGES}"))
    together, apart = newest(VIDEO), newest(Path("runs/alone"))
    assert all(torch.equal(value, apart[name]) for name, value in together.items())


def test_a_run_that_is_killed_in_a_stage_goes_on_in_it(world, monkeypatch):
    succeed(*words(world, "--run=whole"))
    original, seen = train_command.train_step, []

    def interrupted(state, *rest):
        metrics = original(state, *rest)
        seen.append(state.step)
        if len(seen) == 5:  # the second step of the second stage
            signal.raise_signal(signal.SIGTERM)
        return metrics

    with monkeypatch.context() as patch:
        patch.setattr(train_command, "train_step", interrupted)
        assert invoke(*words(world)).exit_code == 75
    assert seen == [1, 2, 3, 1, 2]
    assert list_checkpoints(VIDEO)[-1].name == "step-00000002"
    shutil.rmtree(IMAGES / "checkpoints")  # which nothing needs any more
    said = succeed(*words(world)).stderr
    assert "stage 1 of 2, images: done" in said
    assert f"resuming from {VIDEO}" in said
    whole, ours = newest(Path("runs/whole/stage-2-video")), newest(VIDEO)
    assert all(torch.equal(value, ours[name]) for name, value in whole.items())
    again = succeed(*words(world)).stderr
    assert "from step 4 to 4" in again


def test_a_stage_whose_last_checkpoint_is_damaged_is_trained_to_its_end_again(world):
    """Before another begins with it; the one before its last is whole."""
    saved = {"train__save_every": 1, "train__keep": 9}
    succeed(*words(world, **saved))
    last = list_checkpoints(IMAGES)[-1] / "ema.safetensors"
    before, after = last.read_bytes(), newest(VIDEO)
    shutil.rmtree(VIDEO)
    last.write_bytes(b"x")
    said = " ".join(succeed(*words(world, **saved)).stderr.split())
    assert "trying the checkpoint before it" in said
    assert last.read_bytes() == before
    assert all(torch.equal(value, newest(VIDEO)[name]) for name, value in after.items())


def test_commands_that_read_a_run_read_its_last_stage(world):
    succeed(*words(world))
    sampled = ("-n1", "--steps=2", "--json")
    for named in (("--checkpoint=runs/two",), ("--preset=two",), ("--preset=shapes", "--run=two")):
        shown = json.loads(succeed("sample", *named, *sampled).stdout)
        assert Path(shown["checkpoint"]) == VIDEO / "checkpoints/step-00000004"
        assert shown["out"].startswith("samples/two/stage-2-video/step-000004")
        shutil.rmtree("samples")
    assert json.loads(succeed("--json", "report", "two").stdout)["out"] == str(
        VIDEO / "report.html"
    )
    shutil.copytree("runs/two", "runs/other")
    shown = json.loads(succeed("--json", "report", "two", "other").stdout)
    assert shown["shows"] == "runs two-stage-2-video, other-stage-2-video"
    succeed("convert", "runs/two", "two.safetensors", "--to=safetensors")
    shutil.rmtree(VIDEO)
    shown = json.loads(succeed("sample", "--checkpoint=runs/two", *sampled).stdout)
    assert Path(shown["checkpoint"]) == IMAGES / "checkpoints/step-00000003"


def test_a_stage_is_not_taken_up_after_the_next_has_begun(world):
    succeed(*words(world))
    first = list_checkpoints(IMAGES)[-1]
    said = fail(*words(world, f"--resume={first}"))
    assert f"--resume {first} is of a stage after which another has begun" in said
    assert f"delete {VIDEO}" in said


def test_what_a_later_stage_lacks_is_said_before_the_first_begins(world):
    said = fail(*words(world, "-o", "stages.video.data.size=64"))
    assert "latents/shapes-64-embedded: no latents here" in said
    assert "latte encode-latents --preset=two" in said
    assert "does not divide" in fail(*words(world, "-o", "stages.video.train.accumulate=3"))
    said = fail(*words(world, "-o", "stages.video.train.trainable=nothing"))
    assert "stage `video`: train.trainable: no parameter matches `nothing`" in said
    assert not Path("runs").exists()


def test_a_run_of_other_stages_is_not_continued(world):
    succeed(*words(world, "-o", "stages.images.train.steps=1", "-o", "stages.video.train.steps=1"))
    Path("two.yaml").write_text(PRESET.replace("video", "film"))
    said = fail(*words(world))
    assert "runs/two holds the stages stage-2-video; the preset has stage-1-images, " in said
    assert "the preset has no stages" in fail(*words(world, "-o", "stages=[]"))
    Path("two.yaml").write_text(PRESET)
    Path("runs/old/checkpoints/step-00000001").mkdir(parents=True)
    assert "runs/old holds a run without stages" in fail(*words(world, "--run=old"))
    assert "is no checkpoint of a stage" in fail(*words(world, "--resume=runs/old"))
    assert "already holds a run" in fail(*words(world, "--resume=never"))


def test_latents_of_all_stages_are_encoded_by_one_command(world):
    data = f"--data={world.root / 'data' / 'shapes'}"
    sizes = ("-o", "stages.images.data.size=32", "-o", "stages.video.data.size=16")
    shown = succeed("--json", "encode-latents", "--preset=two", data, *sizes)
    assert "latents/shapes-32-embedded holds the latents of 16 videos" in shown.stderr
    assert json.loads(shown.stdout)["out"] == "latents/shapes-16-embedded"
    assert Path("latents/shapes-32-embedded/index.jsonl").is_file()
    said = fail("encode-latents", "--preset=two", data, *sizes, "--out=one")
    assert "the stages of two need 2" in said
    succeed("encode-latents", "--preset=two", data, "--size=16", "--out=one")


def test_processes_train_the_stages_in_turn(world):
    together = words(world, train__batch_size=4)
    ended = launch(Path.cwd(), [{"processes": 2, "words": [str(w) for w in together]}])
    assert ended.codes == [0], ended.said
    succeed(*words(world, "--run=alone"))
    ours, alone = newest(VIDEO), newest(Path("runs/alone/stage-2-video"))
    for name, value in alone.items():
        torch.testing.assert_close(ours[name], value, rtol=1e-3, atol=1e-5)
