"""Stopping a long run in good order."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EXIT_AGAIN = 75
"""Stopped by a signal after saving: run the same command again to go on (sysexits: EX_TEMPFAIL)."""

EXIT_INTERRUPTED = 130
"""Interrupted by Ctrl-C, as shells report it."""


class Stopped(Exception):
    """A run that was asked to stop and has saved.

    Args:
        exit_code: `EXIT_AGAIN` or `EXIT_INTERRUPTED`.
        message: what was saved, and how to go on.
    """

    def __init__(self, exit_code: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@contextmanager
def stopping() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, so that what is half done is cleaned up."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise Stopped(EXIT_AGAIN, "stopped; the same command goes on where it stopped")

    previous = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


class StopRequest:
    """Whether a signal asked the run to stop, and with which exit code."""

    exit_code: int | None = None


@contextmanager
def listening() -> Iterator[StopRequest]:
    """Turn SIGTERM and Ctrl-C into a request to the loop; a second Ctrl-C stops at once."""
    request = StopRequest()

    def handle(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and request.exit_code is not None:
            raise KeyboardInterrupt
        request.exit_code = EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_AGAIN

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
