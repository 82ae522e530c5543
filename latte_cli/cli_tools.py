"""The command line's tools: commands that look at, plan or carry over what the road makes."""

from pathlib import Path
from typing import Annotated

import typer

from latte_cli.front import (
    Checkpoint,
    Overrides,
    Preset,
    RunOfCheckpoint,
    RunsRoot,
    boundary,
    choose_checkpoint,
    finish,
    read_config,
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
        list[int] | None, typer.Option(help="How noisy clips are; default: half of all steps.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Class of the clips, by number or name; default: none.")
    ] = None,
    count: Annotated[
        int | None, typer.Option("-n", min=1, help="Clips to take at most; default: all.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the noise.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Clips at a time.")] = None,
    run: RunOfCheckpoint = None,
    out: Annotated[Path | None, typer.Option(help="Default: similarity/NAME.")] = None,
    override: Overrides = None,
    runs_root: RunsRoot = Path("runs"),
) -> object:
    """Show how alike a clip's frames are at each block of a network: numbers and a picture."""
    with boundary() as console:
        from latte_cli.commands import similarity as command

        given = {"sample.seed": seed, "sample.batch": batch}
        config, path = choose_checkpoint(
            console, preset, checkpoint, override, given, runs_root, run
        )
        options = command.SimilarityOptions(
            checkpoint=path,
            clips=tuple(clips),
            timesteps=tuple(timestep or ()),
            label=label,
            limit=count,
            out=out or Path("similarity") / config.name,
        )
        return finish(console, command.run(config, console, options))


@app.command()
def convert(
    source: Annotated[
        Path, typer.Argument(help="Checkpoint folder, .pt, .safetensors or diffusers' folder.")
    ],
    target: Annotated[Path, typer.Argument(help="What to write: a folder, .pt or .safetensors.")],
    to: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="latte, pt, safetensors, diffusers; default: by name."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Load it again and show the largest difference.")
    ] = False,
    heads: Annotated[
        int | None, typer.Option(min=1, help="Of a published file of an unpublished width.")
    ] = None,
    preset: Preset = None,
    override: Overrides = None,
) -> object:
    """Turn weights into another format: Latte's, DiT's, PixArt-alpha's, diffusers', ours."""
    with boundary() as console:
        from latte_cli.commands import convert as command

        config = read_config(preset, override, {})
        options = command.ConvertOptions(
            source=source,
            target=target,
            format=command.format_named(to),
            heads=heads,
            check=check,
            preset=preset is not None,
        )
        return finish(console, command.run(config, console, options))


@app.command()
def calibrate(
    preset: Preset = None,
    checkpoint: Checkpoint = None,
    speed: Annotated[
        list[str] | None, typer.Option(metavar="2x", help="Several make several; default: 2x, 3x.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps.")] = None,
    sampler: Annotated[str | None, typer.Option(help="ddpm, ddim, dpm++, unipc or euler.")] = None,
    guidance: Annotated[float | None, typer.Option(min=0, help="1 is off.")] = None,
    count: Annotated[int, typer.Option("-n", min=1, help="Clips to look at.")] = 8,
    seed: Annotated[int | None, typer.Option(min=0, help="Of those clips.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Clips at a time.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bf16 or auto.")] = None,
    run: RunOfCheckpoint = None,
    out: Annotated[Path | None, typer.Option(help="Folder; default: beside the weights.")] = None,
    override: Overrides = None,
    runs_root: RunsRoot = Path("runs"),
) -> object:
    """Find what drawing can skip: schedules for `latte sample --speed 2x`."""
    with boundary() as console:
        from latte_cli.commands import calibrate as command

        given = {
            "sample.steps": steps,
            "sample.sampler": sampler,
            "sample.guidance": guidance,
            "sample.seed": seed,
            "sample.batch": batch,
            "sample.precision": precision,
        }
        config, path = choose_checkpoint(
            console, preset, checkpoint, override, given, runs_root, run
        )
        options = command.CalibrateOptions(path, tuple(speed or ("2x", "3x")), count, out)
        return finish(console, command.run(config, console, options))


@app.command()
def presets(
    name: Annotated[str | None, typer.Argument(help="Show this one, resolved.")] = None,
    override: Overrides = None,
    models: Annotated[
        bool, typer.Option("--models", help="What each variant and size costs, counted.")
    ] = False,
) -> None:
    """List the presets, or show one with where each value comes from."""
    with boundary() as console:
        from latte_cli.commands import presets as command

        shown = command.run(name, override or [], models=models)
        for number, table in enumerate(shown.tables[: 1 if console.as_json else None]):
            if number:
                typer.echo()
            console.table(table.header, table.rows, shown.values)
        if shown.note and not console.as_json:
            console.say(shown.note)
