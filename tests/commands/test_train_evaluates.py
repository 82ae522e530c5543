"""`latte train` with evaluations: numbers, the best checkpoint, and the training untouched."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from conftest import fail, invoke, succeed
from helpers.runs import curve, evaluated, rows, train_words

from latte_cli.checkpoints.folder import find_corruption, list_checkpoints, step_of
from latte_cli.evaluation import checkpoints as results
from latte_cli.evaluation.features import extracting
from latte_cli.evaluation.metric_table import Metric
from latte_cli.runtime.errors import DataError
from latte_cli.training.monitoring import evaluating

RUN = Path("runs/shapes")
EVERY_2 = {
    "train__eval_every": 2,
    "train__save_every": 100,
    "train__lr_schedule": "constant",
    "eval__metrics": "fd-random,direction",
    "eval__clips": 16,
    "eval__resamples": 2,
    "sample__steps": 1,
}


def words(world, *further: object, runs: str = "runs", **values: object) -> tuple[object, ...]:
    """A run with an evaluation at every second step, against the world's videos."""
    data = f"--data-root={world.root / 'data'}"
    return train_words(world, data, *further, runs=runs, **EVERY_2 | values)


def logged(run: Path = RUN) -> dict[int, dict[str, float]]:
    """The same numbers in the lines of metrics.jsonl, by step."""
    return {
        row["step"]: {key[5:]: row[key] for key in row if key.startswith("eval_")}
        for row in rows(run)
        if "eval_fd-random" in row
    }


def losses(run: Path | str) -> list[dict]:
    """Lines of metrics.jsonl without evaluations and what is measured by the clock."""
    return [{k: v for k, v in row.items() if not k.startswith("eval_")} for row in curve(run)]


def saved(run: Path = RUN) -> list[int]:
    return [step_of(path) for path in list_checkpoints(run)]


@pytest.fixture
def evaluated_steps(monkeypatch) -> list[int]:
    """The steps evaluated from now on, in order."""
    steps, original = [], evaluating.measure_checkpoint

    def measure(run, weights, *others):
        steps.append(step_of(weights))
        return original(run, weights, *others)

    monkeypatch.setattr(evaluating, "measure_checkpoint", measure)
    return steps


def test_a_run_with_evaluations_has_the_same_losses(world):
    """Bit for bit: random numbers of an evaluation do not change training."""
    said = succeed(*words(world, train__keep=9)).stderr
    left = torch.get_rng_state()
    succeed(*words(world, runs="plain", train__eval_every="null", train__save_every=2))
    assert torch.equal(torch.get_rng_state(), left), "both runs are seeded as they begin"
    assert list(evaluated(RUN)) == [2, 4, 6]
    assert logged() == evaluated(RUN)
    assert f"fd-random {evaluated(RUN)[6]['fd-random']:.4g}" in said
    assert losses(RUN) == losses("plain/shapes")
    assert all("loss" in row and row["clips_per_s"] > 0 for row in rows(RUN))
    for path in Path("plain/shapes/checkpoints/step-00000006").glob("**/*.safetensors"):
        ours = RUN / path.relative_to("plain/shapes")
        assert ours.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("higher", [False, True])
def test_the_best_checkpoint_is_marked_and_kept(world, monkeypatch, higher):
    """By the lowest value, and by the highest: at least one of them is not the newest."""
    monkeypatch.setattr(results, "METRICS", {"fd-random": Metric(higher_is_better=higher)})
    succeed(*words(world, train__keep=1))
    values = {step: numbers["fd-random"] for step, numbers in evaluated(RUN).items()}
    best = (max if higher else min)(values, key=values.__getitem__)
    marked = json.loads((RUN / "best.json").read_text())
    assert (marked["step"], marked["value"]) == (best, values[best])
    assert {best, 6} <= set(saved())
    assert len(saved()) == 2, "the newest, and the best of those before it"
    assert find_corruption(RUN / marked["checkpoint"]) is None


def test_a_curve_afterwards_reads_all_results(world):
    succeed(*words(world))
    options = ("--curve=shapes", f"--real={world.root / 'data' / 'shapes'}", "--runs-root=runs")
    shown = succeed("--json", "eval", *options)
    assert "measuring step" not in shown.stderr
    assert [each["step"] for each in json.loads(shown.stdout)["runs"]["shapes"]] == [2, 4, 6]


def test_a_curve_by_another_metric_does_not_cost_a_run_its_best_checkpoint(world):
    succeed(*words(world, train__keep=1, train__steps=4))
    before = (RUN / "best.json").read_bytes()
    real = f"--real={world.root / 'data' / 'shapes'}"
    said = succeed("eval", "--curve=shapes", real, "--metrics=direction").stderr
    assert "best.json names the best checkpoint by another evaluation" in " ".join(said.split())
    assert (RUN / "best.json").read_bytes() == before
    succeed(*words(world, train__keep=1, train__steps=5, train__eval_every="null"))
    assert saved() == [json.loads(before)["step"], 5]


