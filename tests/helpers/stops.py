"""Commands that are stopped amid their work, each in a process of its own.

The processes fork from a server that has imported the package once.
"""

import ctypes
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

_COMMANDS = (
    *("calibrate", "convert", "curve", "demo", "encode_latents", "evaluate", "prepare", "sample"),
    *("self_test", "similarity", "sweep", "t2v", "train", "train_plan"),
)
_START_S = 120.0

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([f"latte_cli.commands.{name}" for name in _COMMANDS])


def hang(*_: object) -> None:
    """Never return from a call of the C library: no signal handler of Python runs meanwhile."""
    library, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(256)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)  # locked already; signals do not end the wait


def wait(*_: object) -> None:
    """Take long in Python, as work of many small parts does."""
    until = time.monotonic() + 600
    while time.monotonic() < until:
        time.sleep(0.02)


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, seconds after the signal, and what it printed."""

    code: int | None
    seconds: float
    said: str


class Started:
    """A command in a process of its own.

    Args:
        folder: to run it in.
        words: of the command line.
        at: `module:name` of a function, which may be a method; the command stays in it for good.
        stay: how: `hang` or `wait`.
    """

    def __init__(
        self,
        folder: Path,
        words: list[object],
        at: str | None = None,
        stay: Callable[..., None] = hang,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        line = [str(word) for word in words]
        self._process: BaseProcess = _CONTEXT.Process(target=_run, args=(folder, line, at, stay))
        self._process.start()

    def stop(self, number: int) -> Ended:
        """Send a signal once the command is at its place, and wait for its end."""
        until = time.monotonic() + _START_S
        while not _marker(self._folder).exists():
            said = _output(self._folder)
            assert self._process.is_alive(), f"it ended before it came to the place: {said}"
            assert time.monotonic() < until, f"it never came to the place: {said}"
            time.sleep(0.01)
        assert self._process.pid is not None
        time.sleep(0.1)
        started = time.monotonic()
        os.kill(self._process.pid, number)
        return self.end(started)

    def end(self, started: float | None = None) -> Ended:
        """Wait for its end."""
        started = time.monotonic() if started is None else started
        self._process.join(_START_S)
        seconds = time.monotonic() - started
        if self._process.is_alive():
            self._process.kill()
        _marker(self._folder).unlink(missing_ok=True)
        return Ended(self._process.exitcode, seconds, _output(self._folder))


def _marker(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.is-there")


def _output(folder: Path) -> str:
    path = folder.with_name(f"{folder.name}.txt")
    return path.read_text(errors="replace") if path.exists() else ""


def _run(folder: Path, words: list[str], at: str | None, stay: Callable[..., None]) -> None:
    """The process's work."""
    os.chdir(folder)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == 2 else signal.SIG_DFL)
    if at is not None:
        _stay_in(at, _marker(folder), stay)
    from latte_cli.cli import main

    sys.argv = ["latte", *words]
    output = folder.with_name(f"{folder.name}.txt").open("w")
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    with redirect_stdout(output), redirect_stderr(output):
        main()


def _stay_in(at: str, marker: Path, stay: Callable[..., None]) -> None:
    """Let a function mark that it is reached, and stay in it."""
    module, _, names = at.partition(":")
    *owners, name = names.split(".")
    owner: Any = import_module(module)
    for part in owners:
        owner = getattr(owner, part)

    def stays(*args: object, **kwargs: object) -> None:
        marker.touch()
        stay()

    setattr(owner, name, stays)
