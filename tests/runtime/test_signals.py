"""What a long run is asked to do by files in its folder."""

import pytest

from latte_cli.runtime import signals
from latte_cli.runtime.signals import EXIT_TEMPFAIL, SAVE, RunRequests


@pytest.fixture
def request_in(tmp_path, monkeypatch):
    monkeypatch.setattr(signals, "_LOOK_EVERY_S", 0.0)
    return RunRequests(tmp_path)


def test_a_file_is_handed_on_once_and_removed_when_done(request_in, tmp_path):
    assert request_in.poll() == 0
    (tmp_path / "save").touch()
    assert request_in.poll() == SAVE
    assert request_in.poll() == 0
    assert request_in.pending() == SAVE
    request_in.clear()
    assert not (tmp_path / "save").exists()
    assert request_in.pending() == 0


def test_stop_is_heard_while_save_is_not_done_yet(request_in, tmp_path):
    (tmp_path / "save").touch()
    assert request_in.poll() == SAVE
    (tmp_path / "stop").touch()
    assert request_in.poll() == EXIT_TEMPFAIL
    request_in.clear()
    assert list(tmp_path.iterdir()) == []


def test_stop_that_came_after_the_last_look_is_not_lost(tmp_path):
    request = RunRequests(tmp_path)
    (tmp_path / "save").touch()
    assert request.poll() == SAVE
    (tmp_path / "stop").touch()  # within the same second, so not seen yet
    request.clear()
    assert (tmp_path / "stop").exists()
