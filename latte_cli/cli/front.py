"""What holds for every command: how it speaks, and how errors become words and exit codes."""

import errno
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
import typer.core

from latte_cli.runtime.errors import LatteError, LatteWarning

if TYPE_CHECKING:
    from latte_cli.config import Config
    from latte_cli.runtime.console import Console

_NOT_SHOWN = ("paths",)
_WORDS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EROFS: "the disk is read-only",
}
_MAKE_ROOM = "make room, then run the same command again; what is whole was kept"
_CHOOSE = "choose a folder that you may write to"
_IN_THE_WAY = "a file stands where a folder is needed"
_HINTS = {
    errno.ENOSPC: _MAKE_ROOM,
    errno.EDQUOT: _MAKE_ROOM,
    errno.EACCES: _CHOOSE,
    errno.EPERM: _CHOOSE,
    errno.EROFS: _CHOOSE,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
}


# Options that several commands have.
Preset = Annotated[
    str | None,
    typer.Option("--preset", "-p", metavar="P", help="Preset name or YAML file (`latte presets`)."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("-o", metavar="KEY=VALUE", help="Set a value of the preset, e.g. train.lr=2e-4."),
]
Checkpoint = Annotated[
    str | None, typer.Option(help="Checkpoint folder, weights file or `embedded`.")
]
RunOfCheckpoint = Annotated[str | None, typer.Option(help="Run to take the checkpoint of.")]
DataRoot = Annotated[Path, typer.Option(envvar="LATTE_DATA", help="Where prepared data sets lie.")]
LatentsRoot = Annotated[Path, typer.Option(envvar="LATTE_LATENTS", help="Where latents lie.")]
RunsRoot = Annotated[Path, typer.Option(envvar="LATTE_RUNS", help="Where runs lie.")]


class Front(typer.core.TyperGroup):
    """The group of commands; options that hold for all of them may stand before or after one."""

    _ANYWHERE = frozenset({"--quiet", "-q", "--verbose", "-v", "--debug", "--json"})

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the options for all commands where the parser looks for them."""
        end = args.index("--") if "--" in args else len(args)
        common = [word for word in args[:end] if word in self._ANYWHERE]
        rest = [word for word in args[:end] if word not in self._ANYWHERE]
        return super().parse_args(ctx, [*common, *rest, *args[end:]])


@dataclass
class Common:
    """Options given before the command; `walking` while one command runs others as its steps."""

    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    as_json: bool = False
    walking: bool = False

    def console(self) -> "Console":
        """A console that speaks as asked."""
        from latte_cli.runtime.console import Console

        return Console(self.quiet, self.verbose, self.as_json)


common = Common()


_LESS_MEMORY = (
    "fewer clips at a time (--batch; in training train.batch_size or train.accumulate), a smaller "
    "--size, or train.checkpointing=blocks"
)
_NOT_COMPILED = "-o train.compile=none trains without; `latte --debug …` shows what is missing"


@contextmanager
def boundary() -> Iterator["Console"]:
    """The one place where errors become words and exit codes."""
    from latte_cli.runtime.distributed import is_main
    from latte_cli.runtime.signals import EXIT_INTERRUPTED, Stopped, stopping

    console = common.console()
    try:
        with stopping(), _warnings_in_words(console):
            yield console
    except Stopped as stop:
        if is_main():  # all of torchrun's processes are asked to stop, and one speaks for all
            console.say(str(stop))
        raise typer.Exit(stop.exit_code) from stop
    except KeyboardInterrupt:
        console.say("interrupted; the same command goes on where it stopped")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except (LatteError, OSError) as error:
        if common.debug:
            raise
        console.error(*_in_words(error))
        raise typer.Exit(1) from error
    except (RuntimeError, MemoryError) as error:
        if common.debug or not (words := _of_libraries(error)):
            raise
        console.error(*words)
        raise typer.Exit(1) from error


def _of_libraries(error: Exception) -> tuple[str, str] | None:
    """A message and a hint for an error that is the machine's, told by PyTorch; None for others."""
    if _is_out_of_memory(error):
        return "the memory is full", _LESS_MEMORY
    if "BackendCompilerFailed" in {kind.__name__ for kind in type(error).__mro__}:
        reason, _, _ = str(error).partition("\n")
        return f"the network could not be compiled: {reason}", _NOT_COMPILED
    return None


def _is_out_of_memory(error: Exception) -> bool:
    """PyTorch has an error of its own for devices; on the CPU it only says so."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return not kinds.isdisjoint({"OutOfMemoryError", "MemoryError"}) or (
        "not enough memory" in str(error) or "can't allocate memory" in str(error)
    )


@contextmanager
def _warnings_in_words(console: "Console") -> Iterator[None]:
    """Show this project's warnings as notes, each text once; all others stay Python's."""
    if common.walking:  # the walk's own boundary shows them
        yield
        return
    with warnings.catch_warnings():
        others = warnings.showwarning
        told: set[str] = set()

        def show(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if not issubclass(category, LatteWarning):
                others(message, category, filename, lineno, file, line)
            elif str(message) not in told:
                told.add(str(message))
                console.warn(str(message))

        warnings.simplefilter("always", LatteWarning)
        warnings.showwarning = show
        yield


def read_config(
    preset: str | None, overrides: list[str] | None, flags: Mapping[str, Any]
) -> "Config":
    """The configuration of a preset, changed by `-o` and by a command's own options.

    Raises:
        ConfigError: on an unknown preset, key or value.
    """
    from latte_cli.config import load_config

    return load_config(preset, overrides or [], flags)


def choose_checkpoint(
    console: "Console",
    preset: str | None,
    checkpoint: str | None,
    overrides: list[str] | None,
    flags: Mapping[str, Any],
    runs_root: Path,
    run: str | None,
) -> tuple["Config", Path]:
    """The checkpoint that the options of a command name, and the configuration to use it under.

    Raises:
        ConfigError: on an unknown preset, key or value.
        CheckpointError: if there is no checkpoint.
    """
    from latte_cli.checkpoints.choice import resolve
    from latte_cli.config.locations import Locations

    def run_folder(config: "Config") -> Path:
        return Locations(runs_root=runs_root).run(config, run)

    given = (preset, checkpoint, overrides or [], flags, run_folder, console)
    return resolve(*given, named_run=run is not None)


def finish(console: "Console", result: Any) -> object:
    """Print a command's result, unless the command is a step of another's walk; pass it on."""
    if not common.walking:
        console.result({k: v for k, v in asdict(result).items() if k not in _NOT_SHOWN})
    return result


def _in_words(error: LatteError | OSError) -> tuple[str, str]:
    """A message and a hint."""
    if isinstance(error, LatteError):
        return str(error), error.hint
    code = error.errno or 0
    where = f"{error.filename}: " if error.filename else ""
    reason = _WORDS.get(code) or error.strerror or str(error)
    return where + reason, _HINTS.get(code, "`latte --debug …` shows where it happened")
