"""A run's folder in place of a checkpoint: its newest whole one is taken, and named."""

import json
import shutil

import pytest
from conftest import fail, succeed, tiny

from latte_cli.checkpoints.folder import list_checkpoints

SHORT = ("-n", 1, "--steps=2", "--json")


@pytest.fixture
def run(world, tmp_path):
    """A copy of the run `shapes`, with checkpoints of steps 3 and 6, in `runs`."""
    shutil.copytree(world.root / "runs", tmp_path / "runs")
    return tmp_path / "runs" / "shapes"


@pytest.mark.parametrize("given", ["", "checkpoints", "checkpoints/step-00000003"])
def test_a_run_its_checkpoints_and_one_of_them_can_be_named(run, given):
    shown = succeed("sample", f"--checkpoint=runs/shapes/{given}", *SHORT)
    step = 3 if "step" in given else 6
    assert json.loads(shown.stdout)["checkpoint"].endswith(f"checkpoints/step-{step:08d}")
    assert ("step 6, its newest" in " ".join(shown.stderr.split())) == (step == 6)


def test_a_damaged_checkpoint_is_passed_over(run):
    oldest, newest = list_checkpoints(run)
    (newest / "ema.safetensors").write_bytes(b"x")
    shown = succeed("sample", "--checkpoint=runs/shapes", *SHORT)
    assert json.loads(shown.stdout)["checkpoint"].endswith(oldest.name)
    assert "not as it was written; trying the checkpoint before it" in shown.stderr
    (oldest / "ema.safetensors").unlink()
    assert "runs/shapes holds no whole checkpoint" in fail("sample", "--checkpoint=runs/shapes")


def test_a_run_without_checkpoints_says_so(run):
    shutil.rmtree(run / "checkpoints")
    assert "holds no whole checkpoint" in fail("sample", "--checkpoint=runs/shapes")


def test_a_run_of_averaged_weights_alone_will_do(run):
    (run / "checkpoints").rename(run / "ema")
    shown = succeed("sample", "--checkpoint=runs/shapes", *SHORT)
    assert json.loads(shown.stdout)["checkpoint"].endswith("ema/step-00000006")


def test_every_command_that_takes_a_checkpoint_takes_a_run(run, world):
    data = f"--data-root={world.root / 'data'}"
    videos = world.root / "data/shapes/videos"
    measured = ("--metrics=fd-random", "--clips=4", "-o", "sample.steps=2", "--json")
    taken = "step 6, its newest whole checkpoint"
    for words in (
        ("similarity", videos, "-n", 1, "--checkpoint=runs/shapes"),
        ("calibrate", "--checkpoint=runs/shapes", "-n", 1, "--steps=4", "--speed=2x"),
        ("convert", "runs/shapes", "shapes.pt"),
        ("eval", "--checkpoint=runs/shapes", data, *measured),
        ("eval", "--fake=runs/shapes", data, *measured),
    ):
        shown = succeed(*words)
        assert taken in " ".join(shown.stderr.split()), words


def test_a_run_is_initialized_from_the_newest_of_another_and_remembers_which(run, world):
    words = ("train", "--preset=shapes", *tiny(), "--run=second", "--init=runs/shapes")
    roots = world.roots[:2]
    shown = succeed(*words, *roots, "--steps=3")
    assert "step 6, its newest whole checkpoint" in " ".join(shown.stderr.split())
    config = run.parent / "second/config.yaml"
    named = "init: runs/shapes/checkpoints/step-00000006"
    assert named in config.read_text()
    shutil.rmtree(run / "checkpoints/step-00000006")  # as training on removes old ones
    succeed(*words, *roots, "--steps=6")
    assert named in config.read_text()


def test_a_folder_of_clips_by_step_is_no_run(run, world):
    """`samples/shapes` holds folders of steps, too; together they are not one set of clips."""
    data = f"--data-root={world.root / 'data'}"
    for checkpoint in list_checkpoints(run):
        succeed("sample", f"--checkpoint={checkpoint}", "-n", 2, "--steps=2")
    words = ("eval", "--preset=shapes", *tiny(), "--metrics=fd-random", "--clips=2", data)
    said = fail(*words, "--fake=samples/shapes")
    assert "samples/shapes holds folders of samples: step-000003, step-000006" in said
    assert "such as samples/shapes/step-000006" in said
    succeed(*words, "--fake=samples/shapes/step-000006")
