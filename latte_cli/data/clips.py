"""Training batches as a pure function of (seed, step, index): nothing to save, exact on resume."""

# Axes: b clips, f frames, i images, c latent channels, h w latent size.

from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latte_cli.config import Config
from latte_cli.config.section import class_overrides
from latte_cli.config.train_section import count_passing
from latte_cli.data.batch import Batch
from latte_cli.data.table import NO_LABEL, VideoTable
from latte_cli.data.texts.batches import Texts, TextSampler, padded
from latte_cli.data.texts.store import TextSet
from latte_cli.diffusion import Diffusion
from latte_cli.runtime.errors import DataError
from latte_cli.runtime.randomness import random_positions, seeded
from latte_cli.vae import Moments

# PyTorch splits larger operations among threads, which would wait for one another: each thread of
# the pool works on a clip of its own.
_ONE_THREAD = 32_768


class ClipStore(Protocol):
    """Videos that clips are cut from: encoded ones, or ones decoded on demand."""

    folder: Path
    table: VideoTable
    texts: TextSet | None

    @property
    def flips(self) -> bool:
        """Whether mirrored views are available."""

    def clip(self, number: int, frames: range, *, flip: bool = False) -> Moments:
        """The posterior of some frames of the n-th video, each part (f, c, h, w) floating."""


class _Window(NamedTuple):
    """What is cut from a video: a clip, or one frame as an image.

    Attributes:
        video: its number.
        frames: which of its frames.
        flip: whether they are mirrored.
        label: the label given to the network; sometimes the null label.
        has_condition: whether the network is told the caption, too, which it sometimes is not.
    """

    video: int
    frames: range
    flip: bool
    label: int
    has_condition: bool