def test_a_resumed_run_evaluates_no_step_twice(world, evaluated_steps):
    succeed(*words(world, train__steps=4))
    assert evaluated_steps == [2, 4]
    before = (RUN / "metrics.jsonl").read_bytes()
    succeed(*words(world, train__steps=4))
    assert (RUN / "metrics.jsonl").read_bytes() == before
    succeed(*words(world, train__steps=6))
    assert evaluated_steps == [2, 4, 6]
    assert list(logged()) == [2, 4, 6]


def test_steps_repeated_after_a_crash_are_not_evaluated_again(world, evaluated_steps):
    """Their weights are the same, so that their numbers are found and logged again."""
    values = {"train__save_every": 3, "train__ema_every": 2}
    succeed(*words(world, **values))
    before = logged()
    shutil.rmtree(RUN / "checkpoints/step-00000006")
    succeed(*words(world, **values))
    assert evaluated_steps == [2, 4, 6]
    assert logged() == before


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (lambda: send(signal.SIGTERM), 75),
        (lambda: send(signal.SIGINT), 130),
        ((RUN / "stop").touch, 75),
    ],
)
def test_a_signal_during_an_evaluation_stops_it_and_no_features_are_lost(
    world, monkeypatch, evaluated_steps, ask, code
):
    """After some clips; the same command extracts the others, also after the last step."""
    monkeypatch.setattr("latte_cli.runtime.signals._POLL_INTERVAL_S", 0.0)
    succeed(*words(world, runs="whole", train__steps=2))
    del evaluated_steps[:]
    original = extracting._Batch.finish

    def finish(batch):
        done = original(batch)
        if done:
            ask()
        return done

    monkeypatch.setattr(extracting._Batch, "finish", finish)
    shutil.rmtree("features")
    result = invoke(*words(world, train__steps=2))
    assert result.exit_code == code, result.stderr
    assert saved() == [2]
    assert find_corruption(list_checkpoints(RUN)[0]) is None
    assert evaluated(RUN) == {}
    extracted = list(Path("features").glob("random3d-*/part-*"))
    assert extracted, "features extracted until then are kept"
    monkeypatch.setattr(extracting._Batch, "finish", original)
    assert "resuming from" in succeed(*words(world, train__steps=2)).stderr
    assert evaluated_steps == [2, 2]
    assert all(path.is_file() for path in extracted)
    assert logged() == evaluated(RUN) == evaluated("whole/shapes")
    assert losses(RUN) == losses("whole/shapes")
    assert not list((RUN / "eval").glob(".over*"))


def test_an_ema_snapshot_is_enough(world):
    """No whole checkpoint is written for it."""
    succeed(*words(world, train__ema_every=2))
    assert saved() == [6]
    assert list(evaluated(RUN)) == [2, 4, 6]
    marked = json.loads((RUN / "best.json").read_text())
    assert find_corruption(RUN / marked["checkpoint"]) is None


def test_a_failed_evaluation_is_a_warning(world, monkeypatch):
    def broken(*words):
        raise DataError("clip 3: the features are not finite")

    monkeypatch.setattr(evaluating, "measure_checkpoint", broken)
    said = " ".join(succeed(*words(world)).stderr.split())
    assert "warning: step 2 is not measured, training goes on: clip 3" in said
    assert rows(RUN)[-1]["step"] == 6
    assert not (RUN / "best.json").exists()


def test_a_damaged_result_is_a_warning(world):
    succeed(*words(world, train__steps=2))
    (damaged,) = (RUN / "eval").glob("step-*.json")
    damaged.write_text("{")
    said = " ".join(succeed(*words(world, train__steps=4)).stderr.split())
    assert f"warning: {damaged}: not a result of `latte eval`, or damaged; training" in said
    assert rows(RUN)[-1]["step"] == 4


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            {"eval__metrics": "fvd"},
            "fvd or kvd needs at least 9 hint: -o data.frames=9, or another of eval.metrics",
        ),
        (
            {"eval__metrics": "fvd", "data__frames": 9, "data__interval": 1},
            "is not on this machine",
        ),
        ({"eval__metrics": "psnr"}, "psnr compares videos in pairs"),
        ({"eval__metrics": "is", "eval__clips": 9}, "is needs at least 10 clips"),
        (
            {"model__condition": "none", "model__num_classes": "null"},
            "this network is unconditional",
        ),
        ({"data__root": "nowhere", "data__latents": ""}, "nowhere: no such folder"),
        ({"eval__interval": 99}, "no video has 396 frames"),
    ],
)
def test_what_an_evaluation_lacks_is_an_error_before_the_first_step(
    world, monkeypatch, tmp_path, values, reason
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if "data__latents" in values:
        values = {**values, "data__latents": world.latents}
    said = fail(*words(world, **values))
    assert "error: train.eval_every: " in said
    assert reason in said
    assert "-o train.eval_every=null" in said
    assert not RUN.exists()
