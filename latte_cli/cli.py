"""The command line: options to a configuration, to a command's `run`, to a printed result.

The road from videos to clips is here; what helps beside it is in `cli_tools`.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from latte_cli import __version__, cli_tools
from latte_cli.errors import ConfigError
from latte_cli.front import (
    Checkpoint,
    DataRoot,
    Front,
    LatentsRoot,
    Overrides,
    Preset,
    RunOfCheckpoint,
    RunsRoot,
    boundary,
    choose_checkpoint,
    common,
    finish,
    read_config,
)

app = typer.Typer(
    name="latte",
    cls=Front,
    help="Latent diffusion transformers for video (Latte, arXiv 2401.03048).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Options above may also follow the command. First time here? [bold]latte demo[/]",
)
app.add_typer(cli_tools.app)


def main() -> None:
    """Entry point of `latte`."""
    app()


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"latte {__version__}")
        raise typer.Exit


@app.callback()
def root(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only results and errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Remember what holds for every command."""
    common.quiet, common.verbose = quiet, verbose
    common.debug, common.as_json = debug, as_json


@app.command()
def prepare(
    dataset: Annotated[str, typer.Argument(help="folder, ucf101 or shapes.")],
    source: Annotated[Path | None, typer.Option(help="Where the videos lie.")] = None,
    out: Annotated[Path | None, typer.Option(help="Default: DATA_ROOT/DATASET.")] = None,
    split: Annotated[str, typer.Option(help="train, test or all.")] = "all",
    labels: Annotated[bool, typer.Option("--labels", help="folder: labels by sub-folder.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Files decoded at a time.")] = (
        os.cpu_count() or 1
    ),
    count: Annotated[int, typer.Option(min=8, help="shapes: videos to draw.")] = 512,
    size: Annotated[int, typer.Option(min=16, help="shapes: side of a frame, pixels.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="shapes: seed of the drawing.")] = 0,
    data_root: DataRoot = Path("data"),
) -> object:
    """Check every video once and write the manifest of those that decode."""
    with boundary() as console:
        from latte_cli.commands import prepare as command

        options = command.PrepareOptions(
            dataset=dataset,
            out=out or data_root / dataset,
            source=source,
            labels=labels,
            split=split,
            workers=workers,
            count=count,
            size=size,
            seed=seed,
        )
        return finish(console, command.run(options, console))


@app.command("encode-latents")
def encode_latents(
    preset: Preset = None,
    data: Annotated[Path | None, typer.Option(help="Prepared data set, e.g. data/NAME.")] = None,
    vae: Annotated[str | None, typer.Option(help="Hub id, folder or `embedded`.")] = None,
    size: Annotated[int | None, typer.Option(min=8, help="Side of a frame, pixels.")] = None,
    flip: Annotated[bool | None, typer.Option(help="Mirrored views too.")] = None,
    out: Annotated[Path | None, typer.Option(help="Default: named after data, size, VAE.")] = None,
    preview: Annotated[int, typer.Option(min=0, help="Reconstructions to write as mp4.")] = 0,
    override: Overrides = None,
    data_root: DataRoot = Path("data"),
    latents_root: LatentsRoot = Path("latents"),
) -> object:
    """Encode every frame of a prepared data set into latents, once."""
    with boundary() as console:
        from latte_cli.commands import encode_latents as command
        from latte_cli.locations import Locations

        if preset is None and data is None:
            raise ConfigError(
                "nothing to encode", hint="give --preset P, --data data/NAME, or both"
            )
        given = {"data.root": data, "vae.path": vae, "data.size": size, "data.flip": flip}
        config = read_config(preset, override, given)
        locations = Locations(data_root, latents_root)
        return finish(console, command.run(config, locations, console, out=out, preview=preview))


@app.command()
def train(
    preset: Preset = None,
    override: Overrides = None,
    run: Annotated[str | None, typer.Option(help="Name of the run; default: the preset's.")] = None,
    init: Annotated[Path | None, typer.Option(help="Weights to begin from.")] = None,
    resume: Annotated[str, typer.Option(help="auto, never, or a checkpoint.")] = "auto",
    steps: Annotated[int | None, typer.Option(min=1, help="Optimizer steps in all.")] = None,
    data_root: DataRoot = Path("data"),
    latents_root: LatentsRoot = Path("latents"),
    runs_root: RunsRoot = Path("runs"),
) -> object:
    """Train a network on latents; goes on from the newest whole checkpoint."""
    with boundary() as console:
        from latte_cli.commands import train as command
        from latte_cli.locations import Locations

        if preset is None:
            raise ConfigError(
                "nothing to train", hint="give --preset P; `latte presets` lists them"
            )
        config = read_config(preset, override, {"train.steps": steps, "train.init": init})
        options = command.TrainOptions(run, resume)
        locations = Locations(data_root, latents_root, runs_root)
        return finish(console, command.run(config, locations, console, options))


@app.command()
def sample(
    preset: Preset = None,
    checkpoint: Checkpoint = None,
    count: Annotated[int, typer.Option("-n", min=1, help="Clips to draw.")] = 8,
    label: Annotated[list[str] | None, typer.Option(help="Class, by number or name.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps.")] = None,
    sampler: Annotated[str | None, typer.Option(help="ddpm or ddim.")] = None,
    guidance: Annotated[float | None, typer.Option(min=0, help="1 is off.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed, the same clips.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames of a clip.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Clips at a time.")] = None,
    precision: Annotated[str | None, typer.Option(help="float32, bf16 or auto.")] = None,
    run: RunOfCheckpoint = None,
    out: Annotated[Path | None, typer.Option(help="Default: samples/NAME.")] = None,
    override: Overrides = None,
    runs_root: RunsRoot = Path("runs"),
) -> object:
    """Draw clips from a checkpoint: mp4 files and a grid picture."""
    with boundary() as console:
        from latte_cli.commands import sample as command

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
        options = command.SampleOptions(
            checkpoint=path,
            count=count,
            labels=tuple(label or ()),
            frames=frames,
            out=out or Path("samples") / config.name,
        )
        return finish(console, command.run(config, console, options))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for all that is made.")] = Path("latte-demo"),
    steps: Annotated[int, typer.Option(min=1, help="Training steps of the fresh network.")] = 400,
) -> object:
    """The whole road on a small procedural data set, offline, in minutes."""
    with boundary() as console:
        from latte_cli.commands import demo as command

        return finish(console, command.run(out, steps, _latte, console))


def _latte(*words: str) -> object:
    """Run one command line in this process and give its result."""
    name, *arguments = words
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]  # a group
    common.walking = True
    try:
        with command.make_context(name, arguments) as context:
            return command.invoke(context)
    finally:
        common.walking = False
