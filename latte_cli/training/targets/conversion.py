"""Weights of another objective to begin a flow or a flow map from."""

from pathlib import Path
from typing import Any

from latte_cli.checkpoints.folder import read_checkpoint_tree
from latte_cli.config import Config
from latte_cli.config.locations import weights_path
from latte_cli.models.reading import is_latte_folder
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import CheckpointError
from latte_cli.sampling.pipelines.files import PipelineFiles
from latte_cli.sampling.pipelines.scheduler import OBJECTIVES
from latte_cli.training.resuming import config_to_resume

_PUBLISHED = "eps"


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
            predicts what cannot be converted.
    """
    objective = config.diffusion.objective
    if config.train.init is None or objective not in ("flow", "flow-map"):
        return config
    resumed = config_to_resume(run, how)
    output = resumed.diffusion.output if resumed else _output_of(weights_path(config.train.init))
    if output == config.diffusion.output:
        return config
    if output is not None and resumed is None:
        console.info(
            f"{config.train.init} predicts {output}: it is kept so, and its output converted to "
            f"the velocity that {objective} learns (diffusion.output={output})"
        )
    diffusion = config.diffusion.model_copy(update={"output": output})
    return config.model_copy(update={"diffusion": diffusion})


def _output_of(init: Path) -> Any:
    """`eps` or `v`; None if the network predicts the velocity."""
    if is_latte_folder(init):
        section = read_checkpoint_tree(init).get("diffusion") or {}
    else:
        section = {"objective": _objective_of_pipeline(init)}
    objective = section.get("objective", _PUBLISHED)
    return section.get("output") if objective in ("flow", "flow-map") else objective


def _objective_of_pipeline(init: Path) -> str:
    """What a pipeline's scheduler says, of the folder itself or of its `transformer`."""
    for folder in (init, init.parent) if init.name == "transformer" else (init,):
        if (folder / "scheduler").is_dir():
            scheduler = PipelineFiles(str(folder), is_whole=False).scheduler_config()
            predicted = scheduler.get("prediction_type", "epsilon")
            if predicted in OBJECTIVES:
                return OBJECTIVES[predicted]
            raise CheckpointError(
                f"{folder}: its network predicts {predicted}, which cannot be converted",
                hint=f"begin from one that predicts one of {', '.join(OBJECTIVES)}",
            )
    return _PUBLISHED
