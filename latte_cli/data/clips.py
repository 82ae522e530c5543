"""Training batches as a pure function of (seed, step, index): nothing to save, exact on resume."""

# Axes: b clips, f frames, i images, c latent channels, h w latent size.

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from latte_cli.config import Config
from latte_cli.data.table import NO_LABEL, VideoTable
from latte_cli.errors import DataError
from latte_cli.randomness import seeded
from latte_cli.vae import Moments


@dataclass(frozen=True)
class Batch:
    """Clips and all the randomness that a training step spends on them.

    Attributes:
        x_start: scaled latents, (b, f + i, c, h, w) float32: a clip's frames, then images.
        noise: standard normal, shaped as x_start.
        t: timesteps, (b,) long.
        y: labels, some replaced by the null label, (b,) long; None for an unconditional network.
        y_image: the images' labels, (b, i) long, as y; None without images or labels.
        num_images: how many of the frames are images of joint training.
    """

    x_start: Tensor
    noise: Tensor
    t: Tensor
    y: Tensor | None
    y_image: Tensor | None = None
    num_images: int = 0

    @property
    def cond(self) -> dict[str, Any]:
        """What the network is told beside the timestep, as its keyword arguments."""
        labels = {"y": self.y, "y_image": self.y_image}
        told = {name: value for name, value in labels.items() if value is not None}
        return {**told, "num_images": self.num_images}

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device, copied without waiting."""
        return self._with_each(lambda value: value.to(device, non_blocking=True))

    def pinned(self) -> "Batch":
        """The same batch in memory that a GPU can copy from without waiting."""
        return self._with_each(Tensor.pin_memory)

    def _with_each(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        return replace(
            self,
            x_start=function(self.x_start),
            noise=function(self.noise),
            t=function(self.t),
            y=None if self.y is None else function(self.y),
            y_image=None if self.y_image is None else function(self.y_image),
        )


class ClipStore(Protocol):
    """Videos that clips are cut from: encoded ones, or ones that are decoded when asked for."""

    folder: Path
    table: VideoTable

    @property
    def flips(self) -> bool:
        """Whether mirrored views can be had."""

    def clip(self, number: int, frames: range, *, flip: bool = False) -> Moments:
        """The posterior of some frames of the n-th video, each part (f, c, h, w) float32."""


class _Told(NamedTuple):
    """What is known of a clip of a batch beside its latents.

    Attributes:
        t: timestep.
        videos: numbers of the clip's video and of those of its images.
        labels: of the same.
    """

    t: int
    videos: list[int]
    labels: list[int]


class ClipSampler:
    """Draws training clips: random video, window, mirror image and posterior sample.

    Args:
        store: the videos.
        config: data.frames, interval, short, flip, split, num_images and workers, train.seed and
            class_dropout are read.
        scaling_factor: diffusion sees latents times this.

    Raises:
        DataError: if no video of the split is long enough, a label is out of the network's range,
            or mirrored views are asked for and cannot be had.
    """

    def __init__(self, store: ClipStore, config: Config, scaling_factor: float) -> None:
        self.store = store
        self.config = config
        self.scaling_factor = scaling_factor
        self.null_label = config.model.num_classes
        table, data, side = store.table, config.data, config.latent_size
        self._shape = data.frames + data.num_images, config.vae.latent_channels, side, side
        chosen = (
            np.ones(len(table), bool) if data.split == "all" else table.where("split", data.split)
        )
        shortest = data.frames if data.short == "slow" else data.window
        self._of_split = np.flatnonzero(chosen)
        self.videos = np.flatnonzero(chosen & (table.frames >= shortest))
        self.too_short = len(self._of_split) - len(self.videos)
        self._check(int(table.frames[self._of_split].max(initial=0)), shortest)
        self._pool = ThreadPoolExecutor(data.workers, thread_name_prefix="clips")

    def batch(self, step: int, indices: Sequence[int] | None = None) -> Batch:
        """The clips of one training step.

        Args:
            step: its number.
            indices: which of the step's `train.batch_size` clips; by default all.
        """
        asked = range(self.config.train.batch_size) if indices is None else indices
        x_start = torch.empty(len(asked), *self._shape)
        noise = torch.empty_like(x_start)
        # Rows are drawn where they are to lie: copying them together costs as much as drawing.
        rows = list(self._pool.map(partial(self._row, step), asked, x_start, noise))
        timesteps = torch.tensor([row.t for row in rows])
        y, y_image = torch.tensor([row.labels for row in rows]).tensor_split([1], dim=1)
        told = self.null_label is not None
        return Batch(
            x_start=x_start,
            noise=noise,
            t=timesteps,
            y=y[:, 0] if told else None,
            y_image=y_image if told and y_image.numel() else None,
            num_images=self.config.data.num_images,
        )

    def names(self, step: int) -> list[list[str]]:
        """For each clip of a step the path of its video, then those of its images."""
        space = torch.empty(2, *self._shape)
        rows = [self._row(step, index, *space) for index in range(self.config.train.batch_size)]
        return [[str(self.store.table.row(n)["path"]) for n in row.videos] for row in rows]

    def _row(self, step: int, index: int, x_start: Tensor, noise: Tensor) -> _Told:
        """Fill in one clip and its images.

        Args:
            step: the training step's number.
            index: of the clip in the step's batch.
            x_start: its latents, (f + i, c, h, w), written here.
            noise: likewise.
        """
        data, train = self.config.data, self.config.train
        generator = seeded(train.seed, step, index)

        def below(limit: int) -> int:
            return int(torch.randint(limit, (), generator=generator))

        number = int(self.videos[below(len(self.videos))])
        self._draw(number, generator, x_start[: data.frames], noise[: data.frames])
        t = below(self.config.diffusion.num_timesteps)
        videos, labels = [number], [self._label(number, generator)]
        for at in range(data.frames, data.frames + data.num_images):
            # Each from a video of its own choice, so that images show more than the clip does.
            number = int(self._of_split[below(len(self._of_split))])
            self._draw(number, generator, x_start[at : at + 1], noise[at : at + 1])
            videos.append(number)
            labels.append(self._label(number, generator))
        return _Told(t, videos, labels)

    def _draw(
        self, number: int, generator: torch.Generator, x_start: Tensor, noise: Tensor
    ) -> None:
        """A random window of a video, sampled from its posterior and scaled, and noise."""
        num_frames, length = len(x_start), int(self.store.table.frames[number])
        interval = min(self.config.data.interval, (length - 1) // max(1, num_frames - 1))
        window = (num_frames - 1) * interval + 1
        start = int(torch.randint(length - window + 1, (), generator=generator))
        flip = bool(torch.randint(2, (), generator=generator)) and self.config.data.flip
        moments = self.store.clip(number, range(start, start + window, max(1, interval)), flip=flip)
        x_start.normal_(generator=generator).mul_(moments.std).add_(moments.mean)
        x_start.mul_(self.scaling_factor)
        noise.normal_(generator=generator)

    def _label(self, number: int, generator: torch.Generator) -> int:
        """The video's label, or now and then the null label."""
        dropped = float(torch.rand((), generator=generator)) < self.config.train.class_dropout
        if dropped and self.null_label is not None:
            return self.null_label
        return int(self.store.table.labels[number])

    def _check(self, longest: int, shortest: int) -> None:
        data, folder = self.config.data, self.store.folder
        if not longest:
            raise DataError(
                f"{folder}: no videos of the split `{data.split}`", hint="-o data.split=all"
            )
        if not len(self.videos):
            raise DataError(
                f"{folder}: no video is as long as a clip ({data.frames} frames, every "
                f"{data.interval}: {shortest} source frames); the longest has {longest}",
                hint="lower data.interval or data.frames, or set data.short=slow",
            )
        if data.flip and not self.store.flips:
            raise DataError(
                f"{folder}: mirrored views were not encoded, data.flip asks for them",
                hint="-o data.flip=false, or encode again with --flip",
            )
        if self.null_label is not None:
            self._check_labels(self.null_label)

    def _check_labels(self, num_classes: int) -> None:
        drawn = self._of_split if self.config.data.num_images else self.videos
        labels = self.store.table.labels[drawn]
        if (labels == NO_LABEL).any():
            raise DataError(
                f"{self.store.folder}: videos without a label, model.condition is class",
                hint="prepare with --labels, or set model.condition=none",
            )
        worst = int(labels.max())
        if worst >= num_classes:
            raise DataError(
                f"{self.store.folder}: label {worst}, model.num_classes is {num_classes}",
                hint=f"-o model.num_classes={worst + 1}",
            )
