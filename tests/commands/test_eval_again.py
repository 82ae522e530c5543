"""`latte eval --sweep` and `--curve` asked again in another way, or for what they cannot tell."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import fail, succeed

from latte_cli.checkpoints.folder import list_checkpoints
from latte_cli.config import load_config

FAST = ("-o", "sample.steps=1", "-o", "eval.resamples=0", "--clips=3")
SWEEP = ("eval", "--real=real", "--preset=shapes", "-o", "data.interval=1", *FAST)


def cells(shown):
    """The words of each line of a table for people."""
    return [line.split() for line in shown.splitlines()]


def swept(*words):
    return json.loads(succeed("--json", *SWEEP, *words).stdout)["points"]


def number(point, metric="fd-random"):
    return point["metrics"][metric]


def test_a_sweep_shows_each_number_under_its_metric_whatever_was_asked_for_before(clips):
    swept("--sweep=steps=1", "--metrics=direction,fd-random")
    words = ("--sweep=steps=1,2", "--metrics=fd-random,direction")
    head, *rows = cells(succeed(*SWEEP, *words).stdout)
    assert head[:3] == ["steps", "fd-random", "direction"]
    for row, point in zip(rows, swept(*words), strict=False):
        assert list(point["metrics"]) == ["fd-random", "direction"]
        shown = [f"{number(point, metric)['value']:.6g}" for metric in point["metrics"]]
        assert row[2:4] == shown


def test_a_sweep_measures_again_for_other_draws_and_resamples(clips):
    words = ("--sweep=steps=1,2", "--metrics=fd-random")
    (first, *_) = swept(*words)
    assert len(number(first)["draws"]) == 1
    people = succeed(*SWEEP, *words, "--draws=3").stdout
    assert "2 of 2" in " ".join(people.split())
    found = swept(*words, "--draws=3", "-o", "eval.resamples=5")
    assert [len(number(point)["draws"]) for point in found] == [3, 3]
    assert all(number(point)["interval"] for point in found)
    assert number(found[0])["draws"][0] == number(first)["value"]
    assert swept(*words)[0] == first


def test_a_sweep_over_batches_measures_each(clips):
    """How many clips are drawn together decides on their rounding, and on the seconds of each."""
    people = succeed(*SWEEP, "--sweep=batch=1,3", "--metrics=fd-random").stdout
    assert "measured now 2 of 2" in " ".join(people.split())


@pytest.mark.parametrize(
    ("axes", "told"),
    [
        (["fps=4,8"], "asks for the same clips by fps 4 and fps 8"),
        (["guidance=2", "steps=1,2,1"], "by guidance 2, steps 1 twice"),
        (["steps=1,2", "train.lr=1,2"], "by steps 1, train.lr 1 and steps 1, train.lr 2"),
        (["eval.draws=1,3"], "how clips are measured (eval.draws)"),
        (["steps=1,2", "eval.resamples=0,5"], "how clips are measured (eval.resamples)"),
        (["eval.seed=2,3"], "belongs to the protocol (seed of the draws: 2 and 3)"),
        (["eval.clips=2,3"], "by eval.clips 2 and eval.clips 3"),  # which --clips outdoes
        (["steps=1", "steps=2"], "steps is swept over twice"),
        (["steps=1", "sample.steps=2"], "steps is swept over twice"),
    ],
)
def test_axes_that_would_be_ignored_are_refused(clips, axes, told):
    assert told in fail(*SWEEP, *(f"--sweep={axis}" for axis in axes), "--metrics=fd-random")
    assert not Path("sweeps").exists()


def of_runs(world, *words, **metrics):
    """The words of a curve over copies of the world's run, each with its own `eval.metrics`."""
    for name, asked in metrics.items():
        shutil.copytree(world.run, Path("runs", name))
        config = load_config(f"runs/{name}/config.yaml", [f"eval.metrics={asked}"])
        Path("runs", name, "config.yaml").write_text(config.to_yaml())
    runs = [f"--curve={name}" for name in metrics]
    return ("eval", *runs, f"--real={world.root / 'data' / 'shapes'}", *FAST, *words)


def test_runs_with_other_metrics_are_drawn_together(world):
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


def test_a_run_whose_checkpoints_are_all_broken_is_told(world):
    words = of_runs(world, shapes="fd-random")
    for checkpoint in list_checkpoints(Path("runs/shapes")):
        (checkpoint / "ema.safetensors").write_bytes(b"")
    assert "runs/shapes: no whole checkpoints" in fail(*words)


def test_a_run_with_metrics_of_pairs_is_told(world):
    said = fail(*of_runs(world, a="fd-random", b="psnr"))
    assert "psnr compares videos in pairs" in said
    assert not Path("runs/a/eval").exists()


def test_a_path_of_a_run_is_told_from_its_name(world):
    shutil.copytree(world.root / "runs", "runs")
    said = fail("eval", "--curve=runs/shapes")
    assert "runs/runs/shapes: no run hint: give a run's name, not its path: --curve shapes" in said
