"""The `latte` application: its commands and global options, and the demo, which runs them."""

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from latte_cli import __version__
from latte_cli.cli import (
    checks,
    data,
    encoding,
    guide,
    reports,
    sampling,
    text_to_video,
    training,
)
from latte_cli.cli.boundary import error_boundary, global_options
from latte_cli.cli.evaluation import command as evaluation
from latte_cli.cli.options import (
    OUTPUT,
    SPEED,
    option,
)
from latte_cli.cli.setup import doctor, init, presets
from latte_cli.cli.setup.completion import join_key_and_value
from latte_cli.cli.tools import calibration, converting, similarity
from latte_cli.cli.usage import next_steps
from latte_cli.cli.usage.group import CommandGroup
from latte_cli.cli.usage.wrong_usage import describe_wrong_usage
from latte_cli.runtime.cpus import set_thread_defaults
from latte_cli.runtime.errors import ConfigError
from latte_cli.runtime.signals import end_after_stop, exit_at_once_after_stop

app = typer.Typer(
    name="latte",
    cls=CommandGroup,
    help="Latent diffusion transformers for video (Latte, arXiv 2401.03048).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="These options may also follow the command. New to latte? Run [bold]latte demo[/], and "
    "read [bold]latte guide[/].",
)
for commands in (
    *(data, encoding, training, sampling, text_to_video, evaluation),
    *(reports, similarity, converting, calibration, presets, init, doctor, guide),
):
    app.add_typer(commands.app)


def main() -> None:
    """Entry point of `latte`."""
    end_after_stop()
    join_key_and_value()  # where a shell asks for completions
    try:
        with suppress(ConfigError):  # wrong variables of a launcher, which every command reports
            set_thread_defaults()
        app()
    except SystemExit as end:
        exit_at_once_after_stop(end.code)
        raise


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"latte {__version__}")
        raise typer.Exit


@app.callback()
def root(
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only results and errors.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Print more about each step.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result or the error as JSON.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Store the global options."""
    global_options.quiet, global_options.verbose = quiet, verbose
    global_options.debug, global_options.as_json = debug, as_json


@app.command()
def demo(
    steps: Annotated[
        int, option(SPEED, "Train the new network for this many steps.", min=1, metavar="N")
    ] = 400,
    out: Annotated[Path, option(OUTPUT, "Write everything to this folder.", metavar="DIR")] = Path(
        "latte-demo"
    ),
) -> object:
    """Prepare, encode, train, sample and evaluate a small data set, offline, in minutes.

    Examples:
      latte demo
      latte demo --steps 50 --out try

    Each step is shown as the command that it is, so that you can run it yourself.
    """
    with error_boundary() as console:
        checks.check_output(out / "data")
        from latte_cli.commands import demo as command

        result = command.run(out, steps, _run_nested, console)
        console.sentences(result.sentences(), asdict(result))
        next_steps.say_after_demo(console)
        return result


def _run_nested(name: str, *arguments: str) -> object:
    """Run another command in this process and return its result, without printing it."""
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]  # a group
    global_options.nested = True
    try:
        with command.make_context(name, list(arguments)) as context:
            return command.invoke(context)
    finally:
        global_options.nested = False


def run_command(name: str, *arguments: str) -> object:
    """Run a command for a caller in Python, who gets its result, and its errors as exceptions.

    Args:
        name: of the command.
        arguments: its words, as on the command line.

    Raises:
        LatteError: what the command line would print as `error:` and `hint:`.
    """
    before, global_options.words = global_options.words, (name, *arguments)  # for hints
    global_options.raising = True
    try:
        return _run_nested(name, *arguments)
    except Exception as error:
        if not hasattr(error, "format_message"):  # an error of typer's own, of wrong usage
            raise
        message, hint = describe_wrong_usage(error)
        raise ConfigError(message, hint=hint) from None
    finally:
        global_options.raising, global_options.words = False, before
