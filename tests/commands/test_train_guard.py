"""`latte train` when batches go bad: skipped and named, then left out, and in the end given up."""

import math
import threading
from pathlib import Path

import pytest
from conftest import fail, succeed
from helpers.runs import bad_steps, curve, train_words

from latte_cli.checkpoints.folder import list_checkpoints
from latte_cli.data.clips import ClipSampler
from latte_cli.data.latents.reading import LatentSet

STREAK = {
    "train__steps": 14,
    "train__max_bad_steps": 3,
    "train__keep": 9,
    "train__lr_schedule": "constant",
}


@pytest.fixture
def spoil(monkeypatch):
    """Makes one clip of some batches not finite."""
    original = ClipSampler.batch

    def spoil(*numbers):
        def batch(self, step, indices=None):
            found = original(self, step, indices)
            if step in numbers:
                found.x_start[0, 0, 0, 0, 0] = math.nan
            return found

        monkeypatch.setattr(ClipSampler, "batch", batch)

    return spoil


def test_a_bad_batch_is_skipped_counted_and_its_clips_are_named(world, spoil):
    spoil(3)
    said = " ".join(succeed(*train_words(world, data__num_images=1)).stderr.split())
    assert "warning: step 4 is skipped: the loss is nan; its clips: " in said
    (row,) = bad_steps("runs/shapes")
    assert (row["step"], row["batch"], row["loss"], row["why"]) == (4, 3, None, "the loss is nan")
    for name in row["clips"] + row["images"]:
        assert (world.root / "data/shapes" / name).is_file()
    assert 1 <= len(row["clips"]) <= 4
    steps = curve("runs/shapes")
    assert [row["step"] for row in steps] == [1, 2, 3, 4, 5, 6]
    assert [row["loss"] is None for row in steps] == [False] * 3 + [True] + [False] * 2


def test_the_clips_named_are_those_of_the_batch(world, spoil, monkeypatch):
    """Those are the videos that its clips are cut from, each in a thread of its own."""
    seen, here = [], threading.local()
    fill, cut = ClipSampler._fill_row, LatentSet.clip

    def row(self, step, *others):
        here.step = step
        return fill(self, step, *others)

    def clip(self, number, *others, **how):
        if here.step == 3:
            seen.append(str(self.table.row(number)["path"]))
        return cut(self, number, *others, **how)

    monkeypatch.setattr(ClipSampler, "_fill_row", row)
    monkeypatch.setattr(LatentSet, "clip", clip)
    spoil(3)
    succeed(*train_words(world))
    (bad,) = bad_steps("runs/shapes")
    assert set(bad["clips"]) == set(seen)


def test_too_many_in_a_row_roll_the_run_back_and_skip_their_batches(world, spoil, monkeypatch):
    """From the checkpoint on the curve is that of a run which never had those batches."""
    original = ClipSampler.batch

    def later(self, step, indices=None):
        return original(self, step + 3 if step >= 6 else step, indices)

    monkeypatch.setattr(ClipSampler, "batch", later)
    succeed(*train_words(world, runs="without", **STREAK))
    monkeypatch.setattr(ClipSampler, "batch", original)
    spoil(6, 7, 8)
    said = " ".join(succeed(*train_words(world, **STREAK)).stderr.split())
    assert "3 steps in a row were bad, up to step 9: going back to runs/shapes" in said
    assert "step-00000006; the 3 batches from there to here are left out" in said
    assert curve("runs/shapes") == curve("without/shapes")
    assert len(curve("runs/shapes")) == 14
    *skipped, back = bad_steps("runs/shapes")
    assert [row["batch"] for row in skipped] == [6, 7, 8]
    assert back == {"step": 9, "back_to": 6, "batches_left_out": 3}


def test_the_logging_interval_changes_nothing(world, spoil):
    """Skipped on the device at once, steps at the next line of the log."""
    spoil(6, 7, 8)
    succeed(*train_words(world, **STREAK))
    succeed(*train_words(world, runs="seldom", **STREAK, train__log_every=7))
    often = {row["step"]: (row["loss"], row["grad_norm"]) for row in curve("runs/shapes")}
    seldom = {row["step"]: (row["loss"], row["grad_norm"]) for row in curve("seldom/shapes")}
    assert seldom == {step: often[step] for step in (7, 14)}


