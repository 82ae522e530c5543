"""`latte sample` follows the objective of the network, and guides within the interval."""

import json

import pytest
import yaml
from conftest import fail, succeed, tiny

from latte_cli.checkpoints.folder import list_checkpoints
from latte_cli.config import preset_folder
from latte_cli.video_io import read_video

NAME = "00000-seed0-label3-135deg.mp4"


@pytest.fixture(scope="module")
def runs(world):
    """Runs of the preset with each other objective."""
    for objective in ("v", "flow"):
        values = tiny(diffusion__objective=objective, train__snr_floor=0.1, train__steps=2)
        succeed("train", "--preset=shapes", *values, *world.roots, f"--run={objective}")
    return world.root / "runs"


def settings(out):
    return json.loads((out / "settings.json").read_text())


@pytest.mark.parametrize("objective", ["v", "flow"])
def test_the_objective_is_that_of_the_run(runs, tmp_path, objective):
    of_run = ("--preset=shapes", f"--run={objective}", f"--runs-root={runs}")
    checkpoint = list_checkpoints(runs / objective)[-1]
    named = ("--preset=shapes", *tiny(), f"--checkpoint={checkpoint}")
    alone = (f"--checkpoint={checkpoint}",)
    clips = []
    for number, words in enumerate((of_run, named, alone)):
        out = tmp_path / str(number)
        more = ("--steps=3", "--sampler=unipc", "--seed=0", "--label=3", "-n", 1)
        succeed("sample", *words, *more, "-o", "sample.guidance=4", f"--out={out}")
        assert settings(out)["diffusion"]["objective"] == objective
        clips.append(read_video(out / NAME))
    assert (clips[0] == clips[1]).all()
    assert (clips[0] == clips[2]).all()


def test_the_default_sampler_follows_the_objective(runs, tmp_path):
    tree = yaml.safe_load((preset_folder() / "shapes.yaml").read_text())
    del tree["sample"]["sampler"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(tree))
    words = ("sample", "--preset=mine.yaml", *tiny(), f"--runs-root={runs}", "--label=3", "-n", 1)
    for run, sampler in (("v", "ddpm"), ("flow", "euler")):
        succeed(*words, f"--run={run}", f"--out={tmp_path / run}")
        assert settings(tmp_path / run)["sampler"] == sampler
    output = fail(*words, "--run=flow", "--sampler=ddpm", f"--out={tmp_path / 'none'}")
    assert "sample.sampler must be euler, dpm++ or unipc" in output


def test_flow_training_needs_an_snr_floor(world):
    """The preset clips the signal-to-noise ratio from above only."""
    values = tiny(diffusion__objective="flow", train__steps=2)
    output = fail("train", "--preset=shapes", *values, *world.roots, "--run=floorless")
    assert "hint: -o train.min_snr_gamma=null, or -o train.snr_floor=0.1" in output
    assert not (world.root / "runs/floorless").exists()


def test_guidance_has_an_interval_and_channels(world, tmp_path):
    def words(name, *values):
        set_to = [word for value in values for word in ("-o", f"sample.{value}")]
        runs = f"--runs-root={world.root / 'runs'}"
        chosen = ("--sampler=ddim", "--steps=4", "--label=3", "-n", 1, f"--out={tmp_path / name}")
        return ("sample", "--preset=shapes", *tiny(), runs, *chosen, *set_to)

    def sampled(name, *values):
        succeed(*words(name, *values))
        return read_video(tmp_path / name / NAME)

    plain, full = sampled("plain", "guidance=1"), sampled("full", "guidance=30")
    assert (plain != full).any()
    # The four steps are at timesteps 0, 333, 666 and 999.
    assert (sampled("none", "guidance=30", "guidance_interval=[0.4, 0.6]") == plain).all()
    assert (sampled("all", "guidance=30", "guidance_interval=[0, 1]") == full).all()
    some = sampled("some", "guidance=30", "guidance_interval=[0.6, 0.7]")
    assert (some != plain).any()
    assert (some != full).any()
    assert (sampled("four", "guidance=30", "guided_channels=4") == full).all()
    assert (sampled("three", "guidance=30", "guided_channels=3") != full).any()
    assert settings(tmp_path / "some")["guidance_interval"] == [0.6, 0.7]
    output = fail(*words("three", "guidance=30", "guided_channels=2"))
    assert "guided channels 3 against 2" in output
