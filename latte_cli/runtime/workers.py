"""Work done in the background: in threads ahead of time, or in processes that may hang or die.

The process pools of the standard library and of pebble share pipes among their workers, so a worker
that is killed while it answers takes the others' jobs with it, and their timeouts cannot tell a
silent worker from a slow one that reports progress; here each process has its own pipe and one job.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import Any, Generic, TypeVar

from latte_cli.runtime.cpus import one_thread_for_children
from latte_cli.runtime.errors import LatteError
from latte_cli.runtime.signals import hold_signals

Item = TypeVar("Item")
Result = TypeVar("Result")
Job = TypeVar("Job")
Answer = TypeVar("Answer")
Alive = Callable[[], None]
"""A job's function calls this, as often as it likes, to report that it makes progress."""

_TICK_S = 0.5  # between two checks for silent workers
_HEARTBEAT_S = 0.2  # at most one heartbeat is sent in this time
_START_S = 120.0  # imports from a slow network disk take a while
_EXIT_S = 5.0  # even a killed process only exits once the disk lets go of it

_HEARTBEAT = ()
"""What a worker sends while it works; an answer comes in a tuple of one."""


def prefetch(
    function: Callable[[Item], Result], items: Iterable[Item], count: int = 1
) -> Iterator[tuple[Item, Result]]:
    """Apply a function to items in background threads, up to `count` of them ahead of use.

    Yields:
        Each item with its result, in order. An error of the function is raised here.
    """
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(max_workers=count)
    try:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) > count:
                done, future = waiting.popleft()
                yield done, future.result()
        for done, future in waiting:
            yield done, future.result()
    finally:
        # Without waiting: whoever stops early must not wait for the items that are in work.
        pool.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True)
class Hung:
    """The answer to a job whose worker reported nothing for too long and was killed."""

    silent_s: float


@dataclass(frozen=True)
class Died:
    """The answer to a job whose worker died; `how` names the signal or exit code."""

    how: str


def run_jobs(
    function: Callable[[Job, Alive], Answer],
    jobs: Iterable[Job],
    workers: int,
    timeout_s: float,
) -> Generator[tuple[Job, Answer | Hung | Died], None, None]:
    """Run jobs in worker processes; yield each with its answer as soon as it is done.

    However this ends, no process is left behind: workers notice and exit when this process is
    killed.

    Args:
        function: runs a job; it must be importable, its arguments and answers picklable.
        jobs: taken when a worker is free, so there may be any number of them.
        workers: the most processes; each is started when there is a job for it.
        timeout_s: a worker that reports nothing for this long is killed. Only time in which this
            process runs is counted, not that of a sleeping computer or after Ctrl-Z.

    Raises:
        LatteError: if a worker dies before it is ready.
    """
    waiting = iter(jobs)
    pool: list[_Worker[Job, Answer]] = []
    try:
        while True:
            for job in islice(waiting, workers - sum(worker.is_busy for worker in pool)):
                free = next((worker for worker in pool if not worker.is_busy), None)
                if free is None:
                    free = _Worker(function)
                    pool.append(free)  # before it starts, so that an interruption still ends it
                    free.start()
                free.assign(job)
            busy = [worker for worker in pool if worker.is_busy]
            if not busy:
                return
            started = time.monotonic()
            ready = set(wait([worker.pipe for worker in busy], _TICK_S))
            spent_s = min(time.monotonic() - started, _TICK_S)
            finished = [w for w in busy if w.receive(w.pipe in ready, spent_s, timeout_s)]
            for worker in finished:
                worker.is_busy = False
                if isinstance(worker.answer, Hung | Died):
                    _kill([worker])
                    pool.remove(worker)
                yield worker.job, worker.answer
    finally:
        _kill(pool)


def _kill(workers: "list[_Worker[Job, Answer]]") -> None:
    """Kill workers, busy or not; a second Ctrl-C waits until that is done."""
    with _signals_blocked():
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.join()


