"""Training batches as a pure function of (seed, step, index): nothing to save, exact on resume."""

# Axes: b clips, f frames, c latent channels, h w latent size.

from dataclasses import dataclass

import torch
from torch import Tensor

from latte_cli.config import Config
from latte_cli.data.latents import LatentSet, LatentVideo
from latte_cli.errors import DataError
from latte_cli.randomness import seeded


@dataclass(frozen=True)
class Batch:
    """Clips and all the randomness that a training step spends on them.

    Attributes:
        x_start: scaled latents, (b, f, c, h, w) float32.
        noise: standard normal, shaped as x_start.
        t: timesteps, (b,) long.
        y: labels, some replaced by the null label, (b,) long; None for an unconditional network.
    """

    x_start: Tensor
    noise: Tensor
    t: Tensor
    y: Tensor | None

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device, copied without waiting."""
        x_start, noise, t = (
            v.to(device, non_blocking=True) for v in (self.x_start, self.noise, self.t)
        )
        y = None if self.y is None else self.y.to(device, non_blocking=True)
        return Batch(x_start, noise, t, y)


class ClipSampler:
    """Draws training clips: random video, window, mirror image and posterior sample.

    Args:
        latents: the encoded videos.
        config: data.frames, interval, flip and split, train.seed and class_dropout are read.

    Raises:
        DataError: if no video of the split is long enough, a label is out of the network's range,
            or mirrored views are asked for and were not encoded.
    """

    def __init__(self, latents: LatentSet, config: Config) -> None:
        self.latents = latents
        self.config = config
        self.null_label = config.model.num_classes
        split = [v for v in latents.videos if config.data.split in ("all", v.split)]
        self.videos = [v for v in split if v.frames >= config.data.window]
        self.too_short = len(split) - len(self.videos)
        self._check(max((v.frames for v in split), default=0))

    def batch(self, step: int) -> Batch:
        """The clips of one training step."""
        rows = [self._clip(step, index) for index in range(self.config.train.batch_size)]
        x_start, noise, t, y = zip(*rows, strict=True)
        labels = None if self.null_label is None else torch.tensor(y)
        return Batch(torch.stack(x_start), torch.stack(noise), torch.tensor(t), labels)

    def _clip(self, step: int, index: int) -> tuple[Tensor, Tensor, int, int]:
        data, train = self.config.data, self.config.train
        generator = seeded(train.seed, step, index)

        def below(limit: int) -> int:
            return int(torch.randint(limit, (), generator=generator))

        video = self.videos[below(len(self.videos))]
        start = below(video.frames - data.window + 1)
        flip = bool(below(2)) and data.flip
        moments = self.latents.moments(video, start, start + data.window, flip=flip)
        mean, std = moments.mean[:: data.interval], moments.std[:: data.interval]
        sample = mean + std * torch.randn(mean.shape, generator=generator)
        noise = torch.randn(mean.shape, generator=generator)
        t = below(self.config.diffusion.num_timesteps)
        dropped = float(torch.rand((), generator=generator)) < train.class_dropout
        return sample * self.latents.meta.scaling_factor, noise, t, self._label(video, dropped)

    def _label(self, video: LatentVideo, dropped: bool) -> int:
        if self.null_label is None or video.label is None:
            return -1
        return self.null_label if dropped else video.label

    def _check(self, longest: int) -> None:
        data, folder = self.config.data, self.latents.folder
        if not longest:
            raise DataError(
                f"{folder}: no videos of the split `{data.split}`", hint="-o data.split=all"
            )
        if not self.videos:
            raise DataError(
                f"{folder}: no video is as long as a clip ({data.frames} frames, every "
                f"{data.interval}: {data.window} source frames); the longest has {longest}",
                hint="lower data.interval or data.frames",
            )
        if data.flip and not self.latents.meta.flip:
            raise DataError(
                f"{folder}: mirrored views were not encoded, data.flip asks for them",
                hint="-o data.flip=false, or encode again with --flip",
            )
        if self.null_label is not None:
            self._check_labels(self.null_label)

    def _check_labels(self, num_classes: int) -> None:
        labels = {video.label for video in self.videos}
        if None in labels:
            raise DataError(
                f"{self.latents.folder}: videos without a label, model.condition is class",
                hint="prepare with --labels, or set model.condition=none",
            )
        worst = max(label for label in labels if label is not None)
        if worst >= num_classes:
            raise DataError(
                f"{self.latents.folder}: label {worst}, model.num_classes is {num_classes}",
                hint=f"-o model.num_classes={worst + 1}",
            )
