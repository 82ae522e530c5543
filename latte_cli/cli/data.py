"""The commands that make data sets and latents."""

from pathlib import Path
from typing import Annotated

import typer

from latte_cli.cli import checks
from latte_cli.cli.boundary import error_boundary, print_result
from latte_cli.cli.options import (
    NETWORK,
    OUTPUT,
    SPEED,
    DataRoot,
    LatentsRoot,
    Overrides,
    nonempty_path,
    option,
)
from latte_cli.cli.setup import completion
from latte_cli.cli.usage import next_steps
from latte_cli.cli.usage.arguments import choose_dataset
from latte_cli.cli.usage.typed_words import typed_again
from latte_cli.runtime.cpus import usable_cpus
from latte_cli.runtime.errors import ConfigError
from latte_cli.sources import DATASETS

_VIDEOS = "Videos"
_SHAPES = "Generated videos (shapes)"
_AUTOENCODER = "Autoencoder"
_INSTEAD = "Instead of encoding"

app = typer.Typer()


@app.command()
def prepare(
    dataset: Annotated[
        str,
        typer.Argument(
            help=f"What to prepare: {', '.join(DATASETS)}. `folder` stands for any videos, "
            "`captions` for a table of videos and captions, and `shapes` is generated. The path "
            "of a folder or a table may stand here, too.",
            autocompletion=completion.datasets,
        ),
    ],
    source: Annotated[
        Path | None,
        option(
            _VIDEOS,
            "Required, except for shapes. Read the videos from this folder, archive or table.",
            parser=nonempty_path,
            metavar="PATH",
        ),
    ] = None,
    split: Annotated[
        str,
        option(
            _VIDEOS,
            "Take the videos of one split, train or test, or all of them.",
            metavar="NAME",
            autocompletion=completion.choices("train", "test", "all"),
        ),
    ] = "all",
    labels: Annotated[
        bool,
        option(_VIDEOS, "Take the names of sub-folders as classes (for `folder`).", "--labels"),
    ] = False,
    keep_pixels: Annotated[
        bool,
        option(
            _VIDEOS,
            "Take pixels as they are stored, also where players stretch them because they are "
            "not square.",
            "--keep-pixels",
        ),
    ] = False,
    timeout: Annotated[
        float | None,
        option(
            _VIDEOS,
            "Reject a file that yields no frame for this many seconds.",
            min=1,
            metavar="SECONDS",
        ),
    ] = None,
    count: Annotated[
        int | None,
        option(_SHAPES, "Generate this many videos; 512 by default.", min=8, metavar="N"),
    ] = None,
    size: Annotated[
        int | None,
        option(
            _SHAPES, "Generate frames with sides of N pixels; 64 by default.", min=16, metavar="N"
        ),
    ] = None,
    seed: Annotated[
        int | None,
        option(
            _SHAPES,
            "Generate other videos from another random seed; 0 by default.",
            min=0,
            metavar="N",
        ),
    ] = None,
    workers: Annotated[
        int, option(SPEED, "Decode this many files in parallel.", min=1, metavar="N")
    ] = usable_cpus(),
    out: Annotated[
        Path | None,
        option(
            OUTPUT,
            "Write the data set to this folder; by default DATASET inside --data-root.",
            metavar="DIR",
        ),
    ] = None,
    data_root: DataRoot = Path("data"),
) -> object:
    """Decode and check every video, and write a manifest of the valid ones.

    Examples:
      latte prepare folder --source ~/Videos      # any videos of your own
      latte prepare ucf101 --source UCF101.rar    # a data set of the paper

    Videos that are rejected are listed in rejected.jsonl with the reason. Run
    the same command again to continue after an interruption, or to check only
    new files.
    """
    with error_boundary() as console:
        dataset, source = choose_dataset(dataset, source, console)
        checks.check_prepare(
            dataset, source, labels, keep_pixels, count=count, size=size, seed=seed
        )
        out = out or data_root / dataset
        checks.check_output(out)
        from latte_cli.commands import prepare as command
        from latte_cli.config.locations import Locations

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
        result = command.run(options, console)
        print_result(console, result)
        next_steps.say_next(
            console,
            f"{result.told} Encode them as latents next:",
            next_steps.after_prepare(dataset, out, Locations(data_root), size),
        )
        return result


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
        bool, option(_INSTEAD, "Check the latents that are there, and encode nothing.", "--verify")
    ] = False,
    info: Annotated[
        bool, option(_INSTEAD, "Describe the latents that are there, and encode nothing.", "--info")
    ] = False,
    batch: Annotated[
        int | None,
        option(SPEED, "Encode this many frames at a time; 16 by default.", min=1, metavar="N"),
    ] = None,
    workers: Annotated[
        int | None, option(SPEED, "Decode this many videos in parallel.", min=1, metavar="N")
    ] = None,
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
    """Encode every frame of a prepared data set into latents, once.

    Examples:
      latte encode-latents --preset folder --preview 4
      latte encode-latents --preset ucf101 --vae ./sd-vae-ft-ema

    Training then reads latents instead of decoding videos. Run the same command
    again to continue after an interruption.
    """
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

        options = command.EncodeOptions(out, batch or 16, workers, preview, verify, info)
        result = command.run(config, locations, console, options)
        if result is not None:
            print_result(console, result)
            command.raise_if_wrong(result)
            incomplete = getattr(result, "missing", 0) > 0
            next_steps.say_next(
                console,
                f"{result.told} {'Encode these' if incomplete else 'Train on them'} next:",
                typed_again("--info")
                if incomplete
                else next_steps.after_encode(preset, config, locations, latents),
            )
        return result
