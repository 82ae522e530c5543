"""Results of other commands than `sample`, where a result is there already."""

import json
import shutil

import pytest
from conftest import fail, stamps, succeed, tiny

from latte_cli.checkpoints.folder import list_checkpoints


@pytest.fixture
def videos(world, tmp_path):
    shutil.copytree(world.root / "data/shapes/videos", tmp_path / "v")
    return "v"


def similarity(world, *words):
    runs = f"--runs-root={world.root / 'runs'}"
    return ("similarity", "--preset=shapes", *tiny(), runs, "-n", 2, *words)


def test_similarities_of_each_checkpoint_lie_apart(world, videos):
    shown = json.loads(succeed("--json", *similarity(world, videos)).stdout)
    assert shown["out"] == "similarity/shapes/step-000006"


def test_the_same_similarities_are_there_and_others_are_kept(world, videos, tmp_path):
    words = similarity(world, videos, "--out=s")
    succeed(*words)
    before = stamps(tmp_path / "s")
    again = succeed("--json", *words)
    assert "s is already there" in again.stderr
    assert json.loads(again.stdout)["clips"] == 2
    first = list_checkpoints(world.run)[0]
    said = fail(*words, f"--checkpoint={first}", "--label=1", "--timestep=100")
    assert f"step 6 of {world.run} against step 3" in said
    assert "label none against 1" in said
    assert "timesteps 500 against 100" in said
    assert "--out=s-2" in said
    first, *_, last = sorted((tmp_path / "v").iterdir())
    first.write_bytes(last.read_bytes())
    assert "other clips" in fail(*words)
    assert stamps(tmp_path / "s") == before
    succeed(*words, "--overwrite")
    assert stamps(tmp_path / "s") != before


def test_a_figure_that_somebody_else_made_is_kept(world, videos, tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s/similarity.png").write_bytes(b"mine")
    assert "does not say how it was made" in fail(*similarity(world, videos, "--out=s"))
    assert (tmp_path / "s/similarity.png").read_bytes() == b"mine"


def test_calibrating_twice(world, tmp_path):
    runs = f"--runs-root={world.root / 'runs'}"
    words = ("calibrate", "--preset=shapes", *tiny(), runs, "-n", 2, "--steps=4", "--out=c")
    succeed(*words, "--speed=2x")
    before = stamps(tmp_path / "c")
    again = succeed(*words, "--speed=2x")
    assert "already there" in again.stderr
    assert "dB:" in again.stdout
    assert stamps(tmp_path / "c") == before
    said = fail(*words, "--speed=2x", "-n", 3, "--seed=5")
    assert "clips 2 against 3; seed 0 against 5" in said
    assert "--out=c-2" in said
    assert stamps(tmp_path / "c") == before
    succeed(*words, "--speed=2x", "--speed=1.5x")
    assert len(list((tmp_path / "c").iterdir())) == 2, "only the missing one is made"
    (kept,) = [path for path in before if path.suffix == ".json"]
    assert stamps(tmp_path / "c")[kept] == before[kept]
    succeed(*words, "--speed=2x", "-n", 3, "--overwrite")


@pytest.mark.parametrize("target", ["w.pt", "w.safetensors", "w"])
def test_converting_twice(world, tmp_path, target):
    first, second = list_checkpoints(world.run)
    succeed("convert", second, target)
    before = stamps(tmp_path)
    assert f"{target} is already there" in succeed("convert", second, target).stderr
    said = fail("convert", first, target)
    assert f"{target} holds other weights" in said
    assert f"latte convert {first} w-2{target[1:]}" in said
    assert stamps(tmp_path) == before
    succeed("convert", first, target, "--overwrite")
    assert "is already there" in succeed("convert", first, target).stderr


def test_converting_over_a_file_of_somebody_else(world, tmp_path):
    (tmp_path / "w.pt").write_bytes(b"mine")
    newest = list_checkpoints(world.run)[-1]
    assert "w.pt holds other weights" in fail("convert", newest, "w.pt")
    assert (tmp_path / "w.pt").read_bytes() == b"mine"
    (tmp_path / "w").mkdir()
    (tmp_path / "w/notes.txt").touch()
    assert "never overwritten" in fail("convert", newest, "w", "--overwrite")
    assert (tmp_path / "w/notes.txt").exists()


def test_a_result_of_other_fakes_is_kept(clips, tmp_path):
    words = ("eval", "--real=real", "--metrics=fd-random", "--clips=6", "-o", "data.frames=4")
    words = (*words, "-o", "data.size=32", "--out=r.json")
    succeed(*words, "--fake=fake")
    before = (tmp_path / "r.json").read_bytes()
    succeed(*words, "--fake=fake")
    assert json.loads((tmp_path / "r.json").read_text())["fake"] == json.loads(before)["fake"]
    shutil.copytree("fake", "other")
    (tmp_path / "other/extra.mp4").write_bytes(next((tmp_path / "fake").glob("*.mp4")).read_bytes())
    kept = (tmp_path / "r.json").read_bytes()
    said = fail(*words, "--fake=other")
    assert "r.json holds a result of other fakes: fake against other" in said
    assert "--out=r-2.json" in said
    assert (tmp_path / "r.json").read_bytes() == kept
    assert "fvd" not in fail(*words, "--fake=fake", "--metrics=direction")
    succeed(*words, "--fake=other", "--overwrite")
    assert json.loads((tmp_path / "r.json").read_text())["fake"]["place"] == "other"


def test_a_curve_over_a_picture_of_somebody_else(world, tmp_path):
    shutil.copytree(world.root / "runs", tmp_path / "runs")
    data = f"--real={world.root / 'data/shapes'}"
    measured = ("--clips=2", "--metrics=direction", "-o", "sample.steps=1")
    words = ("eval", "--curve=shapes", data, *measured, "--out=c.png")
    (tmp_path / "c.png").write_bytes(b"mine")
    assert "c.png is not a curve of these runs" in fail(*words)
    assert (tmp_path / "c.png").read_bytes() == b"mine"
    succeed(*words, "--overwrite")
    succeed(*words)


def test_a_sweep_keeps_the_points_of_another(clips, tmp_path):
    words = ("eval", "--preset=shapes", "--real=real", "--clips=2", "--metrics=direction")
    words = (*words, "--draws=1", "-o", "data.interval=1", "--out=s")
    succeed(*words, "--sweep=steps=1,2")
    said = fail(*words, "--sweep=steps=2,3")
    assert "s holds a sweep with steps 1, which this one lacks" in said
    assert "--out=s-2" in said
    succeed(*words, "--sweep=steps=1,2,3")
    succeed(*words, "--sweep=steps=3", "--overwrite")
