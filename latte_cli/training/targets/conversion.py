"""Weights of another objective to begin a flow or a flow map from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latte_cli.checkpoints.folder import read_checkpoint_tree
from latte_cli.config import Config
from latte_cli.config.locations import weights_path
from latte_cli.models.reading import is_latte_folder
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import CheckpointError
from latte_cli.sampling.pipelines.files import PipelineFiles
from latte_cli.sampling.pipelines.scheduler import (
    OBJECTIVES,
    linear_schedule,
    nonlinear_schedule,
)
from latte_cli.training.resuming import config_to_resume

_PUBLISHED: Mapping[str, Any] = {"objective": "eps"}
_VELOCITY = ("flow", "flow-map")


def with_output_of_init(config: Config, run: Path, how: str, console: Console) -> Config:
    """The configuration with `diffusion.output` as `train.init` needs it, which is reported.

    A network that predicts noise or v is kept as it is, and its output is converted to a velocity:
    so training begins where that network ended. What the network of a pipeline predicts is said by
    its scheduler; other weights without a configuration are taken for published ones, which predict
    noise. A run that is resumed keeps what it has.

    Args:
        config: of the run.
        run: the run's folder.
        how: `--resume`.
        console: reports a conversion.

    Raises:
        CheckpointError: if the configuration of `train.init` cannot be read, or says that it
            predicts what cannot be converted, or at other noise levels.
    """
    objective, init = config.diffusion.objective, config.train.init
    if init is None:
        return config
    resumed, path = config_to_resume(run, how), weights_path(init)
    if objective not in _VELOCITY:
        if resumed is None and is_latte_folder(path) and _predicts(_diffusion_of(path)) is None:
            console.warning(
                f"{init} predicts a velocity, and diffusion.objective {objective} teaches it "
                "something else; -o diffusion.objective=flow goes on with what it predicts"
            )
        return config
    if resumed:
        output = resumed.diffusion.output
    else:
        theirs = _diffusion_of(path)
        output = _predicts(theirs)
        _check_noise_levels(config, theirs, output)
    if output == config.diffusion.output:
        return config
    if output is not None and resumed is None:
        console.info(
            f"{init} predicts {output}: it is kept so, and its output converted to "
            f"the velocity that {objective} learns (diffusion.output={output})"
        )
    diffusion = config.diffusion.model_copy(update={"output": output})
    return config.model_copy(update={"diffusion": diffusion})


def _check_noise_levels(config: Config, theirs: Mapping[str, Any], output: object) -> None:
    """Raise CheckpointError if timesteps meant other noise levels where `train.init` was trained.

    Args:
        config: of the run.
        theirs: values of `diffusion` that are known of `train.init`.
        output: what it predicts; None: the velocity, whose levels are those of its timesteps alone.
    """
    ours = config.diffusion.model_dump()
    keys = ["num_timesteps"] if output is None else ["num_timesteps", "beta_start", "beta_end"]
    other = {key: theirs[key] for key in keys if theirs.get(key, ours[key]) != ours[key]}
    if other:
        found = ", ".join(f"diffusion.{key} {value}" for key, value in other.items())
        here = ", ".join(f"{ours[key]}" for key in other)
        raise CheckpointError(
            f"{config.train.init} was trained with {found}, where this run has {here}",
            hint=" ".join(f"-o diffusion.{key}={value}" for key, value in other.items()),
        )


def _predicts(diffusion: Mapping[str, Any]) -> Any:
    """`eps` or `v`; None if a network trained with these values predicts the velocity."""
    objective = diffusion.get("objective", _PUBLISHED["objective"])
    return diffusion.get("output") if objective in _VELOCITY else objective


def _diffusion_of(init: Path) -> Mapping[str, Any]:
    """Values of `diffusion` that weights were trained with, as far as they are known."""
    if is_latte_folder(init):
        return read_checkpoint_tree(init).get("diffusion") or {}
    return _diffusion_of_pipeline(init)


def _diffusion_of_pipeline(init: Path) -> Mapping[str, Any]:
    """What a pipeline's scheduler says, of the folder itself or of its `transformer`."""
    for folder in (init, init.parent) if init.name == "transformer" else (init,):
        if (folder / "scheduler").is_dir():
            scheduler = PipelineFiles(str(folder), is_whole=False).scheduler_config()
            predicted = scheduler.get("prediction_type", "epsilon")
            if predicted not in OBJECTIVES:
                raise CheckpointError(
                    f"{folder}: its network predicts {predicted}, which cannot be converted",
                    hint=f"begin from one that predicts one of {', '.join(OBJECTIVES)}",
                )
            objective, schedule = OBJECTIVES[predicted], nonlinear_schedule(scheduler)
            if schedule is not None and objective != "flow":
                raise CheckpointError(
                    f"{folder}: its noise schedule {schedule}, which cannot be converted",
                    hint="begin from a network that was trained with a linear one",
                )
            return {"objective": objective, **linear_schedule(scheduler)}
    return _PUBLISHED
