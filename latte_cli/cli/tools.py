"""The commands beside the main workflow: analysis, conversion and presets."""

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
) -> None:
    """List the presets, or show every value of one preset and its origin."""
    with error_boundary() as console:
        from latte_cli.commands import presets as command

        shown = command.run(name, override or [], models=models, other=diff)
        for number, table in enumerate(shown.tables[: 1 if console.as_json else None]):
            if number:
                typer.echo()
            console.table(table.header, table.rows, shown.values)
        if shown.note and not console.as_json:
            console.info(shown.note)
