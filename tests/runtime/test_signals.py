"""Requests to a long run, by signals and by files in its folder."""

import os
import signal

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
