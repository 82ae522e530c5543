"""A network, batches and steps so small that they take milliseconds."""

from collections.abc import Sequence

import torch
from conftest import TINY

from latte_cli.config import Config, load_config
from latte_cli.data.batch import Batch
from latte_cli.diffusion import Diffusion
from latte_cli.training.state import TrainState
from latte_cli.training.step import StepMetrics, train_step


def small_config(**values: object) -> Config:
    """The tiny world's, in float32; double underscores stand for dots."""
    chosen = TINY | {"train.precision": "float32"}
    chosen |= {key.replace("__", "."): value for key, value in values.items()}
    return load_config("shapes", [f"{key}={value}" for key, value in chosen.items()])


def random_batch(config: Config, seed: int = 0) -> Batch:
    """A batch of noise as clips, with labels if the network takes them."""
    generator = torch.Generator().manual_seed(seed)
    clips, side = config.train.batch_size, config.latent_size
    x = torch.randn(2, clips, config.data.frames, 4, side, side, generator=generator)
    t = torch.randint(config.diffusion.num_timesteps, (clips,), generator=generator)
    classes = config.model.num_classes
    y = torch.randint(classes, (clips,), generator=generator) if classes else None
    return Batch(x[0], x[1], t, y)


def take_step(state: TrainState, config: Config, *batches: Batch) -> StepMetrics:
    """One step on micro-batches."""
    diffusion = Diffusion(**config.diffusion.model_dump())
    return train_step(state, batches, diffusion, config.train, torch.float32)


def split_batch(batch: Batch, parts: Sequence[range]) -> list[Batch]:
    """Micro-batches of a batch, by the indices of their clips."""
    return [
        Batch(
            batch.x_start[list(part)],
            batch.noise[list(part)],
            batch.t[list(part)],
            None if batch.y is None else batch.y[list(part)],
        )
        for part in parts
    ]
