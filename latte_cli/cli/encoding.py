"""`latte encode-latents`: the command that makes latents, and embeddings of captions."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from latte_cli.cli import checks
from latte_cli.cli.boundary import error_boundary, print_result
from latte_cli.cli.engines import LOCAL, EngineName, GpusPerWorker, engine_of
from latte_cli.cli.options import (
    NETWORK,
    OUTPUT,
    SPEED,
    DataRoot,
    LatentsRoot,
    Overrides,
    option,
)
from latte_cli.cli.setup import completion
from latte_cli.cli.setup.encoding import configs_to_encode
from latte_cli.cli.usage import next_steps
from latte_cli.cli.usage.typed_words import typed_again
from latte_cli.runtime.errors import ConfigError

_VIDEOS = "Videos"
_AUTOENCODER = "Autoencoder"
_INSTEAD = "Instead of encoding"

app = typer.Typer()


@app.command("encode-latents")
def encode_latents(
    preset: Annotated[
        str | None,
        option(
            NETWORK,
            "Required, unless --data is given. Name of a preset, or your own YAML file; "
            "`latte presets` lists all.",
            "--preset",
            "-p",
            metavar="NAME",
        ),
    ] = None,
    override: Overrides = None,
    data: Annotated[
        Path | None,
        option(
            _VIDEOS,
            "Encode this prepared data set, such as data/NAME; by default the preset's.",
            metavar="DIR",
            autocompletion=completion.prepared,
        ),
    ] = None,
    size: Annotated[
        int | None,
        option(_VIDEOS, "Scale frames to sides of N pixels.", min=8, metavar="N"),
    ] = None,
    crop: Annotated[
        str | None,
        option(
            _VIDEOS,
            "Cut out the square at the center before scaling (crop-resize) or after it "
            "(resize-crop).",
            metavar="NAME",
        ),
    ] = None,
    flip: Annotated[
        bool | None, option(_VIDEOS, "Encode mirrored videos, too, or only the videos as they are.")
    ] = None,
    vae: Annotated[
        str | None,
        option(
            _AUTOENCODER,
            "Encode with this autoencoder: an id of the Hugging Face hub, a folder, or `embedded` "
            "for the small one in the package.",
            metavar="PATH",
        ),
    ] = None,
    preview: Annotated[
        int,
        option(
            _AUTOENCODER,
            "Write this many videos beside their reconstructions, too, as mp4.",
            min=0,
            metavar="N",
        ),
    ] = 0,
    verify: Annotated[
        bool, option(_INSTEAD, "Check what is encoded, and encode nothing.", "--verify")
    ] = False,
    info: Annotated[
        bool, option(_INSTEAD, "Describe what is encoded, and encode nothing.", "--info")
    ] = False,
    batch: Annotated[
        int | None,
        option(SPEED, "Encode this many frames at a time; 16 by default.", min=1, metavar="N"),
    ] = None,
    workers: Annotated[
        int | None,
        option(
            SPEED,
            "Decode this many videos in parallel, with Ray in each of its workers.",
            min=1,
            metavar="N",
        ),
    ] = None,
    engine: EngineName = LOCAL,
    gpus_per_worker: GpusPerWorker = None,
    out: Annotated[
        Path | None,
        option(
            OUTPUT,
            "Write to this folder; by default one in --latents-root that is named after data set, "
            "size and autoencoder.",
            metavar="DIR",
        ),
    ] = None,
    data_root: DataRoot = Path("data"),
    latents_root: LatentsRoot = Path("latents"),
) -> object:
    """Encode every frame of a prepared data set into latents, and every caption, once.

    Examples:
      latte encode-latents --preset folder --preview 4
      latte encode-latents --preset ucf101 --vae ./sd-vae-ft-ema

    Training then reads latents instead of decoding videos. Run the same command
    again to continue after an interruption.
    """
    with error_boundary() as console, ExitStack() as stack:
        chosen = engine_of(engine, console, gpus_per_worker)
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
        flags["data.flip"] = flip
        locations = Locations(data_root, latents_root)
        configs = configs_to_encode(preset, override or [], flags, locations, out)
        for latents, config in configs.items():
            locations.fetch(config)
            checks.check_output(latents)
            if verify or info:
                checks.check_latents(latents)
            if not info:  # which does without the data set
                checks.check_prepared(locations.data(config))
                if not verify:
                    checks.check_autoencoder(config)
        from latte_cli.commands import encode_latents as command

        opened = stack.enter_context(chosen)
        options = command.EncodeOptions(out, batch or 16, workers, preview, verify, info, opened)
        for number, config in enumerate(configs.values(), 1):
            result = command.run(config, locations, console, options)
            if result is not None and number < len(configs):
                command.raise_if_wrong(result)
                console.info(result.told)
        if result is not None:
            print_result(console, result)
            command.raise_if_wrong(result)
            incomplete = any(getattr(result, name, 0) for name in ("missing", "missing_texts"))
            next_steps.say_next(
                console,
                f"{result.told} {'Encode these' if incomplete else 'Train on them'} next:",
                typed_again("--info")
                if incomplete
                else next_steps.after_encode(preset, config, locations, latents),
            )
        return result
