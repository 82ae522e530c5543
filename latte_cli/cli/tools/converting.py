"""`latte convert`: weights in other formats, and on the hub."""

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from latte_cli.checkpoints.formats import FOLDERS, Format, parse_format, target_format
from latte_cli.cli import checks
from latte_cli.cli.boundary import error_boundary, print_result
from latte_cli.cli.options import (
    NETWORK,
    OUTPUT,
    Overrides,
    Overwrite,
    option,
    parse_adapters,
)
from latte_cli.cli.usage import result_steps
from latte_cli.runtime.errors import ConfigError

if TYPE_CHECKING:
    from latte_cli.commands.convert import ConvertResult
    from latte_cli.runtime.console import Console
    from latte_cli.runtime.weight_files.uploading import HubPlace

_SHARING = "Sharing on the hub"
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")

app = typer.Typer()


@app.command()
def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="Weights to read: a checkpoint, a run (its newest checkpoint), a file (.pt, "
            ".safetensors) or a folder in diffusers' layout.",
        ),
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="TARGET", help="The place to write to: a folder, or a file (.pt, .safetensors)."
        ),
    ],
    preset: Annotated[
        str | None,
        option(
            NETWORK,
            "Take what a file does not say, such as the number of heads, from this preset.",
            "--preset",
            "-p",
            metavar="NAME",
        ),
    ] = None,
    override: Overrides = None,
    heads: Annotated[
        int | None,
        option(
            NETWORK,
            "Number of attention heads, if the file does not determine it.",
            min=1,
            metavar="N",
        ),
    ] = None,
    ema: Annotated[
        float | None,
        option(
            NETWORK,
            "Reconstruct the average of weights of this width, of a run with train.ema=power.",
            metavar="WIDTH",
        ),
    ] = None,
    lora: Annotated[
        list[str] | None,
        option(
            NETWORK,
            "Merge this adapter (LoRA) into the network; :SCALE says how strongly. It may be given "
            "several times.",
            metavar="PATH[:SCALE]",
        ),
    ] = None,
    to: Annotated[
        str | None,
        option(
            OUTPUT,
            "Write latte, pt, safetensors, diffusers, pipeline or lora; by default as TARGET's "
            "name ends.",
            metavar="FORMAT",
        ),
    ] = None,
    check: Annotated[
        bool,
        option(
            OUTPUT,
            "Load what was written, and report the largest difference of the outputs.",
            "--check",
        ),
    ] = False,
    overwrite: Overwrite = False,
    push: Annotated[
        str | None,
        option(
            _SHARING,
            "Show what an upload to this model of the hub would send, with a card made from the "
            "run; --yes sends it.",
            metavar="OWNER/NAME",
        ),
    ] = None,
    yes: Annotated[
        bool, option(_SHARING, "Really upload what --push shows, without asking.", "--yes", "-y")
    ] = False,
    private: Annotated[
        bool, option(_SHARING, "Let only yourself, or your organization, see it.", "--private")
    ] = False,
    revision: Annotated[
        str | None,
        option(
            _SHARING,
            "Upload to this branch, which is made if it does not exist; by default main.",
            metavar="BRANCH",
        ),
    ] = None,
    licence: Annotated[
        str | None,
        option(
            _SHARING,
            "Name this licence in the card, such as apache-2.0 or cc-by-4.0.",
            "--license",
            metavar="ID",
        ),
    ] = None,
) -> object:
    """Convert weights between latte, .pt, safetensors and diffusers; also from DiT and PixArt.

    Examples:
      latte convert runs/mine mine.safetensors --check
      latte convert runs/mine mine --to pipeline --push me/mine --license mit

    With --check, both networks compute the same clip, and their outputs are
    compared. With --push, nothing is sent without --yes.
    """
    with error_boundary() as console:
        from latte_cli.checkpoints.choice import newest_of_run
        from latte_cli.config import load_config

        config = load_config(preset, override or [])
        form = target_format(target, parse_format(to))
        checks.check_weights(source, "give a checkpoint folder or a file of weights")
        checks.check_target(target)
        if form == "lora" and ema is not None:
            raise ConfigError(
                "--ema makes an average of whole networks, --to lora takes adapters as they are",
                hint="leave one of them out",
            )
        place = _place(push, form, revision, private=private, yes=yes, licence=licence)
        if ema is None:
            source = newest_of_run(source, console)
            _check_is_used(source, preset, override)
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
            lora=parse_adapters(lora or ()),
            push=None if place is None else command.PushOptions(place, yes, licence),
        )
        result = command.run(config, console, options)
        _print(console, result)
        result_steps.say_after_convert(console, result)
        return result


def _place(
    push: str | None,
    form: Format,
    revision: str | None,
    *,
    private: bool,
    yes: bool,
    licence: str | None,
) -> "HubPlace | None":
    """Where to upload to; None: nowhere.

    Raises:
        ConfigError: if options do not go together, or their values are not those of the hub.
        HubError: if nothing can be uploaded from this machine, but is to be.
    """
    from latte_cli.runtime.weight_files.uploading import MAIN, HubPlace

    if push is None:
        given = {"--yes": yes, "--private": private, "--revision": revision, "--license": licence}
        for name in (name for name, value in given.items() if value):
            raise ConfigError(f"{name} has no effect without --push", "add --push OWNER/NAME")
        return None
    if form not in FOLDERS:
        raise ConfigError(
            f"--push uploads a folder, but {form} is a file",
            hint="--to pipeline for text to video, --to lora for adapters, or --to latte",
        )
    if licence is not None and not _LICENCE.fullmatch(licence):
        raise ConfigError(
            f"--license {licence} is not an identifier of the hub",
            hint="such as apache-2.0, mit, cc-by-4.0, cc-by-nc-4.0 or other",
        )
    place = HubPlace(push, private, revision or MAIN)
    if yes:
        place.check_token()
    return place


def _print(console: "Console", result: "ConvertResult") -> None:
    """Print the result; of an upload that is only shown, its files and its card, too."""
    from latte_cli.runtime.console import format_bytes

    push = result.push
    if push is None or console.as_json:
        print_result(console, result)
        return
    print_result(console, replace(result, push=None))
    if not push.uploaded:
        rows = [(name, format_bytes(size)) for name, size in push.files.items()]
        rows.append((f"{len(rows)} files", format_bytes(push.bytes)))
        console.table(("file", "bytes"), rows, None)
        console.sentences(["", push.card], {})


def _check_is_used(source: Path, preset: str | None, override: list[str] | None) -> None:
    """Raise ConfigError if settings are given for weights that have their own."""
    from latte_cli.models.reading import is_latte_folder

    given = [name for name, value in (("--preset", preset), ("-o", override)) if value]
    if given and is_latte_folder(source):
        raise ConfigError(
            f"{' and '.join(given)} would have no effect: {source} has a configuration of its own",
            hint=f"leave {' and '.join(given)} out",
        )
