"""Stopping a long run cleanly: by signals, and by files in its folder.

Python runs signal handlers between two of its own operations. A signal that arrives inside a long
call of a library is only handled after it, and cleaning up may wait for a thread that is in one.
`end_after_stop` bounds both: it ends the process, unless that is saving what it has done
(`hold_signals`, `listen_for_requests`).
"""

import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

EXIT_TEMPFAIL = 75
"""Stopped by a signal after saving; the same command resumes (EX_TEMPFAIL of sysexits)."""

EXIT_INTERRUPTED = 130
"""Interrupted by Ctrl-C, as shells report it."""

SAVE = 1
"""The request of a file `save`: write a checkpoint, and continue."""

_FILES = ("stop", "save")  # `stop` takes precedence
# Slurm sends SIGUSR1 ahead of a time limit. Windows has no such signal, but one of Ctrl-Break.
_STOP_SIGNALS = tuple(
    signal.Signals[name]
    for name in ("SIGTERM", "SIGUSR1", "SIGBREAK")
    if name in signal.Signals.__members__ and hasattr(signal, name)
)
_POLL_INTERVAL_S = 1.0

_END_AFTER_S = 1.3
_TICK_S = 0.1
_AGAIN = "run the same command again to continue"
_SHOW_CURSOR = "\x1b[?25h"  # a progress bar hides it


class Stopped(BaseException):
    """A run that stopped on request, after saving; no error, as `KeyboardInterrupt` is none.

    Args:
        exit_code: `EXIT_TEMPFAIL` or `EXIT_INTERRUPTED`.
        message: what was saved, and how to resume.
    """

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Interrupted(BaseException):
    """Work inside `RunRequests.interruptible` was abandoned, since a stop is requested."""


class _Saving:
    """Whether this process is saving what it has done, which a stop waits for."""

    def __init__(self) -> None:
        self.depth = 0  # of `with` blocks; only the main thread changes it

    def __enter__(self) -> None:
        self.depth += 1

    def __exit__(self, *error: object) -> None:
        self.depth -= 1


_saving = _Saving()

unfinished: set[Path] = set()
"""Files and folders that are being written, which nobody else removes if the process is ended."""


stop_reported = threading.Event()
"""Set once the user was told that the command stops, and how to go on."""


def end_after_stop() -> None:
    """From now on, end this process soon after a stop signal, whatever it is doing but saving.

    It is given a moment to stop by itself. For the entry point of a program: it cannot be undone.
    """
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    threading.Thread(target=_end_when_signaled, args=[reading, writing], daemon=True).start()
    signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)


def exit_at_once_after_stop(code: object) -> None:
    """After a stop, skip what Python does at its end, such as waiting for threads."""
    if not stop_reported.is_set() or not isinstance(code, int):
        return
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # a closed pipe
            stream.flush()
    os._exit(code)


def _end_when_signaled(reading: socket.socket, writing: socket.socket) -> None:
    """Wait for a stop signal, then end the process once it has had its time.

    Args:
        reading: receives the number of each signal as it arrives.
        writing: its other end, kept open here.
    """
    if hasattr(signal, "pthread_sigmask"):  # else this thread would take those that others block
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while (number := reading.recv(1)[0]) not in (signal.SIGINT, *_STOP_SIGNALS):
        pass
    left_s, last = _END_AFTER_S, time.monotonic()
    while left_s > 0:
        time.sleep(_TICK_S)
        passed_s, last = time.monotonic() - last, time.monotonic()
        left_s -= 0 if _saving.depth else passed_s
    is_interrupt = number == signal.SIGINT
    if not stop_reported.is_set() and os.environ.get("RANK", "0") in ("", "0"):
        cursor = _SHOW_CURSOR if sys.stderr.isatty() else ""
        word = "interrupted" if is_interrupt else "stopped"
        os.write(2, f"{cursor}\n{word}; {_AGAIN}\n".encode())
    for path in list(unfinished):
        shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):
            path.unlink()
    os._exit(EXIT_INTERRUPTED if is_interrupt else EXIT_TEMPFAIL)


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGUSR1 end a command as Ctrl-C does, with unfinished files removed."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise Stopped(EXIT_TEMPFAIL, f"stopped; {_AGAIN}")

    with _handled(_STOP_SIGNALS, handle):
        yield


