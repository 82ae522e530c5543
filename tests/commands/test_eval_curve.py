"""`latte eval --curve`."""

import json
import shutil
from pathlib import Path

from conftest import fail, succeed
from PIL import Image

from latte_cli.checkpoints.folder import list_checkpoints
from latte_cli.config import load_config

FAST = ("-o", "sample.steps=1", "-o", "eval.resamples=0", "--clips=3")


def cells(shown):
    """The words of each line of a table for people."""
    return [line.split() for line in shown.splitlines()]


def number(point, metric="fd-random"):
    return point["metrics"][metric]


def of_runs(world, *words, **metrics):
    """The words of a curve over copies of the world's run, each with its own `eval.metrics`."""
    for name, asked in metrics.items():
        shutil.copytree(world.run, Path("runs", name))
        config = load_config(f"runs/{name}/config.yaml", [f"eval.metrics={asked}"])
        Path("runs", name, "config.yaml").write_text(config.to_yaml())
    runs = [f"--curve={name}" for name in metrics]
    return ("eval", *runs, f"--real={world.root / 'data' / 'shapes'}", *FAST, *words)


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


def test_runs_with_stages_are_told_apart(world):
    for name in ("one", "two"):
        shutil.copytree(world.run, f"runs/{name}/stage-1-clips")
    real = f"--real={world.root / 'data' / 'shapes'}"
    words = ("--clips=3", "--metrics=fd-random", "-o", "sample.steps=1", "-o", "eval.resamples=5")
    shown = succeed("--json", "eval", "--curve=one", "--curve=two", real, *words).stdout
    assert list(json.loads(shown)["runs"]) == ["one-stage-1-clips", "two-stage-1-clips"]


def test_a_curve_uses_the_given_real_videos(world, clips):
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


def test_runs_with_different_real_videos_are_not_compared(world):
    shutil.copytree(world.root / "runs", "runs")
    shutil.copytree(world.root / "data", "data")
    succeed("prepare", "shapes", "--count=12", "--size=32", "--out=data/fewer")
    config = load_config("runs/shapes/config.yaml", ["data.root=data/fewer"])
    Path("runs/other").mkdir()
    Path("runs/other/config.yaml").write_text(config.to_yaml())
    said = fail("eval", "--curve=shapes", "--curve=other", "--metrics=fd-random", "--clips=3")
    assert "their real videos differ: data/shapes and data/fewer" in said
    assert not Path("runs/shapes/eval").exists()


def test_the_last_curve_marks_the_best_of_a_run_that_does_not_evaluate_itself(world):
    shutil.copytree(world.root / "runs", "runs")
    words = ("eval", "--curve=shapes", f"--real={world.root / 'data/shapes'}", "--clips=3")
    words += ("-o", "sample.steps=1", "-o", "eval.resamples=0")
    for metric in ("fd-random", "direction"):
        assert "best.json" not in succeed(*words, f"--metrics={metric}").stderr
        assert json.loads(Path("runs/shapes/best.json").read_text())["metric"] == metric


def test_runs_with_different_intervals_are_not_compared(world):
    shutil.copytree(world.root / "runs", "runs")
    config = Path("runs/shapes/config.yaml").read_text()
    shutil.copytree("runs/shapes", "runs/other")
    Path("runs/other/config.yaml").write_text(config.replace("interval: 2", "interval: 3"))
    said = fail("eval", "--curve=shapes", "--curve=other", f"--real={world.root / 'data/shapes'}")
    assert "cannot be compared: frame interval of real clips: 2 and 3" in said


def test_runs_with_different_metrics_share_a_curve(world):
    """A dash stands where a run has no such number."""
    words = of_runs(world, a="fd-random", b="direction,fd-random")
    head, *rows = cells(succeed(*words).stdout)
    assert head == ["run", "step", "fd-random", "direction"]
    shown = json.loads(succeed("--json", *words).stdout)["runs"]
    for row, (name, each) in zip(rows, [("a", e) for e in shown["a"]], strict=False):
        assert row[:4] == [name, str(each["step"]), f"{number(each)['value']:.6g}", "-"]
    assert rows[2][3] == f"{number(shown['b'][0], 'direction')['value']:.6g}"
    assert set(shown["a"][0]["metrics"]) == {"fd-random"}


def test_a_curve_measures_again_for_other_draws_and_resamples(world):
    words = of_runs(world, shapes="fd-random")
    first = json.loads(succeed("--json", *words).stdout)["runs"]["shapes"]
    again = succeed("--json", *words, "--draws=3", "-o", "eval.resamples=5")
    assert "measuring step 3" in again.stderr
    found = json.loads(again.stdout)["runs"]["shapes"]
    assert [len(number(each)["draws"]) for each in found] == [3, 3]
    assert all(number(each)["interval"] for each in found)
    back = succeed("--json", *words)
    assert "measuring step" not in back.stderr
    assert json.loads(back.stdout)["runs"]["shapes"] == first


def test_a_run_with_only_broken_checkpoints_is_an_error(world):
    words = of_runs(world, shapes="fd-random")
    for checkpoint in list_checkpoints(Path("runs/shapes")):
        (checkpoint / "ema.safetensors").write_bytes(b"")
    assert "runs/shapes: no whole checkpoints" in fail(*words)


def test_a_curve_of_paired_metrics_is_an_error(world):
    said = fail(*of_runs(world, a="fd-random", b="psnr"))
    assert "psnr compares videos in pairs" in said
    assert not Path("runs/a/eval").exists()


def test_the_path_of_a_run_instead_of_its_name_is_an_error(world):
    shutil.copytree(world.root / "runs", "runs")
    said = fail("eval", "--curve=runs/shapes")
    assert "runs/runs/shapes: no run hint: give a run's name, not its path: --curve shapes" in said
