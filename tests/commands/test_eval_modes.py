"""`latte eval`: sweeps, curves, the self-test and VBench."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import fail, succeed, tiny
from helpers.eval_places import flat
from PIL import Image

import latte_cli.metrics
from latte_cli.checkpoints.folder import list_checkpoints
from latte_cli.config import load_config


def _missing(*words, **more):
    from latte_cli.runtime.errors import CheckpointError

    raise CheckpointError("i3d: no weights", hint="give --weights")


SWEEP = (
    "eval",
    "--real=real",
    "--preset=shapes",
    "--sweep=steps=1,2",
    "--sweep=guidance=1,4",
    "--clips=3",
    "-o",
    "data.interval=1",
    "-o",
    "eval.resamples=5",
)


def test_a_sweep_is_a_table_and_a_picture_and_goes_on(clips, tmp_path):
    shown = json.loads(succeed("--json", *SWEEP, "--metrics=fd-random").stdout)
    settings = [point["settings"] for point in shown["points"]]
    assert settings == [{"steps": a, "guidance": b} for a in "12" for b in "14"]
    assert all(point["seconds_per_clip"] > 0 for point in shown["points"])
    assert len({point["metrics"]["fd-random"]["value"] for point in shown["points"]}) == 4
    with Image.open("sweeps/shapes/sweep.png") as picture:
        assert picture.width > 500
    assert json.loads(Path("sweeps/shapes/sweep.json").read_text()) == shown

    gone = sorted(Path("sweeps/shapes/points").glob("*.json"))[0]
    gone.unlink()
    people = succeed(*SWEEP, "--metrics=fd-random").stdout
    assert "1 of 4" in " ".join(people.split()), "only what is missing is measured"
    assert json.loads(Path("sweeps/shapes/sweep.json").read_text()) == shown
    assert "another protocol (seed of the draws: 0 and 1)" in fail(
        *SWEEP, "--metrics=fd-random", "--seed=1"
    )


def test_a_sweep_is_of_one_protocol(clips):
    words = ("eval", "--real=real", "--preset=shapes", "--clips=2")
    said = fail(*words, "--sweep=eval.seed=1,2", "-o", "data.interval=1")
    assert "a sweep over what belongs to the protocol (seed of the draws: 1 and 2)" in said
    assert "generated clips have no partners" in fail(*words, "--sweep=steps=1", "--metrics=psnr")


def test_a_sweep_over_caches(clips):
    """Fewer calls of blocks give other clips, one by one where the cache looks at them."""
    words = ("--real=real", "--preset=shapes", "--clips=2", "--metrics=fd-random")
    words += ("--sweep=cache=off,pab,adaptive:0.5", "-o", "sample.steps=6", "-o", "data.interval=1")
    shown = json.loads(succeed("--json", "eval", *words, "-o", "eval.resamples=0").stdout)
    values = {point["metrics"]["fd-random"]["value"] for point in shown["points"]}
    assert len(values) == 3
    assert "the threshold must" in fail("eval", *words[:4], "--sweep=cache=adaptive:x")


@pytest.mark.parametrize("axis", ["steps", "steps=", "=1"])
def test_nothing_to_sweep_is_told(clips, axis):
    assert "is nothing to sweep" in fail(
        "eval", "--real=real", "--preset=shapes", f"--sweep={axis}"
    )


def test_a_curve_over_the_checkpoints_of_runs(world, tmp_path):
    """The paper's Figures 5 and 7, in small."""
    shutil.copytree(world.root / "runs", "runs")
    shutil.copytree("runs/shapes", "runs/twin")
    real = f"--real={world.root / 'data' / 'shapes'}"
    words = (
        "eval",
        "--curve=shapes",
        "--curve=twin",
        real,
        "--clips=3",
        "--metrics=fd-random",
        "-o",
        "sample.steps=1",
        "-o",
        "eval.resamples=5",
    )
    shown = json.loads(succeed("--json", *words).stdout)
    assert [each["step"] for each in shown["runs"]["shapes"]] == [3, 6]
    assert shown["runs"]["shapes"] == shown["runs"]["twin"], "the same weights"
    best = [each for each in shown["runs"]["shapes"] if each["best"]]
    assert best == [min(shown["runs"]["shapes"], key=lambda e: e["metrics"]["fd-random"]["value"])]
    marked = json.loads(Path("runs/shapes/best.json").read_text())
    assert marked["step"] == best[0]["step"]
    assert Path("runs/shapes", marked["checkpoint"]).is_dir()
    with Image.open("runs/shapes/quality.png") as picture:
        assert picture.width > 500

    shutil.rmtree(list_checkpoints(Path("runs/shapes"))[0])
    again = json.loads(succeed("--json", *words).stdout)
    assert again == shown, "results outlive their checkpoints"
    other = fail(*words[:2], "--curve=folder", *words[3:])
    assert "runs/folder: no run" in other


