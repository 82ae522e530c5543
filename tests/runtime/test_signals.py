"""Requests to a long run, by signals and by files in its folder."""

import os
import signal
import subprocess
import sys

import pytest

from latte_cli.runtime import signals
from latte_cli.runtime.signals import (
    EXIT_INTERRUPTED,
    EXIT_TEMPFAIL,
    SAVE,
    RunRequests,
    listen_for_requests,
)


@pytest.fixture
def requests(tmp_path, monkeypatch):
    monkeypatch.setattr(signals, "_POLL_INTERVAL_S", 0.0)
    return RunRequests(tmp_path)


def test_a_file_is_reported_once_and_removed_when_cleared(requests, tmp_path):
    assert requests.poll() == 0
    (tmp_path / "save").touch()
    assert requests.poll() == SAVE
    assert requests.poll() == 0
    assert requests.pending() == SAVE
    requests.clear()
    assert not (tmp_path / "save").exists()
    assert requests.pending() == 0


def test_stop_is_reported_while_save_is_pending(requests, tmp_path):
    (tmp_path / "save").touch()
    assert requests.poll() == SAVE
    (tmp_path / "stop").touch()
    assert requests.poll() == EXIT_TEMPFAIL
    requests.clear()
    assert list(tmp_path.iterdir()) == []


def test_stop_after_the_last_poll_is_not_lost(tmp_path):
    requests = RunRequests(tmp_path)
    (tmp_path / "save").touch()
    assert requests.poll() == SAVE
    (tmp_path / "stop").touch()  # within the same second, so not noticed yet
    requests.clear()
    assert (tmp_path / "stop").exists()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, EXIT_TEMPFAIL), (signal.SIGINT, EXIT_INTERRUPTED)]
)
def test_signals_become_requests(number, code):
    before = signal.getsignal(number)
    with listen_for_requests() as request:
        assert request.exit_code is None
        os.kill(os.getpid(), number)
        assert request.exit_code == code
    assert signal.getsignal(number) == before


def test_a_second_ctrl_c_stops_at_once():
    with pytest.raises(KeyboardInterrupt), listen_for_requests():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


PROGRAM = """
import ctypes, signal, sys, time
from latte_cli.runtime import signals
signals._END_AFTER_S = 0.3
signals.end_after_stop()
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: None)
def library_call():
    library, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(256)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)
print("ready", flush=True)
{}
"""


def run_and_stop(work: str, number: int) -> tuple[int, str, str]:
    """Stop a program that is doing some work; its exit code and what it printed."""
    command = [sys.executable, "-c", PROGRAM.format(work)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(number)
        said, errors = program.communicate(timeout=60)
    return program.returncode, said, errors


@pytest.mark.skipif(sys.platform != "linux", reason="hangs in Linux's C library")
@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGTERM, 75, "stopped"), (signal.SIGINT, 130, "interrupted")],
)
@pytest.mark.parametrize("work", ["library_call()", "while True: time.sleep(0.01)"])
def test_a_program_that_does_not_stop_by_itself_is_ended(work, number, code, word):
    ended, _, errors = run_and_stop(work, number)
    assert ended == code
    assert f"{word}; run the same command again to continue" in errors


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("context", ["hold_signals()", "listen_for_requests()"])
def test_saving_takes_its_time_and_the_program_ends_after_it(context):
    work = f"with signals.{context}:\n time.sleep(1.5)\n print('saved', flush=True)\nlibrary_call()"
    ended, said, _ = run_and_stop(work, signal.SIGTERM)
    assert ended == 75
    assert "saved" in said


def test_files_that_are_being_written_go_with_a_program_that_is_ended(tmp_path):
    work = (
        "from pathlib import Path\n"
        "from latte_cli.runtime.files import atomic_file, atomic_folder\n"
        f"with atomic_file(Path({str(tmp_path / 'a.txt')!r})) as part:\n"
        f" with atomic_folder(Path({str(tmp_path / 'b')!r})) as folder:\n"
        "  (folder / 'c').touch()\n"
        "  library_call()"
    )
    assert run_and_stop(work, signal.SIGTERM)[0] == 75
    assert list(tmp_path.iterdir()) == []


def test_a_stop_is_no_error_that_code_which_expects_errors_could_take_it_for():
    assert not issubclass(signals.Stopped, Exception)
