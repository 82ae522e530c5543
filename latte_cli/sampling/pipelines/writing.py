"""A trained text-to-video network as a whole pipeline, which diffusers' `LattePipeline` loads."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from latte_cli.config import Config
from latte_cli.models import LatteT2V
from latte_cli.models.exporting import write_diffusers
from latte_cli.runtime.files import atomic_folder, write_text
from latte_cli.sampling.pipelines.files import INDEX, SAMPLING, PipelineFiles, SamplingDefaults
from latte_cli.sampling.pipelines.trained import scheduler_config
from latte_cli.vae.autoencoders import load_autoencoder

_COPIED = ("tokenizer", "text_encoder")


def write_pipeline(model: LatteT2V, config: Config, folder: Path) -> None:
    """Write network, text encoder, tokenizer, autoencoder, noise schedule and sampling defaults.

    Args:
        model: the network.
        config: that it was trained with: text.path, vae.path, diffusion and sample are read.
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
        defaults = SamplingDefaults(config.sample.steps, config.sample.guidance)
        write_text(part / SAMPLING, _json(asdict(defaults)))
        write_text(part / INDEX, _json(index))


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=2) + "\n"