def test_a_curve_is_against_the_videos_that_are_asked_for(world, clips):
    """Results against others lie beside them, and are found again when those are."""
    shutil.copytree(world.root / "runs", "runs")
    words = ("--json", "eval", "--curve=shapes", "--clips=3", "--metrics=fd-random")
    words += ("-o", "sample.steps=1", "-o", "eval.resamples=0")
    ours = f"--real={world.root / 'data' / 'shapes'}"
    first = json.loads(succeed(*words, ours).stdout)["runs"]["shapes"]
    other = succeed(*words, "--real=real")
    assert "measuring step 3" in other.stderr
    found = json.loads(other.stdout)["runs"]["shapes"]
    assert [each["step"] for each in found] == [3, 6]
    values = [[each["metrics"]["fd-random"]["value"] for each in runs] for runs in (first, found)]
    assert not set(values[0]) & set(values[1])
    alone = ("--json", "eval", "--real=real", "--fake=runs/shapes/checkpoints/step-00000003")
    alone += (*words[3:], "--preset=runs/shapes/config.yaml")
    assert json.loads(succeed(*alone).stdout)["metrics"]["fd-random"]["value"] == values[1][0]
    again = succeed(*words, ours)
    assert "measuring step" not in again.stderr
    assert json.loads(again.stdout)["runs"]["shapes"] == first


def test_runs_against_other_videos_are_not_drawn_together(world):
    shutil.copytree(world.root / "runs", "runs")
    shutil.copytree(world.root / "data", "data")
    succeed("prepare", "shapes", "--count=12", "--size=32", "--out=data/fewer")
    config = load_config("runs/shapes/config.yaml", ["data.root=data/fewer"])
    Path("runs/other").mkdir()
    Path("runs/other/config.yaml").write_text(config.to_yaml())
    said = fail("eval", "--curve=shapes", "--curve=other", "--metrics=fd-random", "--clips=3")
    assert "their real videos differ: data/shapes and data/fewer" in said
    assert not Path("runs/shapes/eval").exists()


def test_a_sweep_does_not_show_results_against_other_videos(world, clips):
    succeed(*SWEEP, "--metrics=fd-random", "-o", "sample.steps=1")
    table = Path("sweeps/shapes/sweep.json").read_bytes()
    other = f"--real={world.root / 'data' / 'shapes'}"
    said = fail(*SWEEP, other, "--metrics=fd-random", "-o", "sample.steps=1")
    assert "holds a result against other real videos: real, not " in said
    assert "give another --out" in said
    assert Path("sweeps/shapes/sweep.json").read_bytes() == table


