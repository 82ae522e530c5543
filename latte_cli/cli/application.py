"""The command line: options to a configuration, to a command's `run`, to a printed result.

The road from videos to clips is here; what helps beside it is in `cli_tools`.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from latte_cli import __version__
from latte_cli.cli import evaluation, sampling, tools
from latte_cli.cli.front import (
    DataRoot,
    Front,
    LatentsRoot,
    Overrides,
    Preset,
    RunsRoot,
    boundary,
    common,
    finish,
    read_config,
)
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.errors import ConfigError
from latte_cli.sources import DATASETS

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
app.add_typer(sampling.app)
app.add_typer(evaluation.app)
app.add_typer(tools.app)


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


def _place(text: str) -> Path:
    """A path; never that of an empty text, as of a variable that is not set, which would be `.`."""
    if not text:
        raise typer.BadParameter("is empty; `.` stands for the folder at hand")
    return Path(text)


@app.command()
def prepare(
    dataset: Annotated[str, typer.Argument(help=f"One of: {', '.join(DATASETS)}.")],
    source: Annotated[
        Path | None, typer.Option(parser=_place, metavar="<path>", help="Folder, archive or table.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Default: DATA_ROOT/DATASET.")] = None,
    split: Annotated[str, typer.Option(help="train, test or all.")] = "all",
    labels: Annotated[bool, typer.Option("--labels", help="folder: labels by sub-folder.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Files decoded at a time.")] = (
        os.cpu_count() or 1
    ),
    timeout: Annotated[
        float | None, typer.Option(min=1, help="Seconds without a new frame to give up after.")
    ] = None,
    count: Annotated[int, typer.Option(min=8, help="shapes: videos to draw.")] = 512,
    size: Annotated[int, typer.Option(min=16, help="shapes: side of a frame, pixels.")] = 64,
    seed: Annotated[int, typer.Option(min=0, help="shapes: seed of the drawing.")] = 0,
    data_root: DataRoot = Path("data"),
) -> object:
    """Check every video once and write the manifest of those that decode.

    The others are in rejected.jsonl, each with its reason. The same command continues what was
    interrupted, and later opens only what has changed.
    """
    with boundary() as console:
        from latte_cli.commands import prepare as command

        options = command.PrepareOptions(
            dataset=dataset,
            out=out or data_root / dataset,
            source=source,
            labels=labels,
            split=split,
            workers=workers,
            timeout_s=timeout,
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
    crop: Annotated[str | None, typer.Option(help="crop-resize or resize-crop.")] = None,
    flip: Annotated[bool | None, typer.Option(help="Mirrored views too.")] = None,
    out: Annotated[Path | None, typer.Option(help="Default: named after data, size, VAE.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="Frames encoded at once.")] = 16,
    workers: Annotated[int | None, typer.Option(min=1, help="Videos decoded at a time.")] = None,
    preview: Annotated[int, typer.Option(min=0, help="Reconstructions to write as mp4.")] = 0,
    verify: Annotated[bool, typer.Option("--verify", help="Only check all that is there.")] = False,
    info: Annotated[bool, typer.Option("--info", help="Only tell what is there.")] = False,
    override: Overrides = None,
    data_root: DataRoot = Path("data"),
    latents_root: LatentsRoot = Path("latents"),
) -> object:
    """Encode every frame of a prepared data set into latents, once; goes on where it stopped."""
    with boundary() as console:
        from latte_cli.commands import encode_latents as command
        from latte_cli.config.locations import Locations

        if preset is None and data is None:
            raise ConfigError(
                "nothing to encode", hint="give --preset P, --data data/NAME, or both"
            )
        given = {"data.root": data, "vae.path": vae, "data.size": size, "data.crop": crop}
        config = read_config(preset, override, {**given, "data.flip": flip})
        options = command.EncodeOptions(out, batch, workers, preview, verify, info, preset)
        result = command.run(config, Locations(data_root, latents_root), console, options)
        if result is not None:
            finish(console, result)
            command.raise_if_wrong(result)
        return result


@app.command()
def train(
    preset: Preset = None,
    override: Overrides = None,
    run: Annotated[str | None, typer.Option(help="Name of the run; default: the preset's.")] = None,
    init: Annotated[Path | None, typer.Option(help="Weights to begin from.")] = None,
    resume: Annotated[str, typer.Option(help="auto, never, or a checkpoint.")] = "auto",
    steps: Annotated[int | None, typer.Option(min=1, help="Optimizer steps in all.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Tell the cost; train nothing.")] = False,
    weights: Annotated[
        Path | None, typer.Option(help="Folder of the weights that train.eval_every needs.")
    ] = None,
    features_root: Annotated[
        Path, typer.Option(envvar="LATTE_FEATURES", help="Where its features are kept.")
    ] = Path("features"),
    data_root: DataRoot = Path("data"),
    latents_root: LatentsRoot = Path("latents"),
    runs_root: RunsRoot = Path("runs"),
) -> object:
    """Train a network on latents; goes on from the newest whole checkpoint."""
    with boundary() as console:
        from latte_cli.config.locations import Locations

        if preset is None:
            raise ConfigError(
                "nothing to train", hint="give --preset P; `latte presets` lists them"
            )
        config = read_config(preset, override, {"train.steps": steps, "train.init": init})
        locations = Locations(data_root, latents_root, runs_root)
        if plan:
            if not is_main():  # it measures one device, and tells once
                return None
            from latte_cli.commands import train_plan

            return train_plan.show(train_plan.run(config, locations, console), console)
        from latte_cli.commands import train as command

        options = command.TrainOptions(run, resume, features_root, weights)
        result = command.run(config, locations, console, options)
        return finish(console, result) if is_main() else result


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
