"""Stopping a long run in good order: by signals, and by files in its folder."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

EXIT_TEMPFAIL = 75
"""Stopped by a signal after saving: run the same command again to go on (sysexits: EX_TEMPFAIL)."""

EXIT_INTERRUPTED = 130
"""Interrupted by Ctrl-C, as shells report it."""

SAVE = 1
"""What a file `save` asks for: a checkpoint, and to go on."""

_FILES = ("stop", "save")  # the first is obeyed before the second
_AGAIN = (signal.SIGTERM, signal.SIGUSR1)  # SIGUSR1 is what Slurm sends ahead of a time limit
_LOOK_EVERY_S = 1.0


class Stopped(Exception):
    """A run that was asked to stop and has saved.

    Args:
        exit_code: `EXIT_TEMPFAIL` or `EXIT_INTERRUPTED`.
        message: what was saved, and how to go on.
    """

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGUSR1 end a command as Ctrl-C does: what is half done is cleaned up."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise Stopped(EXIT_TEMPFAIL, "stopped; the same command goes on where it stopped")

    previous = {number: signal.signal(number, handle) for number in _AGAIN}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class RunRequests:
    """What a long run was asked to do: by a signal, or by a file `save` or `stop` in its folder.

    Args:
        folder: looked into about once a second; None for signals alone.

    Attributes:
        exit_code: what a signal asked to exit with; None for no signal.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.exit_code: int | None = None
        self._folder = folder
        self._look_at = 0.0
        self._handed_on = 0  # what the files ask for; until it was done only `stop` is looked for

    def asked(self) -> int:
        """0 for nothing, `SAVE`, or an exit code to save and stop with."""
        if self.exit_code is not None:
            return self.exit_code
        if self._folder is None or self._handed_on > SAVE or time.monotonic() < self._look_at:
            return 0
        self._look_at = time.monotonic() + _LOOK_EVERY_S
        stop, save = ((self._folder / name).exists() for name in _FILES)
        found = EXIT_TEMPFAIL if stop else SAVE if save else 0
        if found <= self._handed_on:
            return 0
        self._handed_on = found
        return found

    def pending(self) -> int:
        """The same, and also what was handed on but is not done yet."""
        return self.asked() or self._handed_on

    def done(self) -> None:
        """Remove the files, now that they were obeyed."""
        if self._folder is not None:
            for name in _FILES if self._handed_on > SAVE else _FILES[1:]:
                (self._folder / name).unlink(missing_ok=True)
        self._handed_on = 0


@contextmanager
def listen_for_requests(folder: Path | None = None) -> Iterator[RunRequests]:
    """Turn SIGTERM, SIGUSR1 and Ctrl-C into a request to the loop; a second Ctrl-C stops at once.

    Args:
        folder: where files `save` and `stop` are looked for; None for nowhere.
    """
    request = RunRequests(folder)

    def handle(number: int, frame: FrameType | None) -> None:
        code = EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_TEMPFAIL
        if code == request.exit_code == EXIT_INTERRUPTED:
            raise KeyboardInterrupt
        request.exit_code = max(code, request.exit_code or 0)

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, *_AGAIN)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