def test_the_last_curve_marks_the_best_of_a_run_that_does_not_measure_itself(world):
    shutil.copytree(world.root / "runs", "runs")
    words = ("eval", "--curve=shapes", f"--real={world.root / 'data/shapes'}", "--clips=3")
    words += ("-o", "sample.steps=1", "-o", "eval.resamples=0")
    for metric in ("fd-random", "direction"):
        assert "best.json" not in succeed(*words, f"--metrics={metric}").stderr
        assert json.loads(Path("runs/shapes/best.json").read_text())["metric"] == metric


def test_a_sweep_over_the_checkpoints_of_a_run(world):
    words = (f"--runs-root={world.root / 'runs'}", f"--real={world.root / 'data' / 'shapes'}")
    words += ("--preset=shapes", "--sweep=checkpoint=all", "--clips=2", "--metrics=direction")
    words += tuple(tiny(sample__steps=1))
    shown = json.loads(succeed("--json", "eval", *words).stdout)
    names = [Path(point["settings"]["checkpoint"]).name for point in shown["points"]]
    assert names == ["step-00000003", "step-00000006"]


def test_runs_of_two_intervals_are_not_drawn_together(world):
    shutil.copytree(world.root / "runs", "runs")
    config = Path("runs/shapes/config.yaml").read_text()
    shutil.copytree("runs/shapes", "runs/other")
    Path("runs/other/config.yaml").write_text(config.replace("interval: 2", "interval: 3"))
    said = fail("eval", "--curve=shapes", "--curve=other", f"--real={world.root / 'data/shapes'}")
    assert "cannot be compared: source frames between a real clip's: 2 and 3" in said


def test_the_self_test_says_what_it_tried(clips, monkeypatch):
    from latte_cli.evaluation import self_test

    monkeypatch.setattr(latte_cli.metrics, "load_features", _missing)
    monkeypatch.setattr(self_test, "_FRECHET", self_test._FRECHET[:2])  # the small ones
    monkeypatch.setattr(self_test, "known_answers", lambda device: [])  # seconds of convolutions
    words = ("eval", "--self-test", "--real=real", *flat("eval.clips=3"))
    shown = json.loads(succeed("--json", *words).stdout)
    states = [check["passed"] for check in shown["checks"]]
    assert states.count(None) == 1
    assert False not in states
    assert {each["name"] for each in shown["compression"]} >= {"none", "JPEG 75", "mp4 crf 5"}
    monkeypatch.setattr(self_test, "polynomial_mmd", lambda a, b: 1.0)
    assert "checks failed: KVD and KID" in fail("eval", "--self-test")


def test_a_folder_of_vbench_is_checked(tmp_path):
    from latte_cli.text.vbench import video_name

    prompts = ("a red bicycle", "a green bicycle")
    rows = [{"prompt_en": prompt, "dimension": ["color"]} for prompt in prompts]
    folder = tmp_path / "videos" / "color"
    folder.mkdir(parents=True)
    for prompt in prompts:
        for index in range(5):
            (folder / video_name(prompt, index)).touch()
    assert "holds no list of VBench's prompts" in fail("eval", "--vbench=videos")
    (tmp_path / "list.json").write_text(json.dumps(rows))
    shown = succeed("eval", "--vbench=videos", "--vbench-prompts=list.json").stdout
    assert "vbench evaluate --videos_path videos/color --dimension color" in shown
    next(folder.iterdir()).unlink()
    (tmp_path / "list.json").rename(tmp_path / "videos" / "vbench_full_info.json")
    assert "1 videos are missing and 0 have wrong names" in fail("eval", "--vbench=videos")


def test_vbenchs_scores_stand_beside_the_papers(tmp_path):
    from latte_cli.commands.vbench import paper_scores

    Path("s.json").write_text(json.dumps({k: [v, []] for k, v in paper_scores()["Latte"].items()}))
    shown = json.loads(succeed("--json", "eval", "--vbench-results=s.json").stdout)
    assert round(100 * shown["total"], 2) == 77.29
    people = succeed("eval", "--vbench-results=s.json").stdout
    assert "CogVideo" in people
    assert "77.29" in people
