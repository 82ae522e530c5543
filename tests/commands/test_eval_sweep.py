"""`latte eval --sweep`."""

import json
from pathlib import Path

import pytest
from conftest import fail, succeed, tiny
from PIL import Image

FAST = ("-o", "sample.steps=1", "-o", "eval.resamples=0", "--clips=3")
SWEEP = ("eval", "--real=real", "--preset=shapes", "-o", "data.interval=1", *FAST)
GRID = (
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


def cells(shown):
    """The words of each line of a table for people."""
    return [line.split() for line in shown.splitlines()]


def swept(*words):
    return json.loads(succeed("--json", *SWEEP, *words).stdout)["points"]


def number(point, metric="fd-random"):
    return point["metrics"][metric]


def test_a_sweep_writes_a_table_and_a_plot_and_resumes(clips, tmp_path):
    shown = json.loads(succeed("--json", *GRID, "--metrics=fd-random").stdout)
    settings = [point["settings"] for point in shown["points"]]
    assert settings == [{"steps": a, "guidance": b} for a in "12" for b in "14"]
    assert all(point["seconds_per_clip"] > 0 for point in shown["points"])
    assert len({point["metrics"]["fd-random"]["value"] for point in shown["points"]}) == 4
    with Image.open("sweeps/shapes-fast/shipped/sweep.png") as picture:
        assert picture.width > 500
    assert json.loads(Path("sweeps/shapes-fast/shipped/sweep.json").read_text()) == shown

    gone = sorted(Path("sweeps/shapes-fast/shipped/points").glob("*.json"))[0]
    gone.unlink()
    people = succeed(*GRID, "--metrics=fd-random").stdout
    assert "1 of 4" in " ".join(people.split()), "only what is missing is measured"
    assert json.loads(Path("sweeps/shapes-fast/shipped/sweep.json").read_text()) == shown
    assert "another protocol (seed of the selection: 0 and 1)" in fail(
        *GRID, "--metrics=fd-random", "--seed=1"
    )


def test_a_sweep_has_one_protocol(clips):
    words = ("eval", "--real=real", "--preset=shapes", "--clips=2")
    said = fail(*words, "--sweep=eval.seed=1,2", "-o", "data.interval=1")
    assert "a sweep over what belongs to the protocol (seed of the selection: 1 and 2)" in said
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
def test_an_axis_without_values_is_an_error(clips, axis):
    assert "is nothing to sweep" in fail(
        "eval", "--real=real", "--preset=shapes", f"--sweep={axis}"
    )


def test_a_sweep_does_not_mix_results_against_other_videos(world, clips):
    succeed(*GRID, "--metrics=fd-random", "-o", "sample.steps=1")
    table = Path("sweeps/shapes-fast/shipped/sweep.json").read_bytes()
    other = f"--real={world.root / 'data' / 'shapes'}"
    said = fail(*GRID, other, "--metrics=fd-random", "-o", "sample.steps=1")
    assert "holds a result against other real videos: real, not " in said
    assert "--overwrite" in said
    assert "--out sweeps/shapes-fast/shipped-2" in said
    assert Path("sweeps/shapes-fast/shipped/sweep.json").read_bytes() == table
    succeed(*GRID, other, "--metrics=fd-random", "-o", "sample.steps=1", "--overwrite")
    assert Path("sweeps/shapes-fast/shipped/sweep.json").read_bytes() != table


def test_a_sweep_over_the_checkpoints_of_a_run(world):
    words = (f"--runs-root={world.root / 'runs'}", f"--real={world.root / 'data' / 'shapes'}")
    words += ("--preset=shapes", "--sweep=checkpoint=all", "--clips=2", "--metrics=direction")
    words += tuple(tiny(sample__steps=1))
    shown = json.loads(succeed("--json", "eval", *words).stdout)
    names = [Path(point["settings"]["checkpoint"]).name for point in shown["points"]]
    assert names == ["step-00000003", "step-00000006"]


def test_a_sweep_shows_each_number_under_its_metric_after_other_metrics_were_measured(clips):
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
    ("axes", "expected"),
    [
        (["fps=4,8"], "asks for the same clips by fps 4 and fps 8"),
        (["guidance=2", "steps=1,2,1"], "by guidance 2, steps 1 twice"),
        (["steps=1,2", "train.lr=1,2"], "by steps 1, train.lr 1 and steps 1, train.lr 2"),
        (["eval.draws=1,3"], "how clips are measured (eval.draws)"),
        (["steps=1,2", "eval.resamples=0,5"], "how clips are measured (eval.resamples)"),
        (["eval.seed=2,3"], "belongs to the protocol (seed of the selection: 2 and 3)"),
        (["eval.clips=2,3"], "by eval.clips 2 and eval.clips 3"),  # which --clips outdoes
        (["steps=1", "steps=2"], "steps is swept over twice"),
        (["steps=1", "sample.steps=2"], "steps is swept over twice"),
    ],
)
def test_axes_that_would_be_ignored_are_errors(clips, axes, expected):
    assert expected in fail(*SWEEP, *(f"--sweep={axis}" for axis in axes), "--metrics=fd-random")
    assert not Path("sweeps").exists()
