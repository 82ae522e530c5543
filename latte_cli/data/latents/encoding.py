"""Frames to latents: what the worker processes read goes through one autoencoder, as it comes."""

# Axes: n frames of a batch, v views, c latent channels, h w latent size.

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from latte_cli.data.latents.frame_reading import FrameReaders
from latte_cli.data.latents.plan import Source
from latte_cli.data.latents.reading import LatentMeta
from latte_cli.data.latents.writer import ShardWriter
from latte_cli.runtime.errors import CheckpointError, VideoError
from latte_cli.vae import LatentCodec, Moments, to_signal


@dataclass(frozen=True)
class Progress:
    """A batch of a video was encoded, or there is no more to be had of it.

    Attributes:
        source: the video.
        frames: encoded just now.
        error: why the video could not be read to its end.
    """

    source: Source
    frames: int = 0
    error: VideoError | None = None


@dataclass(frozen=True)
class Encoder:
    """How videos become latents.

    A batch holds frames of one video, and the last of a video may be smaller: so the latents of a
    video depend on that video alone, whatever is encoded beside or before it, or was there already.

    Attributes:
        readers: give the batches.
        codec: encodes them.
        meta: tells whether there are mirrored views.
    """

    readers: FrameReaders
    codec: LatentCodec
    meta: LatentMeta

    def encode(self, sources: Sequence[Source], writer: ShardWriter) -> Iterator[Progress]:
        """Encode the videos of a shard, and write it.

        Args:
            sources: the videos.
            writer: of the same videos, in the same order.

        Yields:
            How it goes, after every batch and for every video that cannot be read.

        Raises:
            CheckpointError: if the autoencoder gives numbers that are not finite.
        """
        numbers = {source.key: number for number, source in enumerate(sources)}
        whole = []
        for source, batch in self.readers.read(sources):
            if isinstance(batch, VideoError):
                yield Progress(source, error=batch)
                continue
            moments = self._encode(batch.frames)
            if not (moments.mean.isfinite().all() and moments.std.isfinite().all()):
                raise CheckpointError(
                    f"{self.meta.vae}: gives numbers that are not finite, for frames of "
                    f"{source.path} from {batch.start} on",
                    hint="are its weights whole, and its latents within float16's range?",
                )
            writer.put(numbers[source.key], batch.start, moments)
            if batch.is_last:
                whole.append(numbers[source.key])
            yield Progress(source, len(batch.frames))
        writer.finish(sorted(whole))

    def _encode(self, frames: NDArray[np.uint8]) -> Moments:
        """The posterior of a batch, each part (v, n, c, h, w) float16: as it is, then mirrored."""
        signal = to_signal(torch.from_numpy(frames).to(self.codec.device))
        parts = [self.codec.encode(signal[None])]
        if self.meta.flip:
            parts.append(self.codec.encode(signal.flip(-1)[None]))
        mean, std = (
            torch.cat([getattr(part, name) for part in parts]).half() for name in ("mean", "std")
        )
        return Moments(mean, std)