class _Worker(Generic[Job, Answer]):
    """A worker process, its current job, and its answer."""

    job: Job
    answer: Answer | Hung | Died

    def __init__(self, function: Callable[[Job, Alive], Answer]) -> None:
        context = multiprocessing.get_context("spawn")  # a fork copies threads half-way
        self.pipe, self._worker_end = context.Pipe()
        self._process = context.Process(
            target=_work, args=(function, self._worker_end), daemon=True
        )
        named = function.func if isinstance(function, partial) else function
        self._needs_main = getattr(named, "__module__", None) == "__main__"
        self.is_busy = self._ready = False
        self._silent_s = 0.0

    def start(self) -> None:
        """Start the process, without a job yet."""
        if os.name == "posix":  # started later, it would unblock the signals
            resource_tracker.ensure_running()
        with (
            self._worker_end,
            one_thread_for_children(),
            _signals_blocked(),
            nullcontext() if self._needs_main else _main_script_hidden(),
        ):
            self._process.start()

    def assign(self, job: Job) -> None:
        """Send a job; `receive` notices if the process has died meanwhile."""
        self.job, self.is_busy, self._silent_s = job, True, 0.0
        with suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(job)

    def receive(self, is_ready: bool, spent_s: float, timeout_s: float) -> bool:
        """Read a message, or count the time without one; return whether the job is over."""
        if not is_ready:
            self._silent_s += spent_s
            if self._silent_s < (timeout_s if self._ready else max(timeout_s, _START_S)):
                return False
            if not self._ready:
                raise _start_error(f"silent for {self._silent_s:.0f} s")
            self.answer = Hung(timeout_s)
            return True
        self._silent_s = 0.0
        try:
            content = self.pipe.recv()
        except (EOFError, OSError) as error:
            self.answer = Died(self._exit_reason())
            if not self._ready:
                raise _start_error(self.answer.how) from error
            return True
        self._ready = True
        if content:
            self.answer = content[0]
        return bool(content)

    def kill(self) -> None:
        """Kill the process, if it was started."""
        if self._process.pid is not None:
            self._process.kill()

    def join(self) -> None:
        """Wait until the process has exited."""
        if self._process.pid is not None:
            self._process.join(_EXIT_S)
        self.pipe.close()

    def _exit_reason(self) -> str:
        self._process.join(_EXIT_S)
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"exit code {code}"
        with suppress(ValueError):
            return signal.Signals(-code).name
        return f"signal {-code}"


def _start_error(reason: str) -> LatteError:
    return LatteError(
        f"a worker process could not be started ({reason})",
        hint="use fewer --workers: memory may have run out",
    )


def _work(function: Callable[[Job, Alive], Answer], pipe: "Connection[Any, Any]") -> None:
    """Run jobs in a worker process, until the pipe is closed."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    if not hasattr(signal, "pthread_sigmask"):  # so that Ctrl-C is not blocked by the parent
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    last = time.monotonic()

    def alive() -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _HEARTBEAT_S:
            last = now
            pipe.send(_HEARTBEAT)

    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        pipe.send(_HEARTBEAT)
        while True:
            pipe.send((function(pipe.recv(), alive),))


def _exit_with_parent() -> None:
    """Exit when the parent is killed; a worker that hangs would outlive it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block SIGINT and SIGTERM; a process that is started meanwhile never receives them.

    Terminals and batch systems send them to every process of a run, but only the first one is to
    act on them: a worker that exits on its own would look as if its job had crashed it.
    """
    # Other threads may receive what is blocked here, and handlers always run in the main thread.
    is_main = threading.current_thread() is threading.main_thread()
    with hold_signals() if is_main else nullcontext():
        if not hasattr(signal, "pthread_sigmask"):  # Windows, where there is no such mask
            yield
            return
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _main_script_hidden() -> Iterator[None]:
    """Keep a process that starts from running the main script, where it does not need that.

    It would otherwise run it from the top, and with it a call from Python that is not guarded by
    `if __name__ == "__main__"`.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