class ClipSampler:
    """Samples training clips: a random video, window, mirror image and posterior sample each.

    Args:
        store: the videos, with their captions for a network that takes text.
        config: data.frames, interval, short, flip, split, num_images and workers, train.seed and
            condition_dropout are read.
        scaling_factor: diffusion sees latents times this.

    Raises:
        DataError: if no video of the split is long enough, a label is out of the network's range,
            mirrored views are configured but not available, or captions are missing.
    """

    def __init__(self, store: ClipStore, config: Config, scaling_factor: float) -> None:
        self.store, self.config, self.scaling_factor = store, config, scaling_factor
        self.null_label = config.model.num_classes
        self._diffusion = Diffusion(**config.diffusion.model_dump())
        table, data, side = store.table, config.data, config.latent_size
        self._shape = data.frames + data.num_images, config.vae.latent_channels, side, side
        in_split = (
            np.ones(len(table), bool) if data.split == "all" else table.where("split", data.split)
        )
        shortest = data.frames if data.short == "slow" else data.window
        self._of_split = np.flatnonzero(in_split)
        self.videos = np.flatnonzero(in_split & (table.frames >= shortest))
        self.too_short = len(self._of_split) - len(self.videos)
        self._check_videos(int(table.frames[self._of_split].max(initial=0)), shortest)
        if self.null_label is not None:
            self._check_labels(self.null_label)
        self._captions = None
        if config.model.condition == "text":
            assert store.texts is not None
            self._captions = TextSampler(store.texts, table, config.train.seed)
            self._captions.check(self._used)
        self._pool = ThreadPoolExecutor(data.workers, thread_name_prefix="clips")
        self._is_canceled = False

    def batch(self, step: int, indices: Sequence[int] | None = None) -> Batch:
        """The clips of one training step.

        Args:
            step: its number.
            indices: which of the step's `train.batch_size` clips; by default all.
        """
        chosen = range(self.config.train.batch_size) if indices is None else indices
        x_start = torch.empty(len(chosen), *self._shape)
        noise = torch.empty_like(x_start)
        # Rows are sampled in place: copying them together would cost as much as sampling.
        rows = list(self._pool.map(partial(self._fill_row, step), chosen, x_start, noise))
        t, end = torch.tensor([times for times, _ in rows]).unbind(dim=1)
        labels = [[window.label for window in windows] for _, windows in rows]
        y, y_image = torch.tensor(labels).tensor_split([1], dim=1)
        texts, image_texts = self._texts(step, chosen, [windows for _, windows in rows])
        has_labels = self.null_label is not None
        return Batch(
            x_start=x_start,
            noise=noise,
            t=t,
            y=y[:, 0] if has_labels else None,
            y_image=y_image if has_labels and y_image.numel() else None,
            num_images=self.config.data.num_images,
            end=end if self._diffusion.is_flow_map else None,
            positions=self._positions(step, chosen),
            texts=texts,
            image_texts=image_texts,
            teacher_y=self._labels_for_teacher([windows[0] for _, windows in rows]),
        )

    def _labels_for_teacher(self, windows: Sequence[_Window]) -> Tensor | None:
        """Labels beside captions, for `train.teacher`, which takes no text."""
        if self._captions is None or self.config.train.teacher is None:
            return None
        return torch.tensor([w.label if w.has_condition else NO_LABEL for w in windows])

    def videos_of(self, step: int, indices: Sequence[int]) -> list[int]:
        """The numbers of the videos that some clips of a step and their images are cut from."""
        chosen = (self._clip(step, n)[0] + self._images(step, n)[0] for n in indices)
        return [window.video for windows in chosen for window in windows]

    def _texts(
        self, step: int, indices: Sequence[int], windows: list[list[_Window]]
    ) -> tuple[Texts | None, Texts | None]:
        """Captions of the clips and of their images."""
        if self._captions is None:
            return None, None
        rows = [
            self._captions.choose(step, index, [(w.video, w.has_condition) for w in row])
            for index, row in zip(indices, windows, strict=True)
        ]
        run = self._pool.map
        clips = padded([row[:1] for row in rows], run).map(lambda each: each[:, 0])
        return clips, padded([row[1:] for row in rows], run) if rows[0][1:] else None

    def _positions(self, step: int, indices: Sequence[int]) -> Tensor | None:
        """Positions of the tokens that do not wait, with generators of their own."""
        train, total = self.config.train, self.config.tokens_per_frame
        if train.route is None:
            return None
        count = count_passing(total, train.route.share)
        generators = [seeded(train.seed, step, index, 2) for index in indices]
        return torch.stack([random_positions(total, count, each) for each in generators])

    @property
    def _used(self) -> NDArray[np.intp]:
        """The videos that clips or images are cut from."""
        return self._of_split if self.config.data.num_images else self.videos

    def cancel(self) -> None:
        """Let batches that other threads are waiting for fail: nobody needs them any more.

        A clip from pixels takes seconds on a CPU.
        """
        self._is_canceled = True

    def names(self, step: int) -> list[list[str]]:
        """For each clip of a step the path of its video, then those of its images."""
        clips = range(self.config.train.batch_size)
        chosen = [[*self._clip(step, index)[0], *self._images(step, index)[0]] for index in clips]
        return [[str(self.store.table.row(w.video)["path"]) for w in each] for each in chosen]

    def _fill_row(
        self, step: int, index: int, x_start: Tensor, noise: Tensor
    ) -> tuple[tuple[int, int], list[_Window]]:
        """Fill in one clip and its images; return its timestep and end, and all their windows.

        Args:
            step: the training step's number.
            index: of the clip in the step's batch.
            x_start: its latents, (f + i, c, h, w), written here.
            noise: likewise.
        """
        if self._is_canceled:
            raise CancelledError
        frames = self.config.data.frames
        windows, generator = self._clip(step, index)
        times = self._diffusion.sample_times(index, generator)
        self._fill(windows, generator, x_start[:frames], noise[:frames])
        if self.config.data.num_images:
            images, generator = self._images(step, index)
            self._fill(images, generator, x_start[frames:], noise[frames:])
            windows += images
        return times, windows

    def _clip(self, step: int, index: int) -> tuple[list[_Window], torch.Generator]:
        """A clip's window, and the generator for the clip's other random numbers."""
        generator = seeded(self.config.train.seed, step, index)
        return self._windows(1, self.videos, self.config.data.frames, generator), generator

    def _images(self, step: int, index: int) -> tuple[list[_Window], torch.Generator]:
        """The same for the clip's images, with a generator of their own: the clip is unaffected.

        Each image is from an independently chosen video, for more variety than the clip has.
        """
        generator = seeded(self.config.train.seed, step, index, 1)
        return self._windows(self.config.data.num_images, self._of_split, 1, generator), generator

    def _windows(
        self, count: int, videos: NDArray[np.intp], num_frames: int, generator: torch.Generator
    ) -> list[_Window]:
        """Random windows of some of the videos."""
        data, train, table, windows = self.config.data, self.config.train, self.store.table, []
        # All random numbers at once: a call costs as much as a thousand numbers.
        uniform = torch.rand(count, 4, generator=generator, dtype=torch.float64)
        for video, where, mirror, dropout in uniform.tolist():
            number = int(videos[int(video * len(videos))])
            length = int(table.frames[number])
            interval = min(data.interval, (length - 1) // max(1, num_frames - 1))
            window = (num_frames - 1) * interval + 1
            start = int(where * (length - window + 1))
            frames = range(start, start + window, max(1, interval))
            label, is_dropped = int(table.labels[number]), dropout < train.condition_dropout
            if self.null_label is not None and is_dropped:
                label = self.null_label
            flip = data.flip and mirror < 0.5
            windows.append(_Window(number, frames, flip, label, not is_dropped))
        return windows

    def _fill(
        self, windows: list[_Window], generator: torch.Generator, x_start: Tensor, noise: Tensor
    ) -> None:
        """Sample from the windows' posteriors, scaled for diffusion, and sample the noise."""
        x_start.normal_(std=self.scaling_factor, generator=generator)
        noise.normal_(generator=generator)
        moments = [self.store.clip(w.video, w.frames, flip=w.flip) for w in windows]
        # Few large operations keep threads out of each other's way.
        mean, std = moments[0].mean, moments[0].std
        if len(moments) > 1:
            mean = torch.cat([each.mean for each in moments])
            std = torch.cat([each.std for each in moments])
        at_once = max(1, _ONE_THREAD // x_start[0].numel())
        parts = (part.split(at_once) for part in (x_start, mean, std))
        for x, x_mean, x_std in zip(*parts, strict=True):
            x.mul_(x_std).add_(x_mean, alpha=self.scaling_factor)

    def _check_videos(self, longest: int, shortest: int) -> None:
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
                f"{folder}: mirrored views were not encoded, but data.flip is set",
                hint="-o data.flip=false, or `latte encode-latents` with --flip --out FOLDER, then "
                "-o data.latents=FOLDER",
            )

    def _check_labels(self, num_classes: int) -> None:
        labels = self.store.table.labels[self._used]
        if (labels == NO_LABEL).any():
            raise DataError(
                f"{self.store.folder}: videos without a label, but model.condition is class",
                hint=f"prepare with --labels, or train without: {class_overrides(None)}",
            )
        largest = int(labels.max())
        if largest >= num_classes:
            raise DataError(
                f"{self.store.folder}: label {largest}, but model.num_classes is {num_classes}",
                hint=class_overrides(largest + 1),
            )
