"""`latte doctor`: look at the machine."""

from pathlib import Path
from typing import Annotated

import typer

from latte_cli.cli.boundary import error_boundary
from latte_cli.cli.downloads import EVALUATING, check_weights_folder
from latte_cli.cli.options import DataRoot, LatentsRoot, RunsRoot, option

app = typer.Typer()


@app.command()
def doctor(
    weights: Annotated[
        Path | None,
        option(EVALUATING, "Look for the weights of the networks in this folder.", metavar="DIR"),
    ] = None,
    data_root: DataRoot = Path("data"),
    latents_root: LatentsRoot = Path("latents"),
    runs_root: RunsRoot = Path("runs"),
) -> object:
    """Check what this machine can do, what is missing, and what to do about it.

    Examples:
      latte doctor
      latte doctor --weights weights

    Each line is ok, a warning or an error. Nothing is downloaded. The output, or
    that of --json, is what a bug report needs. It exits with 1 if there is an
    error.
    """
    with error_boundary() as console:
        check_weights_folder(weights)
        from latte_cli.commands import doctor as command
        from latte_cli.config.locations import Locations

        locations = Locations(data_root, latents_root, runs_root)
        with console.progress("checking", len(command.checks(locations, weights)), "checks") as bar:
            diagnosis = command.run(locations, weights, bar.advance)
        header = ("", "what", "found")
        console.table(header, list(diagnosis.rows()), diagnosis.as_values())
        console.info(f"{diagnosis.verdict} A bug report needs all of this output.")
        if diagnosis.count("error"):
            raise typer.Exit(1)
        return diagnosis
