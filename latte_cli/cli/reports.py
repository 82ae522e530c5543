"""The command that writes pages about runs and folders of clips."""

from pathlib import Path
from typing import Annotated

import typer

from latte_cli.cli import checks
from latte_cli.cli.boundary import error_boundary, print_result
from latte_cli.cli.options import OUTPUT, Overwrite, RunsRoot, option
from latte_cli.cli.setup import completion
from latte_cli.cli.usage import result_steps

app = typer.Typer()


@app.command()
def report(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Training runs by name or folder, or folders of clips.",
            autocompletion=completion.runs,
        ),
    ],
    embed: Annotated[
        float | None,
        option(
            OUTPUT,
            "Put clips of at most this many megabytes into the page; it links to the others.",
            min=0,
            metavar="MB",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        option(
            OUTPUT,
            "Write the page to this file; by default report.html in the run's folder.",
            metavar="FILE",
        ),
    ] = None,
    overwrite: Overwrite = False,
    runs_root: RunsRoot = Path("runs"),
) -> object:
    """Write one HTML page: about training runs, or about the clips of one or two folders.

    Examples:
      latte report shapes
      latte report samples/shapes/step-000400 samples/shapes-fast/shipped

    The page opens from the disk, without a network: curves, previews, evaluations
    and settings of runs; clips with labels, prompts and seeds, side by side.
    """
    with error_boundary() as console:
        if out is not None:
            checks.check_output(out.parent)
        from latte_cli.commands import report as command

        options = command.ReportOptions(tuple(names), runs_root, out, embed, overwrite)
        result = command.run(options, console)
        print_result(console, result)
        result_steps.say_after_report(console, result.out, names)
        return result
