"""Distillation: what is learned is the velocity that a trained network answers.

The clip's own velocity, noise - x_0, agrees with the best answer only on average. A teacher's has
no such noise, guidance can be part of it, and a network with classes can teach one that reads the
class in a caption (for flow maps see Sabour et al. 2025, "Align your flow", arXiv 2506.14603). A
flow map of few steps learns where the teacher's own short steps lead.
"""

# Axes: b clips, f frames, i images, c latent channels, h w latent size.

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latte_cli.checkpoints.folder import read_checkpoint_config, read_checkpoint_meta
from latte_cli.config import Config
from latte_cli.config.locations import weights_path
from latte_cli.config.train_section import TEACHER_ROUND
from latte_cli.data.batch import Batch
from latte_cli.data.table import NO_LABEL
from latte_cli.diffusion import Diffusion
from latte_cli.models import Latte
from latte_cli.models.loading import load_latte
from latte_cli.models.reading import is_latte_folder
from latte_cli.runtime.errors import CheckpointError, ConfigError, DataError
from latte_cli.training.targets.guidance import without_labels

Teacher = Callable[..., Tensor]
"""teacher(x_t, t, **cond) -> (b, f, c or more, h, w), a velocity."""

Key = tuple[int, int]
"""The number of a batch of the data, and of its micro-batch."""


class KeptAnswers:
    """What a teacher answered for the batches of a round, for the steps that draw them again.

    They are in the computer's memory, not in a GPU's, and in no checkpoint: a resumed run asks
    again, and is answered the same, bit for bit.
    """

    def __init__(self) -> None:
        self._answers: dict[Key, Tensor] = {}

    def find(self, key: Key) -> Tensor | None:
        """What was answered for this micro-batch; None if it was not asked in this round."""
        return self._answers.get(key)

    def keep(self, key: Key, answer: Tensor) -> None:
        """Keep an answer, and forget those of earlier rounds."""
        first = key[0] // TEACHER_ROUND * TEACHER_ROUND
        self._answers = {k: kept for k, kept in self._answers.items() if k[0] >= first}
        self._answers[key] = answer.cpu()

    def forget(self) -> None:
        """Forget all: of steps whose batches are not those of the data."""
        self._answers.clear()


def load_teacher(config: Config, device: torch.device) -> Latte | None:
    """The network of `train.teacher`, without gradients; None if there is none.

    Raises:
        CheckpointError: if it cannot be read, predicts no velocity, or has other classes.
        ConfigError: if there is none, and steps between `diffusion.map_levels` are to be learned.
    """
    if teacher_config(config) is None:
        return None
    assert config.train.teacher is not None
    model = load_latte(weights_path(config.train.teacher))
    return model.to(device).eval().requires_grad_(False)


def teacher_config(config: Config) -> Config | None:
    """The configuration of the network of `train.teacher`; None if there is none.

    Raises:
        CheckpointError: as `load_teacher`.
        ConfigError: likewise.
    """
    if config.train.teacher is None:
        if config.diffusion.map_levels is not None:
            raise ConfigError(
                "diffusion.map_levels is set, whose steps a teacher shows, but train.teacher is "
                "not",
                hint="-o train.teacher=RUN, or -o diffusion.map_levels=null",
            )
        return None
    path = weights_path(config.train.teacher)
    if not is_latte_folder(path):
        raise CheckpointError(
            f"train.teacher: {path} is no checkpoint of this project, whose config.yaml says what "
            "the network predicts",
            hint="name a checkpoint folder of a network trained with diffusion.objective=flow",
        )
    theirs = read_checkpoint_config(path)
    takes_text = config.model.condition == "text"
    same = {
        "diffusion.objective": (theirs.diffusion.objective, "flow"),
        "diffusion.output": (theirs.diffusion.output, None),
        "diffusion.num_timesteps": (
            theirs.diffusion.num_timesteps,
            config.diffusion.num_timesteps,
        ),
        "model.condition": (
            theirs.model.condition,
            "class" if takes_text else config.model.condition,
        ),
        "model.num_classes": (
            theirs.model.num_classes,
            theirs.model.num_classes if takes_text else config.model.num_classes,
        ),
        "vae.latent_channels": (theirs.vae.latent_channels, config.vae.latent_channels),
    }
    for key, (found, needed) in same.items():
        if found != needed:
            raise CheckpointError(
                f"train.teacher: {path} has {key} {found}, where {needed} is needed",
                hint="name another network, or -o train.teacher=null",
            )
    return theirs


