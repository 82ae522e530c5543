"""Which checkpoint to sample from, and under which configuration."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from latte_cli.checkpoints.folder import (
    FOR_SAMPLING,
    find_corruption,
    list_checkpoints,
    list_steps,
    read_checkpoint_tree,
    step_of,
)
from latte_cli.checkpoints.names import last_stage
from latte_cli.checkpoints.remote_runs import fetch_checkpoint, fetch_run
from latte_cli.config import (
    Config,
    drop_other_sampling,
    load_config,
    objective_of,
    overlay,
    read_tree,
)
from latte_cli.config.locations import EMBEDDED, Locations, shipped_network, weights_path
from latte_cli.runtime.console import Console
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.errors import CheckpointError, ConfigError
from latte_cli.runtime.remote.urls import local_path


def choose_checkpoint(
    console: Console,
    preset: str | None,
    checkpoint: str | None,
    overrides: Iterable[str] | None,
    flags: Mapping[str, Any],
    runs_root: Path,
    run: str | None,
) -> tuple[Config, Path]:
    """The checkpoint that a command's options name, and the configuration to sample under.

    A checkpoint folder has a configuration of its own. It is used if no preset is given, or if the
    checkpoint is of the preset's own run, which may have been trained with other values; its
    section `diffusion` is always used, and its classes unless the preset sets them. If the preset
    has no run and none was named, the network that ships with the preset is used.

    Args:
        console: shows warnings about broken checkpoints.
        preset: name or YAML file; None: the checkpoint's own configuration.
        checkpoint: path, also of a run, or `embedded`; None: the newest whole one of the run.
        overrides: `KEY=VALUE`.
        flags: values by dotted key; None: not given.
        runs_root: folder of all runs.
        run: name of a run; None: the preset's.

    Raises:
        ConfigError: on an unknown preset, key or value.
        CheckpointError: if there is no checkpoint.
    """
    overrides = list(overrides or ())
    if checkpoint is not None and run is not None:
        raise ConfigError(
            f"--checkpoint {checkpoint} and --run {run} exclude each other",
            hint="--run takes the newest checkpoint of a run: leave one of them out",
        )
    if checkpoint not in (None, EMBEDDED):
        checkpoint = str(_here(str(checkpoint), console))
    if checkpoint not in (None, EMBEDDED) and not Path(str(checkpoint)).exists():
        raise CheckpointError(
            f"{checkpoint}: no such file or folder",
            hint="checkpoints are the folders runs/NAME/checkpoints/step-…",
        )
    if checkpoint not in (None, EMBEDDED):
        checkpoint = str(newest_of_run(Path(str(checkpoint)), console))
    if preset is None:
        if checkpoint == EMBEDDED:
            raise ConfigError(
                f"--checkpoint {EMBEDDED} needs --preset, too",
                hint="it is the network that ships with a preset, as with --preset shapes",
            )
        if checkpoint is None:
            raise ConfigError("nothing to sample from", hint="give --preset P or --checkpoint PATH")
        return overlay(_own_tree(Path(checkpoint)), overrides, flags), Path(checkpoint)
    config = load_config(preset, overrides, flags)
    folder = Locations(runs_root=runs_root).run(config, run)
    if checkpoint is None:
        fetch_run(folder, console)
    folder = last_stage(folder)
    path = Path(checkpoint) if checkpoint else _newest_whole(list_checkpoints(folder), console)
    if path is None and (run is not None or list_checkpoints(folder)):
        raise CheckpointError(
            f"{folder} holds no whole checkpoint",
            hint="the `latte train` command of that run resumes it",
        )
    if path is None or checkpoint == EMBEDDED:
        shipped = _shipped(config.name)
        return _with_shipped(config, shipped, overrides, flags), shipped
    own = _own_tree(path)
    if checkpoint:
        ours = config.model_dump()
        ours["model"] |= _conditioning(own, config)
        own = {**ours, **{key: own[key] for key in own if key == "diffusion"}}
    # Only what is set explicitly: the default sampler depends on the objective.
    tree = config.model_dump(include={"diffusion": {"objective"}})
    tree["sample"] = config.sample.model_dump(exclude_unset=True)
    drop_other_sampling(tree, objective_of(own))
    return overlay({**own, "sample": tree["sample"]}, overrides, flags), path


def _here(checkpoint: str, console: Console) -> Path:
    """The path of a checkpoint or a run; what lies elsewhere is fetched."""
    path = local_path(checkpoint)
    fetch_checkpoint(path, console)
    return path


def _conditioning(own: Mapping[str, Any], preset: Config) -> dict[str, Any]:
    """What a checkpoint's configuration says of its classes and the preset leaves open."""
    keys = [
        key
        for key in ("condition", "num_classes")
        if key not in preset.model.model_fields_set
        and (preset.model.condition == "class" or "condition" not in preset.model.model_fields_set)
    ]
    theirs = own.get("model")
    return {key: theirs[key] for key in keys if key in theirs} if isinstance(theirs, dict) else {}


