"""The command that writes pages about runs and folders of clips."""

from pathlib import Path
from typing import Annotated

import typer

from latte_cli.cli import checks
from latte_cli.cli.boundary import error_boundary, print_result
from latte_cli.cli.options import Overwrite, RunsRoot

app = typer.Typer()


@app.command()
def report(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...", help="Training runs by name or folder, or folders of clips."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The page to write; default: report.html in the folder.")
    ] = None,
    embed: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="MB",
            help="Megabytes of clips inside the page; the others stay files that it links to.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    runs_root: RunsRoot = Path("runs"),
) -> object:
    """Write one HTML page: about training runs, or about the clips of one or two folders."""
    with error_boundary() as console:
        if out is not None:
            checks.check_output(out.parent)
        from latte_cli.commands import report as command

        options = command.ReportOptions(tuple(names), runs_root, out, embed, overwrite)
        return print_result(console, command.run(options, console))
