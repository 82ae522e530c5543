"""The group of all commands: their order in the help, global options anywhere, wrong usage."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import typer
import typer.core

from latte_cli.cli.boundary import global_options, wait_for_main
from latte_cli.cli.options import OUTPUT
from latte_cli.cli.usage.wrong_usage import describe_wrong_usage
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.errors import ConfigError

_GLOBAL = frozenset({"--quiet", "-q", "--verbose", "-v", "--debug", "--json"})
_ORDER = (
    *("prepare", "encode-latents", "train", "demo", "sample", "t2v", "eval", "report"),
    *("similarity", "convert", "calibrate", "presets", "init", "doctor", "guide"),
)


class CommandGroup(typer.core.TyperGroup):
    """All commands; global options may stand before or after a command."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The main workflow first, then the tools."""
        return sorted(super().list_commands(ctx), key=_ORDER.index)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A command, whose --help stands last, like any flag."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _show_types_of_values_only(command.get_params(ctx))
            shown = command.get_help_option(ctx)
            if shown is not None:
                shown.rich_help_panel = OUTPUT
        return command

    def get_params(self, ctx: Any) -> Any:
        """The global options."""
        parameters = super().get_params(ctx)
        _show_types_of_values_only(parameters)
        return parameters

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move the global options in front of the command, where the parser expects them."""
        end = args.index("--") if "--" in args else len(args)
        before = [arg for arg in args[:end] if arg in _GLOBAL]
        rest = [arg for arg in args[:end] if arg not in _GLOBAL]
        global_options.words = (*rest, *args[end:])
        return super().parse_args(ctx, [*before, *rest, *args[end:]])

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command; wrong usage is told in the words of all other errors.

        Args:
            args: words of the command; None: those of this process.
            prog_name: see Typer, as the others.
            complete_var: of the shell's completion.
            standalone_mode: whether to end the process; otherwise its exit code is returned.
            windows_expand_args: whether patterns are expanded where the shell does not.
            **extra: for the context.
        """
        try:
            ended = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except typer.Abort:
            ended = 1
        except Exception as error:
            if not hasattr(error, "format_message"):  # not wrong usage
                raise
            ended = _show_wrong_usage(error)
        if standalone_mode:
            sys.exit(ended if isinstance(ended, int) else 0)
        return ended


def _show_types_of_values_only(parameters: Sequence[Any]) -> None:
    """Leave out the types of flags, which take no value, and of arguments, whose help says it."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
        elif parameter.param_type_name == "argument":
            parameter.display_type_rich = lambda ctx: ""


def _show_wrong_usage(error: Any) -> int:
    """Print what is wrong with a command line; return the exit code."""
    from latte_cli.runtime.console import Console

    if type(error).__name__ == "NoArgsIsHelpError":  # the help is printed
        return 2
    with suppress(ConfigError):  # wrong variables of a launcher
        if not is_main():  # the main process says the same
            wait_for_main()
    options = global_options
    Console(options.quiet, options.verbose, options.as_json).error(*describe_wrong_usage(error))
    return 2
