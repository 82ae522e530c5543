"""`latte prepare`: the command that makes data sets."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from latte_cli.cli import checks
from latte_cli.cli.boundary import error_boundary, print_result
from latte_cli.cli.engines import LOCAL, EngineName, engine_of
from latte_cli.cli.options import OUTPUT, SPEED, DataRoot, option, path_or_url
from latte_cli.cli.setup import completion
from latte_cli.cli.usage import next_steps
from latte_cli.cli.usage.arguments import choose_dataset
from latte_cli.runtime.errors import ConfigError
from latte_cli.sources import DATASETS

_VIDEOS = "Videos"
_TABLE = "Table of captions (captions)"
_SHAPES = "Generated videos (shapes)"

_OWNERS = {
    **dict.fromkeys(("--source", "--keep-pixels"), "videos on disk"),
    "--labels": "folder",
    **dict.fromkeys(("--video-column", "--caption-column"), "captions"),
    **dict.fromkeys(("--count", "--size", "--seed"), "shapes"),
}
"""The data set that each option of `latte prepare` is for."""

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
            "Required, except for shapes. Read the videos from this folder, archive or table, or "
            "from a URL such as s3://BUCKET/FOLDER.",
            parser=path_or_url,
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
    video_column: Annotated[
        str | None,
        option(
            _TABLE,
            "Read the videos from the column of this name; by default from one of the usual names.",
            metavar="NAME",
        ),
    ] = None,
    caption_column: Annotated[
        list[str] | None,
        option(
            _TABLE,
            "Read the captions from the column of this name. May be given several times: every "
            "caption of a video is kept.",
            metavar="NAME",
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
        int | None,
        option(
            SPEED,
            "Decode this many files in parallel; by default as many as there are CPUs, with Ray "
            "one in each of its workers.",
            min=1,
            metavar="N",
        ),
    ] = None,
    engine: EngineName = LOCAL,
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
    with error_boundary() as console, ExitStack() as stack:
        chosen = engine_of(engine, console, on_cpus=True)
        dataset, source = choose_dataset(dataset, source, console)
        given = {
            "--source": source,
            "--keep-pixels": keep_pixels or None,
            "--labels": labels or None,
            "--video-column": video_column,
            "--caption-column": caption_column or None,
            **{"--count": count, "--size": size, "--seed": seed},
        }
        _check_effects(dataset, given)
        out = out or data_root / dataset
        checks.check_output(out)
        from latte_cli.commands import prepare as command
        from latte_cli.config.locations import Locations

        opened = stack.enter_context(chosen)
        options = command.PrepareOptions(
            dataset=dataset,
            out=out,
            source=source,
            labels=labels,
            split=split,
            keep_pixels=keep_pixels,
            workers=workers,
            timeout_s=timeout,
            video_column=video_column,
            caption_columns=tuple(caption_column or ()),
            count=count or 512,
            size=size or 64,
            seed=seed or 0,
            engine=opened,
        )
        result = command.run(options, console)
        print_result(console, result)
        next_steps.say_next(
            console,
            f"{result.told} Encode them as latents next:",
            next_steps.after_prepare(dataset, out, Locations(data_root), size),
        )
        return result


def _check_effects(dataset: str, given: Mapping[str, object]) -> None:
    """Check that all options of `latte prepare` have an effect on this data set.

    Args:
        dataset: the data set.
        given: the value of each option by its name; None: not given.

    Raises:
        ConfigError: if one has none.
    """
    for name, owner in _OWNERS.items():
        has_effect = owner == dataset or (owner == "videos on disk" and dataset != "shapes")
        if given.get(name) is not None and not has_effect:
            raise ConfigError(
                f"{name} is for {owner}, and has no effect on {dataset}",
                hint=f"leave {name} out",
            )
