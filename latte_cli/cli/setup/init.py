"""`latte init`: a preset of one's own, and the choice of its name, its base and its data set."""

import re
from pathlib import Path
from typing import Annotated

import typer

from latte_cli.cli import checks
from latte_cli.cli.boundary import error_boundary, print_result
from latte_cli.cli.options import (
    NETWORK,
    OUTPUT,
    DataRoot,
    LatentsRoot,
    Overrides,
    Overwrite,
    option,
)
from latte_cli.cli.setup import completion
from latte_cli.cli.usage.next_steps import say_next
from latte_cli.runtime.errors import ConfigError

app = typer.Typer()

_SUFFIXES = (".yaml", ".yml")
_FOLDER = "folder"  # the preset of any videos


@app.command()
def init(
    name: Annotated[
        str | None,
        typer.Argument(help="Name the preset; by default after the prepared data set."),
    ] = None,
    base: Annotated[
        str | None,
        option(
            NETWORK,
            "Build on this preset; by default that of the data set, or else `folder`.",
            metavar="NAME",
            autocompletion=completion.presets,
        ),
    ] = None,
    override: Overrides = None,
    data: Annotated[
        Path | None,
        option(
            OUTPUT,
            "Fit the preset to this prepared data set; by default the one of its name, or the only "
            "one that there is.",
            metavar="DIR",
            autocompletion=completion.prepared,
        ),
    ] = None,
    out: Annotated[
        Path | None, option(OUTPUT, "Write this file; by default NAME.yaml.", metavar="FILE")
    ] = None,
    overwrite: Overwrite = False,
    data_root: DataRoot = Path("data"),
    latents_root: LatentsRoot = Path("latents"),
) -> object:
    """Write a preset of your own that fits your videos and this machine.

    Examples:
      latte init cats
      latte init cats --base ucf101 --data data/cats -o train.lr=2e-4

    It builds on another preset. The size and length of clips, classes and frame
    rate are those of the videos that `latte prepare` found, and the batch fits
    into this machine's memory, by a few trial steps. Every other value is listed
    with its meaning, commented out.
    """
    with error_boundary() as console:
        from latte_cli.config import load_config
        from latte_cli.config.locations import Locations

        if name and name.endswith(_SUFFIXES):
            name, out = Path(name).stem, out or Path(name)
        data = _choose_data(data, name, base, data_root)
        base = base or _base_of(data)
        name = _choose_name(name, data, base)
        out = out or Path(f"{name}.yaml")
        checks.check_output(out)
        load_config(base, override or [])  # raises if there is none, or a value is wrong
        from latte_cli.commands import init as command

        options = command.InitOptions(name, base, data, out, tuple(override or ()), overwrite)
        locations = Locations(data_root, latents_root)
        result = print_result(console, command.run(options, locations, console))
        steps = command.next_steps(options, locations)
        say_next(console, f"{out} is your preset. These are the next three commands:", *steps)
        return result


def _choose_data(data: Path | None, name: str | None, base: str | None, root: Path) -> Path | None:
    """The prepared data set that is meant; None if none is prepared.

    Raises:
        ConfigError: if there are several, and none is named.
        DataError: if the given one is none.
    """
    from latte_cli.data.manifest import MANIFEST, prepared_datasets

    if data is not None:
        checks.check_prepared(data)
        return data
    named = [root / each for each in (name, base) if each and (root / each / MANIFEST).is_file()]
    if named:
        return named[0]
    found = prepared_datasets(root)
    if len(found) > 1:
        raise ConfigError(
            f"{root} holds several prepared data sets: {', '.join(each.name for each in found)}",
            hint=f"name the one to use: --data {found[0]}",
        )
    return found[0] if found else None


def _base_of(data: Path | None) -> str:
    """The preset to build on: that of the data set's name, or the one of any videos."""
    from latte_cli.config import preset_names

    return data.name if data and data.name in preset_names() else _FOLDER


def _choose_name(name: str | None, data: Path | None, base: str) -> str:
    """The name of the preset.

    Raises:
        ConfigError: if a preset that ships has it, or it is none.
    """
    from latte_cli.config import preset_names

    shipped = preset_names()
    if name is None:
        found = re.sub(r"[^\w.-]+", "-", data.name if data else base)
        return f"my-{found}" if found in shipped else found
    if name in shipped:
        raise ConfigError(
            f"`{name}` is a preset that ships with latte, and -p {name} would find that one",
            hint=f"choose another name, such as my-{name.replace('/', '-')}",
        )
    if not re.fullmatch(r"[\w.-]+", name):
        raise ConfigError(
            f"`{name}` is not a name",
            hint="letters, digits, `.`, `_` and `-`; --out names the file",
        )
    return name
