"""`latte presets`: see what a preset sets, and begin one of one's own."""

import json
from typing import Annotated

import typer

from latte_cli.cli.boundary import error_boundary
from latte_cli.cli.options import Overrides, option
from latte_cli.cli.setup import completion
from latte_cli.cli.usage import result_steps
from latte_cli.runtime.errors import ConfigError

app = typer.Typer()

_SHOWN = "What is shown"


@app.command()
def presets(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Show this preset; without a name, all presets are listed.",
            autocompletion=completion.presets,
        ),
    ] = None,
    override: Overrides = None,
    diff: Annotated[
        str | None,
        option(
            _SHOWN,
            "Show only what differs from this preset; `paper` stands for the one of the paper "
            "that it builds on.",
            metavar="NAME",
            autocompletion=completion.presets,
        ),
    ] = None,
    models: Annotated[
        bool,
        option(_SHOWN, "Count parameters and FLOPs of each variant and size.", "--models"),
    ] = False,
    yaml: Annotated[
        bool,
        option(_SHOWN, "Print a file that builds on the preset, to become your own one.", "--yaml"),
    ] = False,
    schema: Annotated[
        bool,
        option(
            _SHOWN, "Print the JSON schema of presets, for editors that check them.", "--schema"
        ),
    ] = False,
) -> None:
    """List the presets, or show every value of one preset, its origin and its meaning.

    Examples:
      latte presets ucf101
      latte presets folder --yaml > mine.yaml

    A preset says how data are read, and how a network is built, trained and
    sampled. Your own mine.yaml is then used by -p mine.
    """
    with error_boundary() as console:
        views = {"--yaml": yaml, "--schema": schema, "--models": models, "--diff": bool(diff)}
        _check_views(name, [option for option, given in views.items() if given])
        if schema:
            from latte_cli.config.views.json_schema import preset_schema

            typer.echo(json.dumps(preset_schema(), indent=2, ensure_ascii=False))
            return
        from latte_cli.commands import presets as command

        if yaml and name:
            typer.echo(command.as_yaml(name, override or []), nl=False)
            return
        shown = command.run(name, override or [], models=models, other=diff)
        for number, table in enumerate(shown.tables[: 1 if console.as_json else None]):
            if number:
                typer.echo()
            if table.header[-1] == "meaning":
                console.settings(table.header, table.rows, shown.values)
            else:
                console.table(table.header, table.rows, shown.values)
        if shown.note and not console.as_json:
            console.info(shown.note)
        result_steps.say_after_presets(console, name)


def _check_views(name: str | None, views: list[str]) -> None:
    """Raise ConfigError if what `latte presets` is to print does not go together.

    Args:
        name: of the preset, if one is named.
        views: the options that choose what is printed.
    """
    if len(views) > 1 and {"--yaml", "--schema"}.intersection(views):
        raise ConfigError(f"{' and '.join(views)} exclude each other", hint="give one at a time")
    if "--yaml" in views and name is None:
        raise ConfigError(
            "--yaml begins a preset of your own, but no preset to build on is named",
            hint="latte presets folder --yaml > mine.yaml",
        )
    if "--schema" in views and name is not None:
        raise ConfigError(
            f"--schema is of all presets, but {name} is named", hint="latte presets --schema"
        )
