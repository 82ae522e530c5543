"""The trainings of a command: a preset's stages in turn, or the one training of a preset."""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latte_cli.runtime.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from latte_cli.config import Config, StageConfig
    from latte_cli.config.locations import Locations
    from latte_cli.runtime.console import Console

_AUTO, _NEVER = "auto", "never"


@dataclass(frozen=True)
class Training:
    """A stage of a preset, or the whole of one without stages; either is an ordinary run.

    Attributes:
        config: of the run.
        locations: of its data and latents, and whose runs its folder lies among.
        run: its name; None: the preset's.
        resume: as of `latte train`.
        stage: its name; empty for a preset without stages.
        title: such as `stage 1 of 2, images`; empty likewise.
        begins_with: folder of the run of the stage before; None for the first one.
    """

    config: "Config"
    locations: "Locations"
    run: str | None
    resume: str
    stage: str = ""
    title: str = ""
    begins_with: Path | None = None

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.locations.run(self.config, self.run)

    @property
    def steps_saved(self) -> int | None:
        """The step of its newest checkpoint; None without one."""
        from latte_cli.checkpoints.folder import list_checkpoints, step_of

        found = list_checkpoints(self.folder)
        return step_of(found[-1]) if found else None

    @property
    def is_finished(self) -> bool:
        """Whether its last checkpoint is there, and whole."""
        from latte_cli.checkpoints.folder import FOR_SAMPLING, find_corruption, list_checkpoints

        if (self.steps_saved or 0) < self.config.train.steps:
            return False
        return find_corruption(list_checkpoints(self.folder)[-1], FOR_SAMPLING) is None

    @property
    def checked_config(self) -> "Config":
        """The configuration to check before any stage begins: of weights that there are by now."""
        init = None if self.begins_with is not None else self.config.train.init
        train = self.config.train.model_copy(update={"init": init})
        return self.config.model_copy(update={"train": train})


def find_trainings(
    preset: str,
    overrides: Sequence[str],
    flags: Mapping[str, Any],
    locations: "Locations",
    run: str | None,
    resume: str,
    console: "Console",
) -> list[Training]:
    """What a preset trains, in turn: its stages, each in a folder of its own, or the one run.

    Args:
        preset: its name or path.
        overrides: `KEY=VALUE`.
        flags: values by dotted key.
        locations: of the command.
        run: the name of the whole; None: the preset's.
        resume: as of `latte train`; a checkpoint's path is for the stage that it is of.
        console: shows what is fetched of a run that lies elsewhere.

    Raises:
        ConfigError: on a wrong preset or override; or if the run's folder has other stages.
    """
    from latte_cli.checkpoints.names import list_stages
    from latte_cli.checkpoints.remote_runs import fetch_checkpoint, fetch_run
    from latte_cli.config import load_config, load_stages

    stages = load_stages(preset, overrides, flags)
    config = stages[-1].config if stages else load_config(preset, overrides, flags)
    folder = locations.run(config, run)
    fetch_run(folder, console)
    if (init := (stages[0].config if stages else config).train.init) is not None:
        fetch_checkpoint(Path(init), console)
    names = [stage.folder for stage in stages]
    others = [path.name for path in list_stages(folder) if path.name not in names]
    if others or (stages and any((folder / "checkpoints").glob("step-*"))):
        there = f"the stages {', '.join(others)}" if others else "a run without stages"
        raise ConfigError(
            f"{folder} holds {there}; the preset has {', '.join(names) or 'no stages'}",
            hint="another --run begins a new one",
        )
    if not stages:
        return [Training(config, locations, run, resume)]
    in_folder = replace(locations, runs_root=folder)
    of_stage = [resume in (_AUTO, _NEVER) or name in Path(resume).parts for name in names]
    if not any(of_stage):
        raise ConfigError(
            f"--resume {resume} is no checkpoint of a stage of {folder}",
            hint="--init PATH begins the first stage from it",
        )
    chosen = [resume if is_named else _AUTO for is_named in of_stage]
    return [_training(n, stages, in_folder, chosen[n]) for n in range(len(stages))]


def _training(
    number: int, stages: Sequence["StageConfig"], locations: "Locations", resume: str
) -> Training:
    stage, before = stages[number], stages[number - 1].folder if number else None
    init = None if before is None else locations.runs_root / before
    config = stage.config
    if init is not None:
        train = config.train.model_copy(update={"init": str(init)})
        config = config.model_copy(update={"train": train})
    title = f"stage {number + 1} of {len(stages)}, {stage.name}"
    return Training(config, locations, stage.folder, resume, stage.name, title, init)


def still_to_do(trainings: Sequence[Training], console: "Console") -> list[Training]:
    """The trainings from the one on that was at work last; earlier ones are not looked at.

    Args:
        trainings: all, in turn.
        console: shows which are done.
    """
    begun = [n for n, each in enumerate(trainings) if each.steps_saved is not None]
    first = begun[-1] if begun else 0
    if trainings[first].is_finished and first + 1 < len(trainings):
        first += 1
    if trainings[0].resume == _NEVER:  # which each training checks for itself
        first = 0
    for each in trainings[:first]:
        if each.resume not in (_AUTO, _NEVER):
            raise CheckpointError(
                f"--resume {each.resume} is of a stage after which another has begun",
                hint=f"another --run, or delete {trainings[first].folder}",
            )
        at = "" if each.steps_saved is None else f" at step {each.steps_saved}"
        console.info(f"{each.title}: done{at}")
    return list(trainings[first:])


def check_networks(todo: Sequence[Training]) -> None:
    """Find what does not fit the networks of later stages, which would be found in days.

    Raises:
        ConfigError: if a pattern of `train.trainable` or `train.lora.targets` matches nothing.
    """
    if len(todo) == 1:
        return
    from latte_cli.config.stages import naming
    from latte_cli.training.planning.parameters import network_on_meta

    for each in todo:
        model = each.config.model
        if model.condition != "class" or model.num_classes is not None:  # else the videos decide
            with naming(each.stage):
                network_on_meta(each.config)


@contextmanager
def several_trainings(count: int) -> Iterator[None]:
    """Keep the processes of a command connected while it trains several times.

    Args:
        count: of trainings.
    """
    if count == 1:
        yield
        return
    from latte_cli.runtime.devices import pick_device
    from latte_cli.runtime.distributed import process_group

    with process_group(pick_device().type):
        yield


def forget_training() -> None:
    """Free what a training has left: its network, and code that was compiled for it."""
    import torch

    torch.compiler.reset()  # or the next networks soon reach the limit of compiled versions
    gc.collect()