class RunRequests:
    """What a long run is asked to do: by a signal, or by a file `save` or `stop` in its folder.

    Args:
        folder: checked about once a second; None for signals alone.

    Attributes:
        exit_code: the exit code that a signal asks for; None without a signal.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.exit_code: int | None = None
        self._folder = folder
        self._next_poll = self._next_check = 0.0
        self._is_interruptible = False
        self._reported = 0  # by a file; until it is cleared, only `stop` is added

    def poll(self) -> int:
        """Return each request once: 0 for none, `SAVE`, or an exit code to save and stop with."""
        if self.exit_code is not None:
            return self.exit_code
        if self._folder is None or self._reported > SAVE or time.monotonic() < self._next_poll:
            return 0
        self._next_poll = self._next_check = time.monotonic() + _POLL_INTERVAL_S
        stop, save = ((self._folder / name).exists() for name in _FILES)
        found = EXIT_TEMPFAIL if stop else SAVE if save else 0
        if found <= self._reported:
            return 0
        self._reported = found
        return found

    def is_stopping(self) -> bool:
        """Whether a stop is requested, which `poll` reports later; files are checked as there."""
        if self.exit_code is not None or self._reported > SAVE:
            return True
        if self._folder is None or time.monotonic() < self._next_check:
            return False
        self._next_check = time.monotonic() + _POLL_INTERVAL_S
        if found := (self._folder / _FILES[0]).exists():
            self._next_poll = 0.0  # `poll` reports it at once
        return found

    @contextmanager
    def interruptible(self) -> Iterator[Callable[[], None]]:
        """Let a signal end work that may be abandoned at any point.

        Yields:
            What the work calls now and then, so that a file can end it, too.

        Raises:
            Interrupted: out of the `with`, at the signal or such a call.
        """

        def check() -> None:
            if self.is_stopping():
                raise Interrupted

        self._is_interruptible = True
        try:
            if self.exit_code is not None:
                raise Interrupted
            yield check
        finally:
            self._is_interruptible = False

    def receive(self, number: int) -> None:
        """Take note of a signal.

        Raises:
            Interrupted: inside `interruptible`.
            KeyboardInterrupt: on a second Ctrl-C.
        """
        code = EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_TEMPFAIL
        if code == self.exit_code == EXIT_INTERRUPTED:
            raise KeyboardInterrupt
        self.exit_code = max(code, self.exit_code or 0)
        if self._is_interruptible:
            self._is_interruptible = False  # once: what follows is cleaning up
            raise Interrupted

    def pending(self) -> int:
        """Like `poll`, but also return a request that was reported and is not cleared yet."""
        return self.poll() or self._reported

    def clear(self) -> None:
        """Remove the files, now that the request is fulfilled."""
        if self._folder is not None:
            for name in _FILES if self._reported > SAVE else _FILES[1:]:
                (self._folder / name).unlink(missing_ok=True)
        self._reported = 0


@contextmanager
def listen_for_requests(folder: Path | None = None) -> Iterator[RunRequests]:
    """Turn SIGTERM, SIGUSR1 and Ctrl-C into requests; a second Ctrl-C stops at once.

    Args:
        folder: checked for files `save` and `stop`; None for signals alone.
    """
    requests = RunRequests(folder)

    handled = _handled((signal.SIGINT, *_STOP_SIGNALS), lambda number, _: requests.receive(number))
    with _saving, handled:
        yield requests


@contextmanager
def hold_signals() -> Iterator[None]:
    """Let signals wait for a short piece of work, such as a save, which the first one caused.

    A terminal sends Ctrl-C to every process, and torchrun sends them SIGTERM on top of it. What
    has arrived takes effect at the end of the `with`. Threads but the main one receive none.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    with _saving, _handled((signal.SIGINT, *_STOP_SIGNALS), lambda number, _: held.append(number)):
        yield
    if held:
        signal.raise_signal(held[0])


@contextmanager
def _handled(
    numbers: tuple[signal.Signals, ...], handle: Callable[[int, FrameType | None], None]
) -> Iterator[None]:
    previous: dict[signal.Signals, Any] = {}
    try:
        for number in numbers:  # a signal that has just arrived raises here
            previous[number] = signal.signal(number, handle)
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
