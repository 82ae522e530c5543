"""The part of the Ray engine that runs on the nodes of a cluster.

Work runs in a thread of its own, from the first item to the last, while the process answers calls:
so a network is loaded once, and progress is seen while an item is in work.
"""

import os
import pickle
import queue
import socket
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import latte_cli
from latte_cli.runtime.cpus import grant_cpus, set_thread_defaults
from latte_cli.runtime.errors import EngineError, LatteNote, LatteWarning
from latte_cli.runtime.signals import Interrupted

REPORT_S = 0.2  # at most this long until answers and progress are sent
_STOP_S = 10.0  # for saving what is done


@dataclass(frozen=True)
class Setup:
    """What the process of a command hands on to its workers.

    Attributes:
        work: pickled, since it may need a package that a node lacks.
        folder: in which relative paths start.
        paths: that must be there.
        cpus: that Ray has set aside for the worker.
        environment: variables of this package.
        version: of this package.
    """

    work: bytes
    folder: Path
    paths: Sequence[Path]
    cpus: int
    environment: Mapping[str, str]
    version: str = latte_cli.__version__


@dataclass(frozen=True)
class Reply:
    """What has happened in a worker since its last reply.

    Attributes:
        answers: each with the number of its item.
        advanced: progress.
        warned: warnings of this package, and whether each is only a note.
        is_waiting: whether the work waits for another item.
        is_done: whether the work has ended.
        error: that ended it.
    """

    answers: Sequence[tuple[int, Any]] = ()
    advanced: int = 0
    warned: Sequence[tuple[str, bool]] = ()
    is_waiting: bool = False
    is_done: bool = False
    error: BaseException | None = None


@dataclass
class _State:
    """What the work's thread and the calls share, under one lock."""

    answers: list[tuple[int, Any]] = field(default_factory=list)
    advanced: int = 0
    warned: list[tuple[str, bool]] = field(default_factory=list)
    is_waiting: bool = False
    is_done: bool = False
    error: BaseException | None = None


class RayWorker:
    """Does work on a node; made by Ray, as an actor.

    Args:
        setup: what the command hands on.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._queue: queue.SimpleQueue[tuple[int, Any] | None] = queue.SimpleQueue()
        # By the id of an item, which is kept alive; equal items may be the same object.
        self._given: dict[int, list[tuple[int, Any]]] = {}
        self._lock, self._changed = threading.Lock(), threading.Event()
        self._state, self._is_stopping = _State(), False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def exchange(self, given: Sequence[tuple[int, Any]], *, is_last: bool) -> Reply:
        """Take items, and return what has happened, at once if more items are needed.

        Args:
            given: items with their numbers.
            is_last: whether no more will follow.
        """
        if given or is_last:
            with self._lock:
                self._state.is_waiting = False
            self._changed.clear()
            for each in given:
                self._queue.put(each)
        if is_last:
            self._queue.put(None)
        self._changed.wait(REPORT_S)
        with self._lock:
            state, self._state = self._state, _State()
            self._state.is_waiting, self._state.is_done = state.is_waiting, state.is_done
            if not state.is_done:
                self._changed.clear()
        return Reply(**vars(state))

    def stop(self) -> None:
        """Abandon the items in work; what they have done is saved where the work does that."""
        self._is_stopping = True
        self._queue.put(None)
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        """Do the work."""
        error: BaseException | None = None
        try:
            self._prepare()
            work = _load(self._setup.work)
            for item, answer in work(self._items(), self._advance):
                with self._lock:
                    self._state.answers.append((self._number(item), answer))
        except Interrupted:
            pass
        except BaseException as raised:  # raised again where the command runs
            error = _portable(raised)
        with self._lock:
            self._state.is_done, self._state.error = True, error
        self._changed.set()

    def _prepare(self) -> None:
        """Make this process like the command's.

        Raises:
            EngineError: if that is not possible on this node.
        """
        setup, host = self._setup, socket.gethostname()
        os.environ.update(setup.environment)
        grant_cpus(setup.cpus)
        set_thread_defaults()
        if setup.version != latte_cli.__version__:
            raise EngineError(
                f"node {host} has latte-cli {latte_cli.__version__}, not {setup.version}",
                hint="install the same version on every node",
            )
        with suppress(OSError):
            os.chdir(setup.folder)
        for path in (setup.folder, *setup.paths):
            if not (setup.folder / path).exists():
                raise EngineError(
                    f"node {host} does not see {path}",
                    hint="every node must see the same folders, by the same paths",
                )
        warnings.simplefilter("always", LatteWarning)
        warnings.showwarning = self._warn

    def _items(self) -> Iterator[Any]:
        while True:
            if self._queue.empty():
                with self._lock:
                    self._state.is_waiting = True
                self._changed.set()
            entry = self._queue.get()
            if entry is None:
                return
            self._given.setdefault(id(entry[1]), []).append(entry)
            yield entry[1]

    def _number(self, item: Any) -> int:
        """The number of an item that is answered."""
        same = self._given[id(item)]
        number, _ = same.pop(0)
        if not same:
            del self._given[id(item)]
        return number

    def _advance(self, count: int = 1) -> None:
        if self._is_stopping:
            raise Interrupted
        with self._lock:
            self._state.advanced += count

    def _warn(
        self, message: Warning | str, category: type[Warning], *place: object, **more: object
    ) -> None:
        if issubclass(category, LatteWarning):
            with self._lock:
                self._state.warned.append((str(message), issubclass(category, LatteNote)))


def _load(pickled: bytes) -> Any:
    """Unpickle the work.

    Raises:
        EngineError: if this node lacks a package for it.
    """
    try:
        return pickle.loads(pickled)  # from the command's own process
    except ImportError as error:
        raise EngineError(
            f"node {socket.gethostname()} cannot load the work: {error}",
            hint="install the same packages on every node",
        ) from error


def _portable(error: BaseException) -> BaseException:
    """An error that can be sent to another process; as text if it cannot."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
