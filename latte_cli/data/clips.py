"""Training batches as a pure function of (seed, step, index): nothing to save, exact on resume."""

# Axes: b clips, f frames, i images, c latent channels, h w latent size.

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latte_cli.config import Config
from latte_cli.data.batch import Batch
from latte_cli.data.table import NO_LABEL, VideoTable
from latte_cli.runtime.errors import DataError
from latte_cli.runtime.randomness import seeded
from latte_cli.vae import Moments

# PyTorch shares more numbers than this out among threads, which wait for one another though each
# has a clip of its own to draw.
_ONE_THREAD = 32_768


class ClipStore(Protocol):
    """Videos that clips are cut from: encoded ones, or ones that are decoded when asked for."""

    folder: Path
    table: VideoTable

    @property
    def flips(self) -> bool:
        """Whether mirrored views can be had."""

    def clip(self, number: int, frames: range, *, flip: bool = False) -> Moments:
        """The posterior of some frames of the n-th video, each part (f, c, h, w) floating."""


class _Piece(NamedTuple):
    """What is cut from a video: a clip, or one frame as an image.

    Attributes:
        video: its number.
        frames: which of its frames.
        flip: whether they are mirrored.
        label: what the network is told of it; the null label now and then.
    """

    video: int
    frames: range
    flip: bool
    label: int


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
        timesteps = torch.tensor([t for t, _ in rows])
        y, y_image = torch.tensor([labels for _, labels in rows]).tensor_split([1], dim=1)
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
        clips = range(self.config.train.batch_size)
        chosen = [[*self._clip(step, index)[0], *self._images(step, index)[0]] for index in clips]
        return [[str(self.store.table.row(p.video)["path"]) for p in pieces] for pieces in chosen]

    def _row(self, step: int, index: int, x_start: Tensor, noise: Tensor) -> tuple[int, list[int]]:
        """Fill in one clip and its images; tell its timestep and all their labels.

        Args:
            step: the training step's number.
            index: of the clip in the step's batch.
            x_start: its latents, (f + i, c, h, w), written here.
            noise: likewise.
        """
        frames = self.config.data.frames
        pieces, generator = self._clip(step, index)
        t = int(torch.randint(self.config.diffusion.num_timesteps, (), generator=generator))
        self._draw(pieces, generator, x_start[:frames], noise[:frames])
        if self.config.data.num_images:
            images, generator = self._images(step, index)
            self._draw(images, generator, x_start[frames:], noise[frames:])
            pieces += images
        return t, [piece.label for piece in pieces]

    def _clip(self, step: int, index: int) -> tuple[list[_Piece], torch.Generator]:
        """What a clip is cut from, and what decides the rest of it."""
        generator = seeded(self.config.train.seed, step, index)
        return self._pieces(1, self.videos, self.config.data.frames, generator), generator

    def _images(self, step: int, index: int) -> tuple[list[_Piece], torch.Generator]:
        """The same of its images, from a stream of their own: they change nothing about the clip.

        Each is from a video of its own choice, so that images show more than the clip does.
        """
        generator = seeded(self.config.train.seed, step, index, 1)
        return self._pieces(self.config.data.num_images, self._of_split, 1, generator), generator

    def _pieces(
        self, count: int, videos: NDArray[np.intp], num_frames: int, generator: torch.Generator
    ) -> list[_Piece]:
        """Random windows of some of the videos."""
        data, table, pieces = self.config.data, self.store.table, []
        # All chances at once: a call costs as much as drawing a thousand numbers.
        chances = torch.rand(count, 4, generator=generator, dtype=torch.float64)
        for which, where, mirrored, untold in chances.tolist():
            number = int(videos[int(which * len(videos))])
            length = int(table.frames[number])
            interval = min(data.interval, (length - 1) // max(1, num_frames - 1))
            window = (num_frames - 1) * interval + 1
            start = int(where * (length - window + 1))
            frames = range(start, start + window, max(1, interval))
            label = int(table.labels[number])
            if self.null_label is not None and untold < self.config.train.class_dropout:
                label = self.null_label
            pieces.append(_Piece(number, frames, data.flip and mirrored < 0.5, label))
        return pieces

    def _draw(
        self, pieces: list[_Piece], generator: torch.Generator, x_start: Tensor, noise: Tensor
    ) -> None:
        """Sample from the posteriors of some pieces, scaled for diffusion, and noise."""
        x_start.normal_(std=self.scaling_factor, generator=generator)
        noise.normal_(generator=generator)
        drawn = [self.store.clip(p.video, p.frames, flip=p.flip) for p in pieces]
        # Together: a few large operations keep threads out of each other's way.
        mean, std = drawn[0].mean, drawn[0].std
        if len(drawn) > 1:
            mean = torch.cat([moments.mean for moments in drawn])
            std = torch.cat([moments.std for moments in drawn])
        at_once = max(1, _ONE_THREAD // x_start[0].numel())
        parts = (part.split(at_once) for part in (x_start, mean, std))
        for x, its_mean, its_std in zip(*parts, strict=True):
            x.mul_(its_std).add_(its_mean, alpha=self.scaling_factor)

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
