"""What surrounds every command: global options, and errors as messages and exit codes."""

import errno
import os
import shlex
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer

from latte_cli.runtime.errors import (
    ConfigError,
    ExistsError,
    LatteError,
    LatteNote,
    LatteWarning,
)

if TYPE_CHECKING:
    from latte_cli.runtime.console import Console

_MAKE_ROOM = "make room, then run the same command again; finished files are kept"
_CHOOSE = "choose a folder that you may write to"
_IN_THE_WAY = "a file exists where a folder is needed"
_SYSTEM_ERRORS = {  # errno: message, or None for the system's own; hint
    errno.ENOSPC: ("the disk is full", _MAKE_ROOM),
    errno.EDQUOT: ("the disk quota is used up", _MAKE_ROOM),
    errno.EACCES: ("permission denied", _CHOOSE),
    errno.EPERM: (None, _CHOOSE),
    errno.EROFS: ("the disk is read-only", _CHOOSE),
    errno.ENOTDIR: (None, _IN_THE_WAY),
    errno.EEXIST: (None, _IN_THE_WAY),
}
_NOT_PRINTED = ("paths",)
_LEFT_OUT_IF_NONE = ("report", "push")  # of clips that are from no run; of what is not uploaded
_OUT = ("--out", "-o")
_LET_MAIN_FAIL_S = 10.0  # one process may reach the same error much later than another


@dataclass
class GlobalOptions:
    """Options of all commands, and whether a command runs inside another (`nested`).

    `raising`: it is called from Python, and its errors are left to the caller.
    `words` are those of the command, without these options.
    """

    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    as_json: bool = False
    nested: bool = False
    raising: bool = False
    words: tuple[str, ...] = ()


global_options = GlobalOptions()


@contextmanager
def error_boundary() -> Iterator["Console"]:
    """Run a command: the one place where errors become messages and exit codes.

    Yields:
        The console to print to, as the global options set it up.
    """
    from latte_cli.runtime.console import Console
    from latte_cli.runtime.distributed import check_launcher, is_main, rank, world_size
    from latte_cli.runtime.signals import (
        EXIT_INTERRUPTED,
        Stopped,
        stop_on_signals,
        stop_reported,
    )

    options = global_options
    console = Console(options.quiet, options.verbose, options.as_json)
    if options.raising:
        with _show_warnings(console):
            yield console
        return
    try:
        check_launcher()
    except ConfigError as error:  # so it is not known which process this is
        console.error(str(error), error.hint)
        raise typer.Exit(1) from error
    try:
        with stop_on_signals(), _show_warnings(console):
            yield console
    except Stopped as stop:
        stop_reported.set()
        if is_main():
            console.info(str(stop))
        raise typer.Exit(stop.exit_code) from stop
    except KeyboardInterrupt:
        stop_reported.set()
        if is_main():
            console.info("interrupted; run the same command again to continue")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except (LatteError, OSError, RuntimeError, MemoryError) as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            raise typer.Exit(1) from None
        if options.debug or (message := _message_and_hint(error)) is None:
            raise
        text, hint = message
        command = getattr(error, "command", "")
        if not is_main():
            wait_for_main()
            text = f"process {rank()} of {world_size()}: {text}"
        if isinstance(error, ExistsError) and (command := _command_beside(error)):
            hint = f"{error.replacing}this keeps both:"
        console.error(text, hint, command)
        raise typer.Exit(1) from error


def _reader_is_gone() -> bool:
    """Whether what reads the output has ended, as `head` does: that is no error to report."""
    try:
        print(flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return True
    return False


def wait_for_main() -> None:
    """Leave an error that all processes meet to the main one, in the others.

    torchrun ends all processes as soon as one has failed. So a process that waits only goes on to
    its own message if the main one does not fail, too.
    """
    with suppress(KeyboardInterrupt):
        time.sleep(_LET_MAIN_FAIL_S)


def print_result(console: "Console", result: Any) -> object:
    """Print a command's result, unless the command runs inside another; return it."""
    if not global_options.nested:
        values = {k: v for k, v in asdict(result).items() if k not in _NOT_PRINTED}
        for name in _LEFT_OUT_IF_NONE:
            if values.get(name, "") is None:
                del values[name]
        console.result(values)
    return result


def _command_beside(error: ExistsError) -> str:
    """The same command, with a free name for what it writes; empty where it is part of another."""
    from latte_cli.runtime.distributed import world_size

    words = list(global_options.words)
    if global_options.nested or world_size() > 1:
        return ""
    named = [
        (number, start)
        for number, word in enumerate(words)
        for start in ("--out=", "-o", "")
        if word.startswith(start) and Path(word.removeprefix(start)) == error.path
    ]
    # An option rather than an argument: it may also read what is there.
    number, start = min(
        named, key=lambda each: not each[1] and words[each[0] - 1] not in _OUT, default=(None, "")
    )
    if number is None:
        words += ["--out", str(error.free)]
    else:
        words[number] = f"{start}{error.free}"
    return f"latte {shlex.join(words)}"


def _message_and_hint(error: Exception) -> tuple[str, str] | None:
    """A message and a hint for an error that the user can fix; None for a bug."""
    if isinstance(error, LatteError):
        return str(error), error.hint
    if isinstance(error, OSError):
        message, hint = _SYSTEM_ERRORS.get(
            error.errno or 0, (None, "`latte --debug …` shows where it happened")
        )
        path = f"{error.filename}: " if error.filename else ""
        return path + (message or error.strerror or str(error)), hint
    # By name and text, not by type: torch is not imported here, and has no type for a full CPU.
    names = {kind.__name__ for kind in type(error).__mro__}
    full = ("not enough memory", "can't allocate memory")
    if names & {"OutOfMemoryError", "MemoryError"} or any(text in str(error) for text in full):
        return "out of memory", (
            "use a smaller --batch (in training train.batch_size, or a larger train.accumulate), "
            "a smaller --size, or train.checkpointing=blocks"
        )
    if "BackendCompilerFailed" in names:
        reason, _, _ = str(error).partition("\n")
        return f"the network could not be compiled: {reason}", (
            "-o train.compile=none trains without; `latte --debug …` shows what is missing"
        )
    return None


@contextmanager
def _show_warnings(console: "Console") -> Iterator[None]:
    """Print this project's warnings as notes, each text once; leave all others to Python."""
    from latte_cli.runtime.distributed import is_main

    if global_options.nested and not global_options.raising:  # the outer command shows them
        yield
        return
    with warnings.catch_warnings():
        show_other = warnings.showwarning
        shown: set[str] = set()

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if not issubclass(category, LatteWarning):
                show_other(message, category, filename, lineno, file, line)
            elif str(message) not in shown and is_main():
                shown.add(str(message))
                (console.info if issubclass(category, LatteNote) else console.warning)(str(message))

        warnings.simplefilter("always", LatteWarning)
        warnings.showwarning = show
        yield
