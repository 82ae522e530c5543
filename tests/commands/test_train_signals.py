"""`latte train` when a stop or a save is requested, and when the disk is full."""

import errno
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from conftest import fail, invoke, succeed
from helpers.runs import curve, rows, train_words

from latte_cli.checkpoints import state as checkpoint_state
from latte_cli.checkpoints import writer as checkpoint_writer
from latte_cli.checkpoints.folder import find_corruption, list_checkpoints, step_of
from latte_cli.commands import train as train_command
from latte_cli.training import saving

ENDLESS = {"train__steps": 100_000, "train__save_every": 100_000, "train__lr_schedule": "constant"}
RUN = Path("runs/shapes")


@pytest.fixture
def at_step(monkeypatch):
    """Has something done after one step of any run, as if from outside."""
    original = train_command.train_step

    def at_step(number: int, act: Callable[[], object]) -> None:
        def step(state, *words):
            metrics = original(state, *words)
            if state.step == number:
                act()
            return metrics

        monkeypatch.setattr(train_command, "train_step", step)

    return at_step


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def stopped(world, code: int, **values: object) -> Result:
    """A run without end, which must stop with a code after saving one whole checkpoint."""
    result = invoke(*train_words(world, **ENDLESS | values))
    assert result.exit_code == code, result.stderr
    assert "the same command resumes from there" in " ".join(result.stderr.split())
    (written,) = list_checkpoints(RUN)
    assert find_corruption(written) is None
    return result


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)]
)
def test_a_signal_finishes_the_step_saves_and_the_same_command_resumes(
    world, at_step, number, code
):
    at_step(4, lambda: send(number))
    stopped(world, code)
    assert step_of(list_checkpoints(RUN)[-1]) == 4
    at_step(6, lambda: send(number))
    assert invoke(*train_words(world, **ENDLESS)).exit_code == code
    at_step(0, lambda: None)
    succeed(*train_words(world, runs="whole", **{**ENDLESS, "train__steps": 6}))
    assert curve(RUN) == curve("whole/shapes")


def test_a_second_ctrl_c_stops_at_once_without_harm(world, at_step, monkeypatch):
    """While a checkpoint is being written: it does not count, and the one before is whole."""
    original, free = saving.save_checkpoint, threading.Event()

    def slow(*words, **parts):
        if words[2].step > 2:
            (RUN / "checkpoints/.part-0-step-00000004").mkdir()
            send(signal.SIGINT)
            free.wait(30)
        return original(*words, **parts)

    monkeypatch.setattr(saving, "save_checkpoint", slow)
    at_step(4, lambda: send(signal.SIGINT))
    result = invoke(*train_words(world, **{**ENDLESS, "train__save_every": 2}))
    assert result.exit_code == 130
    assert "interrupted" in result.stderr
    assert [step_of(path) for path in list_checkpoints(RUN)] == [2]
    monkeypatch.setattr(saving, "save_checkpoint", original)
    free.set()
    at_step(6, lambda: send(signal.SIGTERM))
    assert invoke(*train_words(world, **ENDLESS)).exit_code == 75
    assert not list((RUN / "checkpoints").glob(".part-*")), "what was left unfinished is gone"
    assert [row["step"] for row in rows(RUN)] == [1, 2, 3, 4, 5, 6]


def test_a_file_save_saves_and_training_goes_on(world, at_step):
    at_step(1, (RUN / "save").touch)
    succeed(*train_words(world, train__steps=4, train__save_every=100, train__keep=9))
    assert [step_of(path) for path in list_checkpoints(RUN)] == [1, 4]
    assert not (RUN / "save").exists()


def test_a_file_stop_saves_and_stops(world, at_step):
    at_step(1, (RUN / "stop").touch)
    stopped(world, 75)
    assert not (RUN / "stop").exists()
    succeed(*train_words(world, **{**ENDLESS, "train__steps": 2}))


def test_files_are_looked_for_about_once_a_second(world, at_step, monkeypatch):
    looked = []
    original = Path.exists

    def exists(path, **words):
        looked.extend([path.name] if path.name in ("save", "stop") else [])
        return original(path, **words)

    monkeypatch.setattr(Path, "exists", exists)
    monkeypatch.setattr("latte_cli.runtime.signals._POLL_INTERVAL_S", 1e6)
    succeed(*train_words(world))
    assert sorted(looked) == ["save", "stop"], "once, in six steps"


@pytest.fixture
def full_disk(monkeypatch):
    """The third file of a checkpoint finds the disk full, after some checkpoints were written."""
    original, calls = checkpoint_state.write_state, []

    def full_disk(after: int, until: int = 10**9) -> None:
        def write_state(folder, *parts):
            calls.append(folder)
            if after < len(calls) <= until:
                raise OSError(errno.ENOSPC, "No space left on device", str(folder))
            original(folder, *parts)

        monkeypatch.setattr(checkpoint_state, "write_state", write_state)

    monkeypatch.setattr(checkpoint_writer, "RETRY_AFTER_S", (0.0, 0.0))
    return full_disk


def test_a_full_disk_keeps_the_old_checkpoint_and_is_an_error(world, full_disk):
    full_disk(after=1)
    said = fail(*train_words(world))
    assert said.count("the disk is full; trying again in 0 s, what was saved before is safe") == 2
    assert "error: " in said
    assert "make room" in said
    assert [path.name for path in (RUN / "checkpoints").iterdir()] == ["step-00000003"]
    full_disk(after=10**9)
    assert "resuming from" in succeed(*train_words(world)).stderr
    assert curve(RUN) == curve(world.run)


def test_a_disk_that_is_full_for_a_while_is_waited_for(world, full_disk):
    full_disk(after=1, until=3)
    result = succeed(*train_words(world))
    assert result.stderr.count("the disk is full") == 2
    assert [step_of(path) for path in list_checkpoints(RUN)] == [3, 6]
