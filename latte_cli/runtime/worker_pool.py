"""Work in processes of its own, so that what hangs or dies takes nothing else with it.

The standard library's pools give up all of their work when one process dies, and cannot end one
that hangs. Here each process has a pipe of its own and one job at a time.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from latte_cli.runtime.errors import LatteError

Job = TypeVar("Job")
Answer = TypeVar("Answer")
Alive = Callable[[], None]
"""What a function calls as often as it likes to show that it goes on."""

_TICK_S = 0.5  # how often the silent are looked at
_SIGN_S = 0.2  # a sign of life is sent no more often
_START_S = 120.0  # imports from a slow network disk take their time
_END_S = 5.0  # even a killed process is only gone when the disk lets go of it

_ALIVE = ()
"""What a process sends while it works; an answer comes in a tuple of one."""


@dataclass(frozen=True)
class Hung:
    """A job whose process gave no sign of life for too long and was ended."""

    silent_s: float


@dataclass(frozen=True)
class Died:
    """A job whose process died of it; `how` names the signal or exit code."""

    how: str


def run_jobs(
    function: Callable[[Job, Alive], Answer],
    jobs: Iterable[Job],
    workers: int,
    timeout_s: float,
) -> Generator[tuple[Job, Answer | Hung | Died], None, None]:
    """Do many jobs in worker processes, yielding each with its answer as it is done.

    However this ends, no process is left behind; where this process itself is killed, the others
    notice and end.

    Args:
        function: does a job; importable, with arguments and answers that can be pickled.
        jobs: taken one by one as processes are free, so there may be any number of them.
        workers: processes; they are started when there is work for them.
        timeout_s: a process silent for so long is killed. Only time in which this one ran is
            counted: a computer that slept, or Ctrl-Z, is no fault of a job's.

    Raises:
        LatteError: if a process dies before it has even begun.
    """
    waiting = iter(jobs)
    team: list[_Worker[Job, Answer]] = []
    try:
        while True:
            for job in islice(waiting, workers - sum(worker.is_busy for worker in team)):
                _free(team, function).give(job)
            busy = [worker for worker in team if worker.is_busy]
            if not busy:
                return
            for worker in _with_news(busy, timeout_s):
                worker.is_busy = False
                if isinstance(worker.answer, Hung | Died):
                    _end([worker])
                    team.remove(worker)
                yield worker.job, worker.answer
    finally:
        _end(team)


def _free(
    team: "list[_Worker[Job, Answer]]", function: Callable[[Job, Alive], Answer]
) -> "_Worker[Job, Answer]":
    """A worker that has nothing to do; one more where there is none."""
    for worker in team:
        if not worker.is_busy:
            return worker
    worker = _Worker(function)
    team.append(worker)  # before it starts, so that none is lost to an interruption
    worker.start()
    return worker


def _with_news(
    busy: "list[_Worker[Job, Answer]]", timeout_s: float
) -> "list[_Worker[Job, Answer]]":
    """Listen for a moment; those that have answered, died or been silent for too long."""
    begun = time.monotonic()
    heard = set(wait([worker.pipe for worker in busy], _TICK_S))
    spent_s = min(time.monotonic() - begun, _TICK_S)
    return [worker for worker in busy if worker.listen(worker.pipe in heard, spent_s, timeout_s)]


def _end(team: "list[_Worker[Job, Answer]]") -> None:
    """Kill workers, whatever they are at; a second Ctrl-C waits until that is done."""
    with _signals_held():
        for worker in team:
            worker.kill()
        for worker in team:
            worker.bury()


class _Worker(Generic[Job, Answer]):
    """One process, the job it is at, and what it answered."""

    job: Job
    answer: Answer | Hung | Died

    def __init__(self, function: Callable[[Job, Alive], Answer]) -> None:
        context = multiprocessing.get_context("spawn")  # a fork copies threads half-way
        self.pipe, self._theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(function, self._theirs), daemon=True)
        self.is_busy = self._ready = False
        self._silent_s = 0.0

    def start(self) -> None:
        """Begin, with nothing to do yet."""
        if os.name == "posix":  # its own first start would let the signals through
            resource_tracker.ensure_running()
        with self._theirs, _signals_held():
            self._process.start()

    def give(self, job: Job) -> None:
        """Hand over a job; a process that died meanwhile is found out by listening."""
        self.job, self.is_busy, self._silent_s = job, True, 0.0
        with suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(job)

    def listen(self, has_spoken: bool, spent_s: float, timeout_s: float) -> bool:
        """Take in what it sent, or that it sent nothing; whether its job is over."""
        if not has_spoken:
            self._silent_s += spent_s
            if self._silent_s < (timeout_s if self._ready else max(timeout_s, _START_S)):
                return False
            if not self._ready:
                raise _no_start(f"silent for {self._silent_s:.0f} s")
            self.answer = Hung(timeout_s)
            return True
        self._silent_s = 0.0
        try:
            content = self.pipe.recv()
        except (EOFError, OSError) as error:
            self.answer = Died(self._end_in_words())
            if not self._ready:
                raise _no_start(self.answer.how) from error
            return True
        self._ready = True
        if content:
            self.answer = content[0]
        return bool(content)

    def kill(self) -> None:
        """Kill it, if it was started."""
        if self._process.pid is not None:
            self._process.kill()

    def bury(self) -> None:
        """Wait until it is gone."""
        if self._process.pid is not None:
            self._process.join(_END_S)
        self.pipe.close()

    def _end_in_words(self) -> str:
        self._process.join(_END_S)
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"exit code {code}"
        with suppress(ValueError):
            return signal.Signals(-code).name
        return f"signal {-code}"


def _no_start(why: str) -> LatteError:
    return LatteError(
        f"a worker process could not be started ({why})",
        hint="is there memory left? fewer --workers need less",
    )


def _work(function: Callable[[Job, Alive], Answer], pipe: "Connection[Any, Any]") -> None:
    """What a process does: jobs, until nobody gives any more."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    told = time.monotonic()

    def alive() -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= _SIGN_S:
            told = now
            pipe.send(_ALIVE)

    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send(_ALIVE)
        while True:
            pipe.send((function(pipe.recv(), alive),))


def _end_with_parent() -> None:
    """A process that hangs would outlive a run that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait; a process that is started meanwhile leaves them for its life.

    A terminal and a batch system send them to all processes of a run; the first one is to decide,
    and the end of the others must not look as if their jobs had killed them.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows, where there is no such mask
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
