"""Training batches as a pure function of (seed, step, index): nothing to save, exact on resume."""

# Axes: b clips, f frames, i images, c latent channels, h w latent size.

from dataclasses import dataclass, replace
from typing import Any

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

        def moved(value: Tensor) -> Tensor:
            return value.to(device, non_blocking=True)

        return replace(
            self,
            x_start=moved(self.x_start),
            noise=moved(self.noise),
            t=moved(self.t),
            y=None if self.y is None else moved(self.y),
            y_image=None if self.y_image is None else moved(self.y_image),
        )


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
        self.split = [v for v in latents.videos if config.data.split in ("all", v.split)]
        self.videos = [v for v in self.split if v.frames >= config.data.window]
        self.too_short = len(self.split) - len(self.videos)
        self._check(max((v.frames for v in self.split), default=0))

    def batch(self, step: int) -> Batch:
        """The clips of one training step."""
        rows = [self._clip(step, index) for index in range(self.config.train.batch_size)]
        x_start, noise, t, labels = zip(*rows, strict=True)
        y, images = torch.tensor(labels).split([1, self.config.data.num_images], dim=1)
        told = self.null_label is not None
        return Batch(
            torch.stack(x_start),
            torch.stack(noise),
            torch.tensor(t),
            y[:, 0] if told else None,
            images if told and images.numel() else None,
            self.config.data.num_images,
        )

    def _clip(self, step: int, index: int) -> tuple[Tensor, Tensor, int, list[int]]:
        """Latents, noise, timestep, and the labels of the clip and of each image."""
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
        labels = [self._label(video, generator)]
        for _ in range(data.num_images):
            # Each from a video of its own choice, so that images show more than the clip does.
            video = self.split[below(len(self.split))]
            start, flip = below(video.frames), bool(below(2)) and data.flip
            moments = self.latents.moments(video, start, start + 1, flip=flip)
            drawn = torch.randn(2, *moments.mean.shape, generator=generator)
            sample = torch.cat([sample, moments.mean + moments.std * drawn[0]])
            noise = torch.cat([noise, drawn[1]])
            labels.append(self._label(video, generator))
        return sample * self.latents.meta.scaling_factor, noise, t, labels

    def _label(self, video: LatentVideo, generator: torch.Generator) -> int:
        """The video's label, or now and then the null label; -1 where there are no labels."""
        dropped = float(torch.rand((), generator=generator)) < self.config.train.class_dropout
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
        labels = {v.label for v in (self.split if self.config.data.num_images else self.videos)}
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
