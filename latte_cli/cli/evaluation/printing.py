"""Outcomes of the modes of `latte eval`, as tables or JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from latte_cli.cli.boundary import global_options

if TYPE_CHECKING:
    from latte_cli.config import Config
    from latte_cli.evaluation.evaluating import EvalContext
    from latte_cli.evaluation.results.tables import Outcome
    from latte_cli.runtime.console import Console


def show_vbench(
    console: "Console", folder: Path | None, prompts: Path | None, results: list[Path]
) -> object:
    """Check a folder for VBench, or show its scores."""
    from latte_cli.commands import vbench as command

    if folder is None:
        return print_outcome(console, command.read(results))
    checked = command.check(folder, prompts)
    print_outcome(console, checked)
    if not console.as_json:
        typer.echo("\nthen run\n" + "\n".join(checked.commands()))  # not wrapped, for pasting
    checked.raise_if_wrong()
    return checked


def show_weights(console: "Console", metrics: Sequence[str], folder: Path | None) -> object:
    """List the weights of some metrics' networks, or of all if none are given."""
    from latte_cli.evaluation.weight_list import list_metric_weights
    from latte_cli.runtime.weight_files.published import WeightFolders

    listed = list_metric_weights(WeightFolders.standard(folder), metrics)
    print_outcome(console, listed)
    if not console.as_json:
        typer.echo("\n" + "\n".join(listed.details()))  # not wrapped, for pasting
    console.info(
        "Missing files are downloaded by the command that needs them, with --download or as you "
        "answer; or put them into a folder and name it by --weights."
    )
    return listed


def run_self_test(
    console: "Console", config: "Config", context: "EvalContext", real: Path | None
) -> object:
    """Run the self-test; a failed check is an error."""
    from latte_cli.commands import self_test as command

    outcome = command.run(config, console, context, real)
    print_outcome(console, outcome)
    outcome.raise_if_failed()
    return outcome


def print_outcome(console: "Console", outcome: "Outcome | None") -> object:
    """Print the outcome of a mode, unless another command runs it as a step; return it."""
    if outcome is not None and not global_options.nested:
        tables = outcome.tables()
        for table in tables[: 1 if console.as_json else None]:
            console.table(table.header, table.rows, outcome.as_values())
            if not console.as_json:
                typer.echo()
        if not console.as_json:
            console.result(outcome.facts())
    return outcome
