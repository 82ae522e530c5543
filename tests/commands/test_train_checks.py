"""Held-out losses and previews of `latte train`: how often, how far they are, and when to stop."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from click.testing import Result
from conftest import World, invoke, succeed
from helpers.runs import curve, rows, train_words
from helpers.small import random_batch, small_config

from latte_cli.checkpoints.folder import list_checkpoints, step_of
from latte_cli.runtime import signals
from latte_cli.runtime.signals import Interrupted, RunRequests
from latte_cli.training import batches
from latte_cli.training import step as step_module
from latte_cli.training.monitoring import checks
from latte_cli.training.monitoring.validation import Validation
from latte_cli.training.state import new_state

RUN = Path("runs/shapes")
CHECKED = {
    "train__preview_every": 4,
    "train__preview_steps": 3,
    "train__validate_every": 2,
    "train__validate_clips": 4,
    "train__log_every": 4,
    "train__keep": 9,
    "train__accumulate": 2,
}


@pytest.fixture(scope="module")
def world(world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """The small world's latents with its last videos held out, and an undisturbed run."""
    own = World(tmp_path_factory.mktemp("checks"))
    shutil.copytree(world.latents, own.latents)
    index = own.latents / "index.jsonl"
    lines = [json.loads(line) for line in index.read_text().splitlines()]
    for line in lines[-4:]:
        line["split"] = "test"
    index.write_text("".join(json.dumps(line) + "\n" for line in lines))
    succeed(*train_words(own, runs=str(own.root / "runs"), **CHECKED))
    return own


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def touch_stop() -> None:
    (RUN / "stop").touch()


def files(run: Path) -> dict[str, bytes]:
    """All that a run leaves which does not depend on the clock."""
    kept = [*run.glob("previews/*"), *run.glob("checkpoints/*/**/*.safetensors")]
    return {str(path.relative_to(run)): path.read_bytes() for path in kept}


def resumes_as_undisturbed(world: World, stopped: Result, step: int) -> None:
    assert stopped.exit_code == 75, stopped.stderr
    assert step_of(list_checkpoints(RUN)[-1]) == step
    succeed(*train_words(world, **CHECKED))
    # Quarters are means over the steps since this process started.
    ours, theirs = (
        [{k: v for k, v in row.items() if not k.startswith("loss_q")} for row in curve(run)]
        for run in (RUN, world.run)
    )
    assert ours == theirs
    kept, whole = files(RUN), files(world.run)
    assert all(kept[name] == whole[name] for name in whole)


@pytest.mark.parametrize("never", ["null", "0"])
def test_both_can_be_turned_off(world, never):
    values = {"train__preview_every": never, "train__validate_every": never}
    succeed(*train_words(world, train__steps=2, **values))
    assert not (RUN / "previews").exists()
    assert not any("val_loss" in row for row in rows(RUN))
    other = {"train__keep_every": never, "train__ema_every": never, "train__eval_every": never}
    succeed(*train_words(world, train__steps=3, **values, **other))


def test_a_preview_has_its_own_few_steps_and_reports_progress(world, monkeypatch):
    monkeypatch.setattr("latte_cli.runtime.console.PLAIN_EVERY_S", 0.0)
    values = {"train__preview_steps": 3, "sample__steps": 250, "sample__batch": 4}
    said = succeed(*train_words(world, train__steps=1, **values)).stderr
    assert [f"preview: {step}/6 steps" in said for step in (1, 6, 7)] == [True, True, False]
    assert "held-out loss: 1/" in said


@pytest.mark.parametrize("ask", [terminate, touch_stop])
def test_a_stop_ends_a_preview_and_the_resumed_run_makes_it(world, monkeypatch, ask):
    monkeypatch.setattr(signals, "_POLL_INTERVAL_S", 0.0)
    original, ticks = checks.write_preview, []

    def write_preview(state, codec, config, run, store, tick):
        def ask_first() -> None:
            ticks.append(state.step)
            ask()
            tick()

        return original(state, codec, config, run, store, ask_first)

    monkeypatch.setattr(checks, "write_preview", write_preview)
    result = invoke(*train_words(world, **CHECKED))
    assert ticks == [4], "ended after the first of three steps"
    assert not (RUN / "previews").exists()
    monkeypatch.setattr(checks, "write_preview", original)
    resumes_as_undisturbed(world, result, 4)


def test_a_signal_ends_a_validation_and_the_resumed_run_makes_it(world, monkeypatch):
    original = Validation.losses

    def losses(self, model, tick):
        def ask_first() -> None:
            terminate()
            tick()

        return original(self, model, ask_first)

    monkeypatch.setattr(Validation, "losses", losses)
    result = invoke(*train_words(world, **CHECKED))
    assert [("val_loss" in row, row["step"]) for row in rows(RUN)] == [(False, 2)]
    monkeypatch.setattr(Validation, "losses", original)
    resumes_as_undisturbed(world, result, 2)


def test_a_stop_at_the_last_preview_is_made_up_for(world, monkeypatch):
    def write_preview(*_):
        terminate()

    with monkeypatch.context() as patch:
        patch.setattr(checks, "write_preview", write_preview)
        result = invoke(*train_words(world, train__steps=2))
    assert result.exit_code == 75
    assert "the same command resumes" in " ".join(result.stderr.split())
    assert not (RUN / "previews").exists()
    succeed(*train_words(world, train__steps=2))
    assert (RUN / "previews/step-00000002.mp4").is_file()


def test_a_signal_ends_a_step_before_it_changes_anything(world, monkeypatch):
    original, calls = step_module.clip_losses, []

    def clip_losses(*words):
        calls.append(1)
        if len(calls) == 8:  # the second micro-batch of the fourth step
            terminate()
        return original(*words)

    monkeypatch.setattr(step_module, "clip_losses", clip_losses)
    result = invoke(*train_words(world, **CHECKED))
    assert len(calls) == 8
    monkeypatch.setattr(step_module, "clip_losses", original)
    resumes_as_undisturbed(world, result, 3)


def test_a_signal_while_the_first_batch_is_cut_leaves_no_checkpoint(world, monkeypatch):
    original = batches.BatchLoader.load

    def load(*words):
        terminate()
        return original(*words)

    with monkeypatch.context() as patch:
        patch.setattr(batches.BatchLoader, "load", load)
        result = invoke(*train_words(world, **CHECKED))
    assert result.exit_code == 75
    assert "stopped before the first step" in result.stderr
    assert list_checkpoints(RUN) == []
    assert succeed(*train_words(world, **CHECKED)).stderr.count("resuming") == 0


def test_python_runs_between_the_operations_of_a_backward_pass():
    """There a signal's handler can end it."""
    config = small_config()
    state = new_state(config, torch.device("cpu"))
    batch = random_batch(config)
    terms = state.model(batch.x_start, batch.t, **batch.cond)
    requests = RunRequests()
    ran = []

    def receive(_: object) -> None:
        ran.append(1)
        if len(ran) == 5:
            requests.receive(signal.SIGTERM)

    for parameter in state.model.parameters():
        assert parameter._post_accumulate_grad_hooks
        parameter.register_post_accumulate_grad_hook(receive)
    with pytest.raises(Interrupted), requests.interruptible():
        terms.sum().backward()
    assert len(ran) == 5
    assert requests.exit_code == 75
