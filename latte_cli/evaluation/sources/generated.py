"""Clips that a network draws when they are asked for: no files, no codec in between."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path

from latte_cli.caching import (
    NO_CACHE,
    CacheOptions,
    Policy,
    cached,
    checkpoint_setup,
    choose_policy,
    policy_name,
)
from latte_cli.config import Config
from latte_cli.evaluation.sources.videos import Clip, Finish, ReadClips, Video, Wanted, as_it_is
from latte_cli.models.weights.trained import label_names, load_trained, place_of, weights_checksum
from latte_cli.runtime.devices import pick_device, resolve_precision
from latte_cli.runtime.errors import CheckpointError
from latte_cli.sampling.generation import ClipRequest, Generator
from latte_cli.vae import load_codec


def cache_policy(checkpoint: Path, config: Config, cache: CacheOptions) -> Policy | None:
    """What drawing from a checkpoint uses again from step to step; None: nothing.

    Raises:
        CheckpointError: if a calibrated cache is missing, or for something else.
    """
    return choose_policy(cache, place_of(checkpoint), lambda: checkpoint_setup(checkpoint, config))


class GeneratedSource:
    """Clips of a checkpoint, of every class in turn; a clip depends on its index alone.

    Args:
        checkpoint: a folder, or a file of weights.
        config: its network, and how to draw from it: `sample` is read.
        count: clips.
        cache: what is used again from step to step.

    Raises:
        CheckpointError: if the checkpoint is missing, broken or of another network, or a calibrated
            cache is missing or for something else.
    """

    kind = "checkpoint"
    unreadable: Mapping[str, str] = {}

    def __init__(
        self, checkpoint: Path, config: Config, count: int, cache: CacheOptions = NO_CACHE
    ) -> None:
        if not checkpoint.exists():
            raise CheckpointError(
                f"{checkpoint}: no such file or folder", hint="give a checkpoint, or videos"
            )
        self.place = str(checkpoint)
        self._checkpoint, self._config = checkpoint, config
        self._device = pick_device()
        self._codec = load_codec(config, self._device)
        label_names(checkpoint, self._codec)  # refuses one of another autoencoder, before hours
        self._weights = weights_checksum(checkpoint)
        self._policy = cache_policy(checkpoint, config, cache)
        alone = self._policy is not None and self._policy.needs_batch_of_one
        # Rounding depends on how many are drawn together, so that they always are as many.
        self._together = 1 if alone else min(config.sample.batch, count)
        identity, classes = self._identity(), config.model.num_classes
        self.videos = [
            Video(
                name=f"clip {index:06d}",
                key=f"{identity}-{index}",
                frames=config.data.frames,
                width=config.data.size,
                height=config.data.size,
                label=index % classes if classes else None,
                written="lossless",
            )
            for index in range(count)
        ]

    def read(self, wanted: Sequence[Wanted], finish: Finish = as_it_is) -> Iterator[ReadClips]:
        """See `Source`."""
        by_name = {each.video.name: each for each in wanted}
        for first in range(0, len(self.videos), self._together):
            group = self.videos[first : first + self._together]
            if not any(video.name in by_name for video in group):
                continue
            generator = self._generator  # loaded before the clock runs
            started = time.monotonic()
            clips = self._draw(generator, first)
            seconds = (time.monotonic() - started) / len(clips)
            for video, clip in zip(group, clips, strict=False):
                if (each := by_name.get(video.name)) is not None:
                    clips_of = [finish(clip[list(w)], video) for w in each.windows]
                    yield ReadClips(each, clips_of, seconds)

    def _draw(self, generator: Generator, first: int) -> list[Clip]:
        """A whole group of clips, those beyond the last video's included."""
        classes = self._config.model.num_classes
        requests = [
            ClipRequest(index, self._config.sample.seed, index % classes if classes else None)
            for index in range(first, first + self._together)
        ]
        policy = self._policy
        with cached(generator.model, policy) if policy is not None else nullcontext():
            return [clip.frames for clip in generator.clips(requests)]

    @cached_property
    def _generator(self) -> Generator:
        model = load_trained(self._checkpoint, self._config).to(self._device)
        dtype = resolve_precision(self._config.sample.precision, self._device)
        sample = self._config.sample.model_copy(update={"batch": self._together})
        config = self._config.model_copy(update={"sample": sample})
        return Generator(model, self._codec, config, dtype)

    def _identity(self) -> str:
        """All that a clip depends on beside its index."""
        told = {
            "weights": self._weights,
            "cache": policy_name(self._policy),
            "vae": self._codec.fingerprint,
            "diffusion": self._config.diffusion.model_dump(),
            "sample": self._config.sample.model_dump(exclude={"fps", "batch"}),
            "clip": [self._config.data.frames, self._config.data.size],
            "together": self._together,
            "device": self._device.type,
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]