def _own_tree(path: Path) -> dict[str, Any]:
    """The configuration in a checkpoint folder; empty for weights of other layouts."""
    is_ours = path.is_dir() and not is_diffusers_folder(path)
    return read_checkpoint_tree(path) if is_ours else {}


def _shipped(name: str) -> Path:
    """The checkpoint of a preset that ships inside the package."""
    shipped = shipped_network(name)
    if shipped.is_dir():
        if is_diffusers_folder(shipped):
            raise CheckpointError(
                f"`{name}` has no run of its own; what is shipped for it is a pipeline",
                hint='`latte t2v "a red circle moving up" --model embedded` samples from it; '
                f"`latte train --preset {name}` makes a run",
            )
        return shipped
    raise CheckpointError(
        f"`{name}` has no checkpoint: no run of its own, and none is shipped",
        hint=f"`latte train --preset {name}` makes one; or name another with --checkpoint",
    )


def _with_shipped(
    config: Config, shipped: Path, overrides: Sequence[str], flags: Mapping[str, Any]
) -> Config:
    """A preset's configuration, to sample from the network that ships with it.

    That may be of another preset, whose design, objective and sampling then apply.
    """
    own = _own_tree(shipped)
    if own["name"] == config.name:
        return config
    theirs = {key: own[key] for key in ("model", "diffusion", "train")}
    theirs["sample"] = load_config(own["name"]).sample.model_dump()
    return overlay({**config.model_dump(), **theirs}, overrides, flags)


def newest_of_run(path: Path, console: Console) -> Path:
    """The newest whole checkpoint of a run, which is reported; another path as it is.

    Of a run with stages it is that of the last stage that has begun.

    Args:
        path: of a run, of its folder `checkpoints` or `ema`, or of anything else.
        console: shows which step is taken, and warnings about broken checkpoints.

    Raises:
        CheckpointError: if a run has no whole checkpoint.
    """
    path = last_stage(path)
    if not is_run(path):
        return path
    places = (path / "checkpoints", path, path / "ema")
    steps = next((found for place in places if (found := list_steps(place))), [])
    newest = _newest_whole(steps, console)
    if newest is None:
        raise CheckpointError(
            f"{path} holds no whole checkpoint",
            hint="the `latte train` command of that run resumes it",
        )
    if is_main():
        console.info(f"{path}: step {step_of(newest)}, its newest whole checkpoint")
    return newest


def is_run(path: Path) -> bool:
    """Whether a path is the folder of a run, or of its checkpoints, rather than a checkpoint."""
    if not path.is_dir() or (path / FOR_SAMPLING[0]).exists():
        return False
    path = last_stage(path)
    if (path / "checkpoints").is_dir() or (path / "metrics.jsonl").is_file():
        return True
    # Samples lie in folders of steps, too.
    steps = (*list_steps(path), *list_steps(path / "ema"))
    return any((step / FOR_SAMPLING[1]).is_file() for step in steps)


def choose_init(init: str, run: Path, console: Console) -> str:
    """The weights that a run begins with, or began with if it has checkpoints.

    Args:
        init: path, or `embedded/NAME`; of another run, its newest whole checkpoint is taken.
        run: the folder of the run, which may not exist yet.
        console: shows which step is taken.

    Raises:
        CheckpointError: if the other run has no whole checkpoint, or no such network ships.
    """
    if weights_path(init) != Path(init) or not list_checkpoints(run):
        return choose_weights(init, console)
    recorded = run / "config.yaml"
    train = read_tree(recorded).get("train") if is_run(Path(init)) and recorded.is_file() else None
    began_with = train.get("init") if isinstance(train, dict) else None
    return str(began_with or init)


def choose_weights(path: str, console: Console) -> str:
    """The weights that a path or `embedded/NAME` means: of a run, its newest whole checkpoint.

    Raises:
        CheckpointError: if the run has none, or no such network ships.
    """
    if weights_path(path) != Path(path):
        return path
    return str(newest_of_run(Path(path), console))


def _newest_whole(checkpoints: Sequence[Path], console: Console) -> Path | None:
    """The newest of some checkpoints whose files for sampling are whole."""
    for path in reversed(checkpoints):
        broken = find_corruption(path, FOR_SAMPLING)
        if broken is None:
            return path
        console.warning(f"{broken}; trying the checkpoint before it")
    return None


def is_diffusers_folder(path: Path) -> bool:
    """Whether a folder has diffusers' layout, of a network or of a pipeline."""
    ours = (path / "config.yaml").is_file()
    return not ours and any((p / "config.json").is_file() for p in (path, path / "transformer"))


NO_TEXT = "give the checkpoint of a class-conditional or unconditional network"
"""The hint where a text-to-video network cannot be used."""


def refuse_diffusers_folder(path: Path) -> None:
    """Raise CheckpointError for a folder in diffusers' layout."""
    if is_diffusers_folder(path):
        raise CheckpointError(
            f"{path} is in diffusers' layout, as text-to-video networks are, "
            "which cannot be used here",
            hint=NO_TEXT,
        )
