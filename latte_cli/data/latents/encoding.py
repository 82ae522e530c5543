"""Frames to latents: chunks of videos are claimed here, and encoded where the engine works."""

# Axes: n frames of a batch, v views, c latent channels, h w latent size.

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from latte_cli.config import Config
from latte_cli.data.latents.folder import LatentFolder
from latte_cli.data.latents.frame_reading import BatchReader, FrameBatch, FrameReaders
from latte_cli.data.latents.plan import Source
from latte_cli.data.latents.reading import LatentMeta
from latte_cli.data.latents.shards import ShardWriter
from latte_cli.runtime.claims import HeldClaims, waiting_for
from latte_cli.runtime.console import Bar, Console
from latte_cli.runtime.devices import pick_device
from latte_cli.runtime.distributed import is_main, own_shard_first, rank
from latte_cli.runtime.engines.engine import Advance, Engine, Place
from latte_cli.runtime.errors import CheckpointError, NumericalError, VideoError
from latte_cli.runtime.finite import all_finite
from latte_cli.runtime.signals import hold_signals
from latte_cli.vae import LatentCodec, Moments, load_codec, to_signal

CLOSE_AFTER_S = 45.0
"""Seconds after which a shard is closed with the videos that are done, so that a kill loses little.

A slow machine would take hours to fill one.
"""

_WAIT_S = 0.5  # before looking again, while other processes are at work


@dataclass(frozen=True)
class Chunk:
    """What is missing of a chunk of the plan."""

    number: int
    sources: Sequence[Source]


@dataclass
class ChunkAnswer:
    """What came of a chunk: the frames encoded, and the reason of each video that was left out."""

    frames: int = 0
    left_out: list[tuple[Source, str]] = field(default_factory=list)


@dataclass(frozen=True)
class ChunkEncoding:
    """Encodes chunks into shards, as the work of an engine; its progress is counted in frames.

    A batch holds frames of one video only, and batches start at the same frames in every run. So a
    video's latents depend on that video alone, not on what is encoded beside or before it.

    Attributes:
        config: of the autoencoder.
        read: reads batches of frames.
        workers: processes that decode.
        folder: that the shards are written to.
        work: folder of unfinished files.
        meta: how latents are encoded.
        latent_size: side of a frame's latents.
        here: the autoencoder in this process; others load it.
    """

    config: Config
    read: BatchReader
    workers: int
    folder: Path
    work: Path
    meta: LatentMeta
    latent_size: int
    here: LatentCodec | None = None

    @cached_property
    def codec(self) -> LatentCodec:
        """The autoencoder, on this machine's device.

        Raises:
            CheckpointError: if it cannot be loaded, or is another one than the folder's.
        """
        codec = self.here or load_codec(self.config, pick_device())
        codec.frames_at_a_time = self.read.batch
        if codec.fingerprint != self.meta.vae_fingerprint:
            raise CheckpointError(
                f"{self.meta.vae}: another autoencoder here than where the command was started",
                hint="every node must see the same weights by the same path",
            )
        return codec

    def __reduce__(self) -> tuple[Any, ...]:  # without the autoencoder
        values = [getattr(self, each.name) for each in fields(self) if each.name != "here"]
        return ChunkEncoding, tuple(values)

    def __call__(
        self, chunks: Iterable[Chunk], advance: Advance
    ) -> Iterator[tuple[Chunk, ChunkAnswer]]:
        """Encode each chunk into a shard.

        Raises:
            CheckpointError: if the autoencoder's output is not finite.
        """
        with FrameReaders(self.read, self.workers) as readers:
            for chunk in chunks:
                yield chunk, self._encode_chunk(chunk, readers, advance)

    def _encode_chunk(self, chunk: Chunk, readers: FrameReaders, advance: Advance) -> ChunkAnswer:
        """Encode a chunk into a shard.

        A video that cannot be read is left out of the shard. Whatever ends this early, the videos
        that are done are kept: in a shard of their own. So are those of every `CLOSE_AFTER_S`
        seconds, for the case that the process is killed.
        """
        answer, sources = ChunkAnswer(), chunk.sources
        positions = {source.key: position for position, source in enumerate(sources)}
        contents: list[Any] = [source.content for source in sources]
        complete: list[int] = []
        with ShardWriter(self.folder, self.work, self.meta, self.latent_size, contents) as writer:
            close_at = time.monotonic() + CLOSE_AFTER_S
            try:
                for source, batch in readers.read(sources):
                    if isinstance(batch, VideoError):
                        answer.left_out.append((source, str(batch)))
                        continue
                    writer.put(positions[source.key], batch.start, self._encode(source, batch))
                    if batch.is_last:
                        complete.append(positions[source.key])
                    answer.frames += len(batch.frames)
                    advance(len(batch.frames))
                    if time.monotonic() >= close_at:
                        _close_shard(writer, complete)
                        close_at = time.monotonic() + CLOSE_AFTER_S
            finally:
                _close_shard(writer, complete)
        return answer

    def _encode(self, source: Source, batch: FrameBatch) -> Moments:
        """The posterior of a batch, each part (v, n, c, h, w) float16: plain view, then mirrored.

        Raises:
            CheckpointError: if it is not finite.
        """
        signal = to_signal(torch.from_numpy(batch.frames).to(self.codec.device))
        views = [signal, signal.flip(-1)] if self.meta.flip else [signal]
        try:
            encoded = [self.codec.encode(view[None]) for view in views]
            mean = torch.cat([moments.mean for moments in encoded]).half()
            std = torch.cat([moments.std for moments in encoded]).half()
            finite = all_finite(mean) and all_finite(std)
        except NumericalError:
            finite = False
        if not finite:
            raise CheckpointError(
                f"{self.meta.vae}: its latents of frames {batch.start} and later of "
                f"{source.path} are numbers that are not finite",
                hint="use an intact autoencoder whose latents are within float16's range",
            )
        return Moments(mean, std)