def test_a_rolled_back_run_resumes_exactly(world, spoil):
    """Stopped amid bad steps, where a checkpoint is no good one, and after going back."""
    spoil(6, 7, 8)
    succeed(*train_words(world, runs="whole", **STREAK))
    for steps in (7, 10, 14):
        succeed(*train_words(world, **{**STREAK, "train__steps": steps}))
    assert curve("runs/shapes") == curve("whole/shapes")
    assert bad_steps("runs/shapes") == bad_steps("whole/shapes")
    ends = ("model.safetensors", "ema.safetensors", "state/optimizer.safetensors")
    files = [Path(runs, "shapes/checkpoints/step-00000014") for runs in ("runs", "whole")]
    for name in ends:
        assert (files[0] / name).read_bytes() == (files[1] / name).read_bytes()


def test_a_checkpoint_waits_while_steps_are_bad(world, spoil):
    """That of step 6 would be one amid bad steps; step 8 is the next good one."""
    spoil(5, 6)
    succeed(*train_words(world, train__steps=8, train__keep=9))
    names = [path.name for path in list_checkpoints(Path("runs/shapes"))]
    assert names == ["step-00000003", "step-00000008"]


def test_without_a_checkpoint_the_run_starts_over(world, spoil):
    spoil(0, 1, 2)
    values = {**STREAK, "train__steps": 5}
    said = " ".join(succeed(*train_words(world, **values)).stderr.split())
    assert "going back to the beginning" in said
    assert [row["step"] for row in curve("runs/shapes")] == [1, 2, 3, 4, 5]
    assert all(row["loss"] is not None for row in curve("runs/shapes"))


def test_a_run_that_goes_on_from_another_returns_to_that(world, spoil):
    """Before it has a checkpoint of its own."""
    first = list_checkpoints(world.run)[0]
    spoil(3, 4, 5)
    values = {**STREAK, "train__steps": 7, "train__save_every": 20}
    said = succeed(*train_words(world, **values), "--run=other", f"--resume={first}").stderr
    assert f"going back to {first}" in " ".join(said.split()).replace("- ", "-")
    assert [row["step"] for row in curve("runs/other")] == [4, 5, 6, 7]


def test_the_second_time_it_stops_with_a_report(world, spoil):
    spoil(6, 7, 8, 12, 13, 14)
    said = fail(*train_words(world, **STREAK))
    assert "the run has diverged: 3 steps in a row were bad up to step 12" in said
    assert "at the last one the loss is nan" in said
    assert "runs/shapes/bad_steps.jsonl names the clips" in said
    assert len([row for row in bad_steps("runs/shapes") if "clips" in row]) == 6
    again = fail(*train_words(world, **STREAK))
    assert "the run has diverged" in again


def test_a_diverging_run_is_advised_a_lower_learning_rate(world):
    values = {"train__lr": 1e30, "train__precision": "float32", "train__steps": 40}
    assert "lower train.lr" in fail(*train_words(world, **values))


def test_an_evaluation_waits_with_its_checkpoint(world, spoil):
    """Bad steps send the run back to step 3 from step 8, then step 6 is one of them."""
    values = {
        "train__eval_every": 3,
        "train__steps": 9,
        "train__max_bad_steps": 3,
        "eval__metrics": "direction",
        "eval__clips": 4,
    }
    data = f"--data-root={world.root / 'data'}"
    spoil(5, 6)
    succeed(*train_words(world, data, runs="waits", **values))
    steps = [row["step"] for row in curve("waits/shapes") if "eval_direction" in row]
    assert steps == [3, 8, 9]
    spoil(5, 6, 7, 10)
    said = succeed(*train_words(world, data, **values)).stderr
    assert "going back to runs/shapes/checkpoints/step-00000003" in " ".join(said.split())
    steps = [row["step"] for row in curve("runs/shapes") if "eval_direction" in row]
    assert steps == [3, 7, 9]