def check_autoencoder(config: Config, fingerprint: str) -> None:
    """Check that a teacher learned latents of the same autoencoder.

    Args:
        config: of the run.
        fingerprint: of its autoencoder.

    Raises:
        CheckpointError: if they were of another.
    """
    if config.train.teacher is None:
        return
    theirs = read_checkpoint_meta(weights_path(config.train.teacher)).vae_fingerprint
    if theirs not in ("", fingerprint):  # empty: unknown
        raise CheckpointError(
            f"train.teacher: {config.train.teacher} learned latents of another autoencoder than "
            f"{config.vae.path}",
            hint="name another network, or encode the videos with the autoencoder of the teacher",
        )


def check_labels(
    teacher: Latte | None, labels: NDArray[np.signedinteger[Any]], folder: Path
) -> None:
    """Check that a teacher knows the labels of the videos that a network with text is trained on.

    Args:
        teacher: None: there is none.
        labels: of the videos.
        folder: of the latents, for messages.

    Raises:
        DataError: if videos have no label, or one that the teacher does not know.
    """
    if teacher is None:
        return
    count, lowest = teacher.null_label, int(labels.min(initial=0))
    if lowest == NO_LABEL or int(labels.max(initial=0)) >= (count or 0):
        found = "videos without a label" if lowest == NO_LABEL else f"label {labels.max()}"
        raise DataError(
            f"{folder}: {found}, but train.teacher answers for {count} labels",
            hint="name another network, or -o train.teacher=null",
        )


def for_teacher(batch: Batch, null_label: int | None) -> Batch:
    """The same clips with labels instead of captions, where a network that takes text is taught."""
    if batch.teacher_y is None:
        return batch
    assert null_label is not None, "the teacher is checked to have classes"
    y = torch.where(batch.teacher_y < 0, null_label, batch.teacher_y)
    return replace(batch, y=y, texts=None)


def teacher_shift(
    teacher: Teacher, batch: Batch, diffusion: Diffusion, guidance: float, null_label: int | None
) -> Tensor:
    """What makes the teacher's velocity of the clips' own; no gradient passes through it.

    Args:
        teacher: called as teacher(x_t, t, **batch.cond).
        batch: on the teacher's device, with labels for it.
        diffusion: the objective.
        guidance: scale of classifier-free guidance of its answers; 1 is none.
        null_label: for no class; None for a network without classes.

    Returns:
        Guided answer - (noise - x_0), (b, f + i, c, h, w) float32.
    """
    with torch.no_grad():
        x_t = diffusion.add_noise(batch.x_start, batch.t, batch.noise)
        found = _guided(teacher, batch, guidance, null_label)(x_t, batch.t)
        return found - (batch.noise - batch.x_start)


def teacher_path(
    teacher: Teacher,
    batch: Batch,
    diffusion: Diffusion,
    guidance: float,
    null_label: int | None,
    steps: int,
) -> Tensor:
    """Where the teacher leads the clips' noise; no gradient passes through it.

    By the two-step method of Adams and Bashforth, of order 2, after a first step by the midpoint
    method: k steps + 1 evaluations.

    Args:
        teacher: called as teacher(x_t, t, **batch.cond).
        batch: on the teacher's device, with labels for it.
        diffusion: the objective, with `map_levels`.
        guidance: scale of classifier-free guidance of its answers; 1 is none.
        null_label: for no class; None for a network without classes.
        steps: equal ones, from one of the k levels to the next.

    Returns:
        (b, k + 1, f, c, h, w) float32: the clips at the levels, from noise down, then clean.
    """
    velocity = _guided(teacher, batch, guidance, null_label)
    x, before, before_step = batch.noise, None, 1.0
    states = [x]
    with torch.no_grad():
        for start, end in diffusion.map_steps:
            length = (end - start) / steps
            step = length / diffusion.num_timesteps
            for number in range(steps):
                t = x.new_full((len(x),), start + number * length)
                now = velocity(x, t)
                if before is None:
                    x = x + step * velocity(x + step / 2 * now, t + length / 2)
                else:
                    x = x + step * (now + step / before_step / 2 * (now - before))
                before, before_step = now, step
            states.append(x)
    return torch.stack(states, dim=1)


def _guided(
    teacher: Teacher, batch: Batch, guidance: float, null_label: int | None
) -> Callable[[Tensor, Tensor], Tensor]:
    """The teacher's guided answers for a batch: of (x_t, t (b,)), shaped as x_t, float32."""
    batch = for_teacher(batch, null_label)
    without = None if null_label is None else without_labels(batch, null_label)

    def velocity(x_t: Tensor, t: Tensor) -> Tensor:
        def answer(asked: Batch) -> Tensor:
            return teacher(x_t, t, **asked.cond)[:, :, : x_t.shape[2]].float()

        given = answer(batch)
        if guidance == 1 or batch.y is None or without is None:
            return given
        null = answer(without)
        return null + guidance * (given - null)

    return velocity
