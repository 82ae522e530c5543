"""The `latte` application, and the commands that make data sets and latents."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from latte_cli import __version__
from latte_cli.cli import calibration, checks, evaluation, guide, reports, sampling, tools, training
from latte_cli.cli.boundary import error_boundary, global_options, print_result, run_beside_main
from latte_cli.cli.options import (
    DataRoot,
    LatentsRoot,
    Overrides,
    Preset,
    nonempty_path,
)
from latte_cli.runtime.cpus import set_thread_defaults, usable_cpus
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.errors import ConfigError
from latte_cli.runtime.signals import end_after_stop, exit_at_once_after_stop
from latte_cli.sources import DATASETS


class CommandGroup(typer.core.TyperGroup):
    """All commands; global options may stand before or after a command."""

    _GLOBAL = frozenset({"--quiet", "-q", "--verbose", "-v", "--debug", "--json"})
    _ORDER = (
        *("prepare", "encode-latents", "train", "demo", "sample", "t2v", "eval", "report"),
        *("similarity", "convert", "calibrate", "presets", "guide"),
    )

    def list_commands(self, ctx: Any) -> list[str]:
        """The main workflow first, then the tools."""
        return sorted(super().list_commands(ctx), key=self._ORDER.index)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move the global options in front of the command, where the parser expects them."""
        end = args.index("--") if "--" in args else len(args)
        before = [arg for arg in args[:end] if arg in self._GLOBAL]
        rest = [arg for arg in args[:end] if arg not in self._GLOBAL]
        global_options.words = (*rest, *args[end:])
        return super().parse_args(ctx, [*before, *rest, *args[end:]])


app = typer.Typer(
    name="latte",
    cls=CommandGroup,
    help="Latent diffusion transformers for video (Latte, arXiv 2401.03048).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="These options may also follow the command. New to latte? Run [bold]latte demo[/], and "
    "read [bold]latte guide[/].",
)
for commands in (training, sampling, evaluation, reports, tools, calibration, guide):
    app.add_typer(commands.app)


def main() -> None:
    """Entry point of `latte`."""
    end_after_stop()
    try:
        with suppress(ConfigError):  # wrong variables of a launcher, which every command reports
            set_thread_defaults()
            if not is_main():
                sys.exit(run_beside_main(app))
        app()
    except SystemExit as end:
        exit_at_once_after_stop(end.code)
        raise


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"latte {__version__}")
        raise typer.Exit


