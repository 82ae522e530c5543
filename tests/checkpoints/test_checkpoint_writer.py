"""Writing in the background: copies used again, errors that surface, a disk that is full."""

import errno
import signal
import threading
import time

import pytest
import torch

from latte_cli.checkpoints import writer as checkpoint_writer
from latte_cli.checkpoints.writer import CheckpointWriter, HostCopies


@pytest.fixture
def warned(monkeypatch) -> list[str]:
    monkeypatch.setattr(checkpoint_writer, "RETRY_AFTER_S", (0.0, 0.0))
    return []


def full(times: int, done: list[str]):
    """A job that finds the disk full the given number of times."""

    def job() -> None:
        done.append("tried")
        if len(done) <= times:
            raise OSError(errno.ENOSPC, "No space left on device", "some/file")

    return job


def test_copies_do_not_change_and_their_memory_is_reused():
    weight, step = torch.ones(3, 2), torch.tensor(5.0)
    tree = {"model": {"w": weight}, "optimizer": {"state": {0: {"step": step}}, "groups": [1]}}
    copies = HostCopies()
    copies.allocate(tree)
    first = copies.copy(tree)
    assert first["optimizer"] == {"state": {0: {"step": torch.tensor(5.0)}}, "groups": [1]}
    place = first["model"]["w"].data_ptr()
    assert place != weight.data_ptr()
    weight += 1
    assert first["model"]["w"].tolist() == [[1, 1]] * 3
    again = copies.copy(tree)
    assert again["model"]["w"].tolist() == [[2, 2]] * 3
    assert again["model"]["w"].data_ptr() == place
    tree["model"]["w"] = torch.zeros(4)
    assert copies.copy(tree)["model"]["w"].tolist() == [0, 0, 0, 0]


def test_a_job_runs_in_the_background_and_the_next_waits_for_it(warned):
    order, free = [], threading.Event()

    def slow() -> None:
        free.wait(10)
        order.append("first")

    with CheckpointWriter(warned.append) as writer:
        writer.submit(slow)
        writer.poll()
        order.append("meanwhile")
        free.set()
        writer.submit(lambda: order.append("second"))
    assert order == ["meanwhile", "first", "second"]


@pytest.mark.parametrize("ask", ["poll", "wait", "submit", "leave"])
def test_an_error_surfaces_once(warned, ask):
    def fail() -> None:
        raise ValueError("no")

    def until_it_surfaces(writer: CheckpointWriter) -> None:
        while True:
            writer.poll()

    with pytest.raises(ValueError, match="no"), CheckpointWriter(warned.append) as writer:
        writer.submit(fail)
        if ask == "poll":
            until_it_surfaces(writer)
        elif ask == "wait":
            writer.wait()
        elif ask == "submit":
            writer.submit(lambda: None)
    writer.wait()
    assert not warned


def test_a_full_disk_is_tried_again(warned):
    done: list[str] = []
    with CheckpointWriter(warned.append) as writer:
        writer.submit(full(2, done))
    assert done == ["tried"] * 3
    assert len(warned) == 2
    assert "some/file: the disk is full; trying again in 0 s" in warned[0]


def test_a_disk_that_stays_full_is_an_error(warned):
    done: list[str] = []
    with pytest.raises(OSError, match="No space left"), CheckpointWriter(warned.append) as writer:
        writer.submit(full(99, done))
    assert done == ["tried"] * 3


def test_other_disk_errors_are_raised_at_once(warned):
    def broken() -> None:
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output"), CheckpointWriter(warned.append) as writer:
        writer.submit(broken)
    assert not warned


def test_a_stop_waits_for_the_running_job_but_ctrl_c_does_not(warned):
    done, free = [], threading.Event()

    def slow() -> None:
        free.wait(10)
        done.append("written")

    with pytest.raises(KeyboardInterrupt), CheckpointWriter(warned.append) as writer:
        writer.submit(slow)
        raise KeyboardInterrupt
    assert not done
    free.set()
    writer.wait()
    free.clear()
    threading.Timer(0.05, free.set).start()
    with pytest.raises(RuntimeError, match="other"), CheckpointWriter(warned.append) as writer:
        writer.submit(slow)
        raise RuntimeError("other")
    assert done == ["written"] * 2


def test_ctrl_c_ends_a_wait_also_where_the_system_gives_it_to_another_thread(warned, monkeypatch):
    """Such a signal wakes nobody: a wait without end would go on to the job's."""
    free, ended = threading.Event(), threading.Event()

    def handle(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def job() -> None:
        time.sleep(0.2)  # until it is waited for
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        free.wait(5)
        ended.set()

    before = signal.signal(signal.SIGINT, handle)
    try:
        with pytest.raises(KeyboardInterrupt), CheckpointWriter(warned.append) as writer:
            writer.submit(job)
            writer.wait()
        assert not ended.is_set()
    finally:
        signal.signal(signal.SIGINT, before)
        free.set()
