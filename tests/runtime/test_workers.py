"""Jobs in processes that may hang or die, and in threads ahead of time."""

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from latte_cli.runtime import workers as workers_module
from latte_cli.runtime.errors import LatteError
from latte_cli.runtime.workers import Died, Hung, prefetch, run_jobs

PATIENCE_S = 60.0
UNIX = pytest.mark.skipif(sys.platform == "win32", reason="signals and /proc are Unix's")

SCRIPT = """
import signal
import sys
from test_workers import note_and_sleep
from latte_cli.runtime.workers import run_jobs

if __name__ == "__main__":
    # Shells let what they start in the background ignore it, which children inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        list(run_jobs(note_and_sleep, [sys.argv[1] + str(n) for n in range(2)], 2, 600))
    except KeyboardInterrupt:
        sys.exit(130)
"""


def act(job, alive):
    """A job of each kind; its answer is the pid of its worker."""
    match job:
        case "hangs":
            time.sleep(600)
        case "exits":
            os._exit(7)
        case "crashes":
            ctypes.string_at(0)
        case "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raises":
            raise ValueError("as no job should")
        case "is slow":
            for _ in range(8):
                time.sleep(0.25)
                alive()
    return os.getpid()


def note_and_sleep(path, alive):
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)


def lives(pid):
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_for(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_every_job_is_answered_once_by_at_most_so_many_workers():
    answers = list(run_jobs(act, range(20), workers=2, timeout_s=60))
    assert sorted(job for job, _ in answers) == list(range(20))
    assert len({pid for _, pid in answers}) <= 2
    assert os.getpid() not in {pid for _, pid in answers}


def test_no_process_starts_without_a_job():
    assert list(run_jobs(act, [], workers=2, timeout_s=60)) == []
    assert len(list(run_jobs(act, ["one"], workers=8, timeout_s=60))) == 1


def test_jobs_are_taken_when_a_worker_is_free():
    taken = []

    def jobs():
        for number in range(10):
            taken.append(number)
            yield number

    answers = run_jobs(act, jobs(), workers=2, timeout_s=60)
    next(answers)
    assert len(taken) <= 3
    answers.close()


@UNIX
def test_a_job_that_hangs_or_dies_costs_only_itself():
    bad = ["hangs", "exits", "crashes", "is killed", "raises"]
    jobs = [job for name in bad for job in (name, f"beside what {name}")]
    answers = dict(run_jobs(act, jobs, workers=2, timeout_s=2))
    assert answers.keys() == set(jobs)
    assert answers["hangs"] == Hung(2)
    assert answers["exits"] == Died("exit code 7")
    assert answers["crashes"] == Died("SIGSEGV")
    assert answers["is killed"] == Died("SIGKILL")
    assert answers["raises"] == Died("exit code 1")
    assert all(isinstance(answers[f"beside what {name}"], int) for name in bad)
    assert not multiprocessing.active_children()


def test_a_slow_job_that_reports_progress_is_not_killed():
    ((_, answer),) = run_jobs(act, ["is slow"], workers=1, timeout_s=1.5)
    assert isinstance(answer, int), "it took 2 s, never silent for longer than a quarter"


@UNIX
def test_time_in_which_this_process_is_stopped_does_not_count():
    """As after Ctrl-Z, or when a laptop slept."""
    answers = run_jobs(act, ["one", "is slow"], workers=2, timeout_s=1.5)
    next(answers)
    time.sleep(2)
    ((_, answer),) = answers
    assert isinstance(answer, int)


def test_closing_the_generator_ends_the_workers():
    answers = run_jobs(act, ["one", "hangs"], workers=2, timeout_s=600)
    assert isinstance(next(answers)[1], int)
    assert len(multiprocessing.active_children()) == 2
    answers.close()
    assert not multiprocessing.active_children()


def ends_at_once(function, pipe):
    os._exit(3)


def test_a_worker_that_cannot_start_raises_an_error(monkeypatch):
    monkeypatch.setattr(workers_module, "_work", ends_at_once)
    with pytest.raises(LatteError, match=r"could not be started \(exit code 3\)") as caught:
        list(run_jobs(act, ["one"], workers=1, timeout_s=60))
    assert "--workers" in caught.value.hint
    assert not multiprocessing.active_children()


@pytest.fixture
def run(tmp_path):
    """A run with two workers that hang, in its own session, and their pids."""
    (tmp_path / "script.py").write_text(SCRIPT)
    words = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "job-")]
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    env = {**os.environ, "PYTHONPATH": paths}
    run = subprocess.Popen(words, env=env, stderr=subprocess.PIPE, start_new_session=True)
    notes = [tmp_path / "job-0", tmp_path / "job-1"]
    wait_for(lambda: all(note.exists() and note.read_text() for note in notes))
    pids = [int(note.read_text()) for note in notes]
    assert all(map(lives, pids))
    yield run, pids
    run.kill()
    run.stderr.close()


@UNIX
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_no_worker_survives_a_stopped_or_killed_run(run, number, status):
    process, pids = run
    process.send_signal(number)
    assert process.wait(PATIENCE_S) == status
    wait_for(lambda: not any(map(lives, pids)))


@UNIX
def test_workers_ignore_ctrl_c(run):
    """A terminal sends it to them, too; a worker that exits would seem to have crashed."""
    process, pids = run
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, said) == (130, b"")
    assert not any(map(lives, pids))


@pytest.mark.parametrize("count", [1, 3])
def test_prefetched_results_come_in_order(count):
    assert list(prefetch(lambda n: n * n, range(6), count)) == [(n, n * n) for n in range(6)]
    assert list(prefetch(str, [], count)) == []


def test_prefetch_works_ahead():
    begun = [threading.Event() for _ in range(4)]
    results = prefetch(lambda n: begun[n].set(), range(4), count=2)
    next(results)
    assert begun[2].wait(timeout=10)
    assert not begun[3].is_set()


def test_prefetch_raises_errors_with_the_result():
    def fails(n):
        if n == 2:
            raise ValueError("two")
        return n

    done = []
    with pytest.raises(ValueError, match="two"):
        for n, _ in prefetch(fails, range(9)):
            done.append(n)
    assert done == [0, 1]