@app.callback()
def root(
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only results and errors.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print more details.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Store the global options."""
    global_options.quiet, global_options.verbose = quiet, verbose
    global_options.debug, global_options.as_json = debug, as_json


@app.command()
def prepare(
    dataset: Annotated[str, typer.Argument(help=f"One of: {', '.join(DATASETS)}.")],
    source: Annotated[
        Path | None,
        typer.Option(parser=nonempty_path, metavar="<path>", help="Folder, archive or table."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Default: DATA_ROOT/DATASET.")] = None,
    split: Annotated[str, typer.Option(help="train, test or all.")] = "all",
    labels: Annotated[
        bool, typer.Option("--labels", help="For folder: use sub-folders as class labels.")
    ] = False,
    keep_pixels: Annotated[
        bool,
        typer.Option("--keep-pixels", help="Do not stretch pixels that are not square."),
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Files decoded in parallel.")] = usable_cpus(),
    timeout: Annotated[
        float | None,
        typer.Option(min=1, help="Reject a file after this many seconds without a frame."),
    ] = None,
    count: Annotated[
        int | None, typer.Option(min=8, help="For shapes: videos to generate; default: 512.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=16, help="For shapes: side of a frame, pixels; default: 64.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="For shapes: random seed; default: 0.")
    ] = None,
    data_root: DataRoot = Path("data"),
) -> object:
    """Decode and check every video, and write a manifest of the valid ones.

    Rejected videos are listed in rejected.jsonl with the reason. Run the same
    command again to continue after an interruption, or to check only new files.
    """
    with error_boundary() as console:
        checks.check_prepare(
            dataset, source, labels, keep_pixels, count=count, size=size, seed=seed
        )
        out = out or data_root / dataset
        checks.check_output(out)
        from latte_cli.commands import prepare as command

        options = command.PrepareOptions(
            dataset=dataset,
            out=out,
            source=source,
            labels=labels,
            split=split,
            keep_pixels=keep_pixels,
            workers=workers,
            timeout_s=timeout,
            count=count or 512,
            size=size or 64,
            seed=seed or 0,
        )
        return print_result(console, command.run(options, console))


@app.command("encode-latents")
def encode_latents(
    preset: Preset = None,
    data: Annotated[Path | None, typer.Option(help="Prepared data set, e.g. data/NAME.")] = None,
    vae: Annotated[str | None, typer.Option(help="Hub id, folder or `embedded`.")] = None,
    size: Annotated[int | None, typer.Option(min=8, help="Side of a frame, pixels.")] = None,
    crop: Annotated[str | None, typer.Option(help="crop-resize or resize-crop.")] = None,
    flip: Annotated[bool | None, typer.Option(help="Also encode mirrored videos.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Default: named after data set, size and VAE.")
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Frames per batch; default: 16.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Videos decoded in parallel.")] = None,
    preview: Annotated[
        int, typer.Option(min=0, help="Write this many reconstructions as mp4.")
    ] = 0,
    verify: Annotated[bool, typer.Option("--verify", help="Only check existing latents.")] = False,
    info: Annotated[bool, typer.Option("--info", help="Only describe existing latents.")] = False,
    override: Overrides = None,
    data_root: DataRoot = Path("data"),
    latents_root: LatentsRoot = Path("latents"),
) -> object:
    """Encode every frame of a prepared data set into latents; resumes after an interruption."""
    with error_boundary() as console:
        from latte_cli.config import load_config
        from latte_cli.config.locations import Locations

        if preset is None and data is None:
            raise ConfigError(
                "nothing to encode", hint="give --preset P, --data data/NAME, or both"
            )
        flags = {"data.root": data, "vae.path": vae, "data.size": size, "data.crop": crop}
        if verify + info + bool(preview) > 1:
            raise ConfigError(
                "--verify, --info and --preview exclude each other", hint="give one at a time"
            )
        for option, value in (("--batch", batch), ("--workers", workers)):
            if info and value is not None:
                raise ConfigError(f"{option} has no effect on --info", hint=f"leave {option} out")
        config = load_config(preset, override or [], {**flags, "data.flip": flip})
        locations = Locations(data_root, latents_root)
        latents = out or locations.latents(config)
        checks.check_output(latents)
        if verify or info:
            checks.check_latents(latents)
        if not info:  # which does without the data set
            checks.check_prepared(locations.data(config))
            if not verify:
                checks.check_autoencoder(config)
        from latte_cli.commands import encode_latents as command

        options = command.EncodeOptions(out, batch or 16, workers, preview, verify, info, preset)
        result = command.run(config, locations, console, options)
        if result is not None:
            print_result(console, result)
            command.raise_if_wrong(result)
        return result


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for all outputs.")] = Path("latte-demo"),
    steps: Annotated[int, typer.Option(min=1, help="Training steps of the new network.")] = 400,
) -> object:
    """Prepare, encode, train, sample and evaluate a small data set, offline, in minutes."""
    with error_boundary() as console:
        checks.check_output(out / "data")
        from latte_cli.commands import demo as command

        return print_result(console, command.run(out, steps, _run_nested, console))


def _run_nested(name: str, *arguments: str) -> object:
    """Run another command in this process and return its result, without printing it."""
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]  # a group
    global_options.nested = True
    try:
        with command.make_context(name, list(arguments)) as context:
            return command.invoke(context)
    finally:
        global_options.nested = False


def run_command(name: str, *arguments: str) -> object:
    """Run a command for a caller in Python, who gets its result, and its errors as exceptions.

    Args:
        name: of the command.
        arguments: its words, as on the command line.

    Raises:
        LatteError: what the command line would print as `error:` and `hint:`.
    """
    global_options.raising = True
    try:
        return _run_nested(name, *arguments)
    except Exception as error:
        if not hasattr(error, "format_message"):  # an error of typer's own, of wrong usage
            raise
        raise ConfigError(error.format_message(), hint=f"see `latte {name} --help`") from None
    finally:
        global_options.raising = False
