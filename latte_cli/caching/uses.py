"""What a schedule is to be used for, and the size of frames that a pipeline was trained on."""

import json
from dataclasses import replace
from pathlib import Path

from latte_cli.caching.keys import CacheKey, CacheUse, Conditions
from latte_cli.config import Config
from latte_cli.diffusion import Diffusion, build_sampler
from latte_cli.models.weights.trained import weights_checksum


def cache_use(checkpoint: Path, config: Config, frames: int | None = None) -> CacheUse:
    """What drawing from a checkpoint of labels, or of nothing, asks of a schedule.

    Args:
        checkpoint: a folder, or a file of weights.
        config: `diffusion` and `sample` are read, `data.size`, `data.frames` and the labels.
        frames: that the network sees at once; None: `data.frames`.

    Raises:
        ConfigError: if the sampler does not go with the objective or the number of steps.
    """
    sample, size = config.sample, config.data.size
    diffusion = Diffusion(**config.diffusion.model_dump())
    sampler = build_sampler(sample.sampler, diffusion, sample.steps, sample.eta)
    key = CacheKey(
        weights_checksum(checkpoint),
        sample.sampler,
        config.diffusion.objective,
        tuple(sampler.timesteps),
    )
    conditions = Conditions(1.0, frames or config.data.frames, (size, size), sample.eta)
    if config.model.num_classes is not None and sample.guidance != 1:
        conditions = replace(
            conditions,
            guidance=sample.guidance,
            guidance_interval=sample.guidance_interval,
            guided_channels=sample.guided_channels,
        )
    return CacheUse(key, (conditions,))


def trained_size(network: Path, autoencoder: Path) -> tuple[int, int] | None:
    """Height and width of a frame that a pipeline's network was trained on, pixels.

    Args:
        network: folder of the network, in diffusers' layout.
        autoencoder: folder of the one that decodes its latents.

    Returns:
        What their configurations say; None where they do not, or cannot be read.
    """
    try:
        side, levels = (
            json.loads((folder / "config.json").read_text(encoding="utf-8"))[name]
            for folder, name in ((network, "sample_size"), (autoencoder, "block_out_channels"))
        )
        pixels = int(side) * 2 ** (len(levels) - 1)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return pixels, pixels
