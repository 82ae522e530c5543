"""A trained text-to-video network as a whole pipeline, which diffusers' `LattePipeline` loads."""

import json
import shutil
from pathlib import Path
from typing import Any

from latte_cli.config import Config
from latte_cli.config.sections import DiffusionConfig
from latte_cli.models import LatteT2V
from latte_cli.models.exporting import write_diffusers
from latte_cli.runtime.errors import ConfigError
from latte_cli.runtime.files import atomic_folder, write_text
from latte_cli.sampling.pipelines.files import INDEX, OBJECTIVES, PipelineFiles
from latte_cli.vae.autoencoders import load_autoencoder

_COPIED = ("tokenizer", "text_encoder")


def write_pipeline(model: LatteT2V, config: Config, folder: Path) -> None:
    """Write network, text encoder, tokenizer, autoencoder and noise schedule.

    Args:
        model: the network.
        config: that it was trained with: text.path, vae.path and diffusion are read.
        folder: appears whole or not at all.

    Raises:
        CheckpointError: if the text encoder or the autoencoder cannot be read.
        ConfigError: as `scheduler_config`.
    """
    scheduler = scheduler_config(config.diffusion)
    files = PipelineFiles(config.text.path, is_whole=False)
    vae: Any = load_autoencoder(config.vae.path)
    with atomic_folder(folder) as part:
        for name in _COPIED:
            shutil.copytree(files.part(name), part / name)
        vae.save_pretrained(part / "vae")
        write_text(part / "scheduler" / "scheduler_config.json", _json(scheduler))
        write_diffusers(model, part / "transformer")
        index = {
            "_class_name": "LattePipeline",
            "scheduler": ["diffusers", scheduler["_class_name"]],
            "text_encoder": ["transformers", "T5EncoderModel"],
            "tokenizer": ["transformers", "T5Tokenizer"],
            "transformer": ["diffusers", "LatteTransformer3DModel"],
            "vae": ["diffusers", type(vae).__name__],
        }
        write_text(part / INDEX, _json(index))


def scheduler_config(diffusion: DiffusionConfig) -> dict[str, Any]:
    """The configuration of diffusers' scheduler for a network's noise schedule.

    Raises:
        ConfigError: if diffusers' pipeline does not sample networks of this objective.
    """
    if diffusion.objective == "flow":
        return {
            "_class_name": "DPMSolverMultistepScheduler",
            "num_train_timesteps": diffusion.num_timesteps,
            "prediction_type": "flow_prediction",
            "use_flow_sigmas": True,
            "flow_shift": 1.0,
            "solver_order": 2,
            "final_sigmas_type": "zero",
        }
    names = {ours: theirs for theirs, ours in OBJECTIVES.items()}
    if diffusion.objective not in names:
        raise ConfigError(
            f"diffusers' LattePipeline samples networks that predict noise, v or a velocity, not "
            f"a {diffusion.objective}",
            hint="--to latte keeps it a checkpoint of this project",
        )
    return {
        "_class_name": "DDIMScheduler",
        "beta_start": diffusion.beta_start,
        "beta_end": diffusion.beta_end,
        "beta_schedule": "linear",
        "clip_sample": False,
        "num_train_timesteps": diffusion.num_timesteps,
        "prediction_type": names[diffusion.objective],
        "set_alpha_to_one": True,
        "steps_offset": 0,
    }


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=2) + "\n"
