"""`latte similarity`: what goes on inside a network."""

from pathlib import Path
from typing import Annotated

import typer

from latte_cli.cli import checks
from latte_cli.cli.boundary import error_boundary, print_result
from latte_cli.cli.options import (
    NEEDED_WITHOUT_CHECKPOINT,
    NETWORK,
    OUTPUT,
    Batch,
    Checkpoint,
    Overrides,
    Overwrite,
    Run,
    RunsRoot,
    option,
)
from latte_cli.cli.setup import completion
from latte_cli.cli.usage import next_steps
from latte_cli.cli.usage.typed_words import typed_again

_MEASURED = "What is measured"
_SHOWN = "What is shown"

app = typer.Typer()


@app.command()
def similarity(
    clips: Annotated[
        list[Path],
        typer.Argument(metavar="CLIPS...", help="Videos, and folders of videos, to look at."),
    ],
    preset: Annotated[
        str | None,
        option(NETWORK, NEEDED_WITHOUT_CHECKPOINT, "--preset", "-p", metavar="NAME"),
    ] = None,
    checkpoint: Checkpoint = None,
    run: Run = None,
    override: Overrides = None,
    timestep: Annotated[
        list[int] | None,
        option(
            _MEASURED,
            "Measure at this timestep, the noise level from 0 to 999; by default the middle one. "
            "May be given several times.",
            metavar="N",
        ),
    ] = None,
    label: Annotated[
        str | None,
        option(
            _MEASURED,
            "Show the clips to the network as this class, by name or number; by default as none.",
            metavar="NAME",
            autocompletion=completion.labels,
        ),
    ] = None,
    count: Annotated[
        int | None,
        option(_MEASURED, "Take at most this many clips.", "-n", min=1, metavar="N"),
    ] = None,
    seed: Annotated[
        int | None, option(_MEASURED, "Add other noise by another seed.", min=0, metavar="N")
    ] = None,
    batch: Batch = None,
    out: Annotated[
        Path | None,
        option(
            OUTPUT,
            "Write the numbers and figures to this folder; by default similarity/RUN/step-N.",
            metavar="DIR",
        ),
    ] = None,
    overwrite: Overwrite = False,
    runs_root: RunsRoot = Path("runs"),
) -> object:
    """Measure the similarity of a clip's frames at each block of a network, and plot it.

    Examples:
      latte similarity clips --preset shapes
      latte similarity a.mp4 --checkpoint runs/mine --timestep 100

    This is the analysis of the paper's section 4.2: how alike the frames are,
    seen from inside the network.
    """
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
        result = command.run(config, console, options)
        print_result(console, result)
        other = 0 if result.timesteps[-1] else config.diffusion.num_timesteps - 1
        words = typed_again("--overwrite", timestep=other, out=f"{out}-t{other}")
        said = f"{result.picture} shows the similarities. This measures at another noise level:"
        next_steps.say_next(console, said, words)
        return result
