"""Opening a run in TensorBoard, W&B or Trackio, and the names of TensorBoard's curves."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from latte_cli.config import Config
from latte_cli.runtime.errors import ConfigError

EVALUATED = "eval_"
"""Prefix of an evaluation's metrics."""

_PROJECT = "latte"
_GROUPS = {"loss": "loss", "mse": "loss", "vlb": "loss", "val_loss": "held-out loss"}
_GROUPS_BY_QUARTER = {"loss": "loss by noise", "val_loss": "held-out loss by noise"}


@dataclass(frozen=True)
class TrackerRun:
    """A run that is open in a tracker.

    Attributes:
        log: adds a row, of which no value is None.
        finish: writes what is buffered.
        hides: whether opening it again hides what it has of later steps.
    """

    log: Callable[[Mapping[str, float]], object]
    finish: Callable[[], object]
    hides: bool = False


def check_library(tracker: str) -> None:
    """Raise ConfigError if the library of `train.tracker` cannot be imported."""
    if tracker == "none":
        return
    try:
        import_module("torch.utils.tensorboard" if tracker == "tensorboard" else tracker)
    except ImportError as error:
        raise ConfigError(
            f"train.tracker is {tracker}, which cannot be imported ({error})",
            hint=f"pip install 'latte-cli[{tracker}]', or -o train.tracker=none: metrics.jsonl "
            "holds the same numbers",
        ) from error


def open_tensorboard(run: Path, number: str, config: Config, step: int) -> TrackerRun:
    """Go on with event files after a step: what they hold of later ones is hidden."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1 if step else None)

    def log(row: Mapping[str, float]) -> None:
        for key, value in row.items():
            if key != "step":
                writer.add_scalar(_curve_name(key), value, int(row["step"]))
        writer.flush()

    return TrackerRun(log, writer.close, hides=True)


def open_wandb(run: Path, number: str, config: Config, step: int) -> TrackerRun:
    """Open a run of W&B, in the run's folder unless WANDB_MODE is online."""
    import wandb

    mode: Any = os.environ.get("WANDB_MODE", "offline")  # W&B says what it does not know
    opened = wandb.init(
        project=os.environ.get("WANDB_PROJECT", _PROJECT),
        id=number,
        name=run.name,
        dir=run,
        config=config.model_dump(),
        mode=mode,
        resume="allow",
        settings=wandb.Settings(console="off", silent=True),  # the console is ours
    )
    opened.define_metric("*", step_metric="step")

    def log(row: Mapping[str, float]) -> None:
        opened.log(dict(row))

    return TrackerRun(log, opened.finish)


def open_trackio(run: Path, number: str, config: Config, step: int) -> TrackerRun:
    """Open a run of Trackio, on this machine unless TRACKIO_SPACE_ID names a place."""
    import trackio

    name = f"{run.name}-{number}"  # by which it is found again
    values = config.model_dump()
    opened = trackio.init(_PROJECT, name=name, config=values, resume="allow", embed=False)

    def log(row: Mapping[str, float]) -> None:
        opened.log({k: v for k, v in row.items() if k != "step"}, step=int(row["step"]))

    return TrackerRun(log, trackio.finish)  # unlike the run's own, says nothing at exit


OPEN = {"tensorboard": open_tensorboard, "wandb": open_wandb, "trackio": open_trackio}
"""What opens a run, by `train.tracker`: given its folder, its number there, config and step."""


def _curve_name(key: str) -> str:
    """A curve's name: its group, then itself."""
    plain, _, quarter = key.rpartition("_q")
    if plain in _GROUPS_BY_QUARTER:
        return f"{_GROUPS_BY_QUARTER[plain]}/quarter {quarter}"
    if key.startswith(EVALUATED):
        return f"evaluation/{key.removeprefix(EVALUATED)}"
    return f"{_GROUPS.get(key, 'run')}/{key}"