class Encoder:
    """One process's part in encoding a folder of latents.

    Args:
        folder: where the latents go.
        work: encodes chunks.
        engine: where that is done.
        place: what it needs there.
        console: reports progress.
    """

    def __init__(
        self,
        folder: LatentFolder,
        work: ChunkEncoding,
        engine: Engine,
        place: Place,
        console: Console,
    ) -> None:
        self.folder, self.work, self.console = folder, work, console
        self.engine, self.place = engine, place
        # Frames of each unfinished chunk that the progress bar does not count yet.
        self._pending = {
            number: _num_frames(missing)
            for number in range(len(folder.chunks))
            if (missing := folder.missing(number))
        }
        self._last_words = ""

    def encode_missing(self) -> None:
        """Encode until nothing is missing.

        A process other than the main one returns once others work on all that is missing. The main
        process waits for them, and takes over what they do not finish.

        Raises:
            CheckpointError: if the autoencoder's output is not finite.
        """
        if is_main():
            self._begin()
        console = self.console if is_main() else replace(self.console, quiet=True)
        total = sum(map(_num_frames, self.folder.chunks))
        with console.progress("encoding", total, "frames") as bar:
            bar.start(total - sum(self._pending.values()))
            while self._refresh(bar):
                if self._encode_some(bar):
                    continue
                if not is_main():
                    self.console.info(f"process {rank()} ends: others encode the rest")
                    return
                self._wait()

    def _encode_some(self, bar: Bar) -> bool:
        """Encode what no other process has claimed; False if there is nothing."""
        found = False
        with (
            HeldClaims() as claims,
            closing(
                self.engine.run(self.work, self._claimed(claims), bar.advance, self.place)
            ) as answers,
        ):
            for chunk, answer in answers:
                found = True
                self._pending[chunk.number] -= answer.frames
                for source, reason in answer.left_out:
                    self.console.warning(f"left out: {reason}")
                    self.folder.leave_out(source, reason)
                claims.release(chunk.number)
        return found

    def _claimed(self, claims: HeldClaims) -> Iterator[Chunk]:
        """What is missing of each chunk, once it is claimed."""
        for number in own_shard_first([*self._pending]):
            if not claims.take(number, self.folder.claim(number)):
                continue
            self.folder.refresh()  # another process may have finished it before the claim
            if sources := self.folder.missing(number):
                yield Chunk(number, sources)
            else:
                claims.release(number)

    def _begin(self) -> None:
        """Report what is encoded already; mark the folder as unfinished."""
        total = sum(map(len, self.folder.chunks))
        encoded = total - sum(len(self.folder.missing(number)) for number in self._pending)
        if encoded:
            self.console.info(f"{encoded} of {total} videos are already encoded")
        if self._pending:
            self.folder.write_index()

    def _refresh(self, bar: Bar) -> bool:
        """Count the chunks that any process has finished; whether some are still missing."""
        self.folder.refresh()
        for number in [n for n in self._pending if not self.folder.missing(n)]:
            bar.advance(self._pending.pop(number))
        return bool(self._pending)

    def _wait(self) -> None:
        """Wait a moment for other processes; name them once, since they may be dead."""
        words = waiting_for(self.folder.claim(number) for number in self._pending)
        if words and words != self._last_words:
            self._last_words = words
            self.console.info(words)
        time.sleep(_WAIT_S)


def _close_shard(writer: ShardWriter, complete: list[int]) -> None:
    """Write a shard of the complete videos, and remove them from the list."""
    with hold_signals():
        writer.finish(sorted(complete))
        complete.clear()


def _num_frames(sources: Sequence[Source]) -> int:
    return sum(source.video.frames for source in sources)
