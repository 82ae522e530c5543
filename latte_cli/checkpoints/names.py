"""Names of checkpoints: for people, and for the folders of what is made from them."""

import re
from pathlib import Path

from latte_cli.config.locations import asset

_STEP = re.compile(r"step-(\d+)")
_STAGE = re.compile(r"stage-(\d+)-.+")
_OF_A_RUN = ("checkpoints", "ema")


def run_and_step(checkpoint: Path) -> tuple[Path, int] | None:
    """The folder of a checkpoint's run, and its step; None if its path does not name a step.

    Outside of `RUN/checkpoints` and `RUN/ema` the folder around the checkpoint counts as its run.
    """
    step = _STEP.fullmatch(checkpoint.name)
    if step is None:
        return None
    around = checkpoint.parent
    if not around.name:  # a path within the current folder
        around = around.resolve()
    return around.parent if around.name in _OF_A_RUN else around, int(step[1])


def list_stages(run: Path) -> list[Path]:
    """The folders of a run's stages, in their order; none for a run without stages."""
    found = [
        (match, path) for path in run.glob("stage-*") if (match := _STAGE.fullmatch(path.name))
    ]
    return [path for _, path in sorted(found, key=lambda each: int(each[0][1])) if path.is_dir()]


def last_stage(run: Path) -> Path:
    """The last of a run's stages that has checkpoints; of a run without stages the run itself."""
    stages = list_stages(run)
    saved = [path for path in stages if any((path / "checkpoints").glob("step-*"))]
    return next(reversed(saved or stages), run)


def whole_run(run: Path) -> Path:
    """The folder of the run that a stage is part of; of a run without stages its own."""
    return run.parent if _STAGE.fullmatch(run.name) else run


def run_name(run: Path) -> str:
    """The name of a run by its folder; of a stage, the whole run's and its own."""
    run = run.resolve()
    return "-".join(run.parts[-2:]) if _STAGE.fullmatch(run.name) else run.name


def describe_checkpoint(checkpoint: Path) -> str:
    """Such as `step 400 of runs/shapes`, `the shipped network`, or the path of a file."""
    if is_shipped(checkpoint):
        return "the shipped network"
    if (found := run_and_step(checkpoint)) is not None:
        run, step = found
        return f"step {step} of {run}"
    return str(checkpoint)


def folder_name(checkpoint: Path) -> Path:
    """A relative path by which results of one checkpoint lie apart from those of others.

    `shapes/step-000400` for a checkpoint of the run `shapes`, with the stage between the two if it
    has stages, `shapes-fast/shipped` for a network that ships, `ucf101-pt` for a file
    `ucf101.pt`, and the name of any other folder.
    """
    if is_shipped(checkpoint):
        return Path(checkpoint.name, "shipped")
    if (found := run_and_step(checkpoint)) is not None:
        run, step = found
        run = run if run.name else run.resolve()
        stages = run.parts[-2:] if _STAGE.fullmatch(run.name) else (run.name,)
        return Path(*stages, f"step-{step:06d}")
    name = (checkpoint if checkpoint.name else checkpoint.resolve()).name
    return Path(name.replace(".", "-") if checkpoint.is_file() else name)


def is_shipped(checkpoint: Path) -> bool:
    """Whether a checkpoint is one inside the package."""
    return checkpoint.resolve().parent == asset("").resolve()
