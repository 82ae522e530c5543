"""The commands beside the main workflow: analysis, conversion and presets."""

import json
from pathlib import Path
from typing import Annotated

import typer

from latte_cli.cli import checks
from latte_cli.cli.boundary import error_boundary, print_result
from latte_cli.cli.options import (
    Batch,
    Checkpoint,
    Overrides,
    Overwrite,
    Preset,
    Run,
    RunsRoot,
)
from latte_cli.runtime.errors import ConfigError

app = typer.Typer()


@app.command()
def similarity(
    clips: Annotated[
        list[Path], typer.Argument(metavar="CLIPS...", help="Videos, and folders of videos.")
    ],
    preset: Preset = None,
    checkpoint: Checkpoint = None,
    timestep: Annotated[
        list[int] | None, typer.Option(help="Timestep; may be repeated; default: the middle one.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Class number or name of the clips; default: none.")
    ] = None,
    count: Annotated[
        int | None, typer.Option("-n", min=1, help="Largest number of clips; default: all.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Random seed of the noise.")] = None,
    batch: Batch = None,
    run: Run = None,
    out: Annotated[Path | None, typer.Option(help="Default: similarity/RUN/step-N.")] = None,
    overwrite: Overwrite = False,
    override: Overrides = None,
    runs_root: RunsRoot = Path("runs"),
) -> object:
    """Measure the similarity of a clip's frames at each block of a network, and plot it."""
    with error_boundary() as console:
        from latte_cli.checkpoints.choice import choose_checkpoint
        from latte_cli.checkpoints.names import folder_name
        from latte_cli.evaluation.early_checks import choose_timesteps

        checks.check_paths(clips, "give videos or folders")
        flags = {"sample.seed": seed, "sample.batch": batch}
        config, path = choose_checkpoint(
            console, preset, checkpoint, override, flags, runs_root, run
        )
        checks.check_labels([label] if label else None, path, config)
        choose_timesteps(config, timestep or ())  # raises if one is out of range
        out = out or Path("similarity") / folder_name(path)
        checks.check_output(out)
        from latte_cli.commands import similarity as command

        options = command.SimilarityOptions(
            checkpoint=path,
            clips=tuple(clips),
            timesteps=tuple(timestep or ()),
            label=label,
            limit=count,
            out=out,
            overwrite=overwrite,
        )
        return print_result(console, command.run(config, console, options))


@app.command()
def convert(
    source: Annotated[
        Path,
        typer.Argument(
            help="Checkpoint or run folder (its newest), .pt, .safetensors or diffusers folder."
        ),
    ],
    target: Annotated[Path, typer.Argument(help="Output: a folder, .pt or .safetensors.")],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT", help="latte, pt, safetensors or diffusers; default: by file name."
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Reload the output and report the largest difference.")
    ] = False,
    heads: Annotated[
        int | None,
        typer.Option(min=1, help="Attention heads, if the file does not determine them."),
    ] = None,
    ema: Annotated[
        float | None,
        typer.Option(
            metavar="WIDTH", help="Reconstruct this average of a run with train.ema=power."
        ),
    ] = None,
    overwrite: Overwrite = False,
    preset: Preset = None,
    override: Overrides = None,
) -> object:
    """Convert weights between latte, .pt, safetensors and diffusers; also from DiT and PixArt."""
    with error_boundary() as console:
        from latte_cli.checkpoints.choice import newest_of_run
        from latte_cli.checkpoints.formats import parse_format, target_format
        from latte_cli.config import load_config

        config = load_config(preset, override or [])
        form = target_format(target, parse_format(to))
        checks.check_weights(source, "give a checkpoint folder or a file of weights")
        checks.check_target(target)
        if ema is None:
            source = newest_of_run(source, console)
        from latte_cli.commands import convert as command

        options = command.ConvertOptions(
            source=source,
            target=target,
            format=form,
            heads=heads,
            check=check,
            has_preset=preset is not None,
            overwrite=overwrite,
            ema=ema,
        )
        return print_result(console, command.run(config, console, options))


@app.command()
def presets(
    name: Annotated[str | None, typer.Argument(help="Preset to show, with every value.")] = None,
    override: Overrides = None,
    models: Annotated[
        bool, typer.Option("--models", help="Parameters and FLOPs of each variant and size.")
    ] = False,
    diff: Annotated[
        str | None,
        typer.Option(metavar="OTHER", help="Only what differs; `paper`: from the base of NAME."),
    ] = None,
    yaml: Annotated[
        bool, typer.Option("--yaml", help="As the beginning of a preset of your own.")
    ] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="The JSON schema of presets, for editors.")
    ] = False,
) -> None:
    """List the presets, or show every value of one preset, its origin and its meaning.

    A preset of your own: latte presets folder --yaml > mine.yaml, and -p mine.
    """
    with error_boundary() as console:
        views = {"--yaml": yaml, "--schema": schema, "--models": models, "--diff": bool(diff)}
        _check_views(name, [option for option, given in views.items() if given])
        if schema:
            from latte_cli.config.json_schema import preset_schema

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
                console.settings(table.rows, shown.values)
            else:
                console.table(table.header, table.rows, shown.values)
        if shown.note and not console.as_json:
            console.info(shown.note)


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
