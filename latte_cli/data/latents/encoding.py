"""Frames to latents: one process claims a chunk, encodes it into a shard, and takes the next."""

# Axes: n frames of a batch, v views, c latent channels, h w latent size.

import time
from collections.abc import Sequence
from dataclasses import replace

import torch

from latte_cli.data.latents.folder import LatentFolder
from latte_cli.data.latents.frame_reading import FrameBatch, FrameReaders
from latte_cli.data.latents.plan import Source
from latte_cli.data.latents.shards import ShardWriter
from latte_cli.runtime.claims import claimed, waiting_for
from latte_cli.runtime.console import Bar, Console
from latte_cli.runtime.distributed import is_main, own_shard_first, rank
from latte_cli.runtime.errors import CheckpointError, NumericalError, VideoError
from latte_cli.runtime.finite import all_finite
from latte_cli.runtime.signals import hold_signals
from latte_cli.vae import LatentCodec, Moments, to_signal

CLOSE_AFTER_S = 45.0
"""Seconds after which a shard is closed with the videos that are done, so that a kill loses little.

A slow machine would take hours to fill one.
"""

_WAIT_S = 0.5  # before looking again, while other processes are at work


class Encoder:
    """One process's part in encoding a folder of latents.

    A batch holds frames of one video only, and batches start at the same frames in every run. So a
    video's latents depend on that video alone, not on what is encoded beside or before it.

    Args:
        folder: where the latents go.
        readers: yield batches of frames.
        codec: encodes them.
        console: reports progress.
    """

    def __init__(
        self, folder: LatentFolder, readers: FrameReaders, codec: LatentCodec, console: Console
    ) -> None:
        self.folder, self.readers, self.codec, self.console = folder, readers, codec, console
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
                encoded = [self._encode_chunk(n, bar) for n in own_shard_first([*self._pending])]
                if any(encoded):
                    continue
                if not is_main():
                    self.console.info(f"process {rank()} ends: others encode the rest")
                    return
                self._wait()

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

    def _encode_chunk(self, number: int, bar: Bar) -> bool:
        """Encode what is missing of a chunk into a shard; False if another process has claimed it.

        A video that cannot be read is left out of the shard and reported. Whatever ends this early,
        the videos that are done are kept: in a shard of their own. So are those of every
        `CLOSE_AFTER_S` seconds, for the case that the process is killed.
        """
        folder = self.folder
        with claimed(folder.claim(number)) as is_ours:
            if not is_ours:
                return False
            folder.refresh()  # another process may have finished it before the claim
            sources = folder.missing(number)
            positions = {source.key: position for position, source in enumerate(sources)}
            contents, complete = [source.content for source in sources], []
            with ShardWriter(
                folder.folder, folder.work, folder.meta, folder.latent_size, contents
            ) as writer:
                close_at = time.monotonic() + CLOSE_AFTER_S
                try:
                    for source, batch in self.readers.read(sources):
                        if isinstance(batch, VideoError):
                            self.console.warning(f"left out: {batch}")
                            folder.leave_out(source, str(batch))
                            continue
                        writer.put(positions[source.key], batch.start, self._encode(source, batch))
                        if batch.is_last:
                            complete.append(positions[source.key])
                        self._pending[number] -= len(batch.frames)
                        bar.advance(len(batch.frames))
                        if time.monotonic() >= close_at:
                            _close_shard(writer, complete)
                            close_at = time.monotonic() + CLOSE_AFTER_S
                finally:
                    _close_shard(writer, complete)
        return True

    def _encode(self, source: Source, batch: FrameBatch) -> Moments:
        """The posterior of a batch, each part (v, n, c, h, w) float16: plain view, then mirrored.

        Raises:
            CheckpointError: if it is not finite.
        """
        signal = to_signal(torch.from_numpy(batch.frames).to(self.codec.device))
        views = [signal, signal.flip(-1)] if self.folder.meta.flip else [signal]
        try:
            encoded = [self.codec.encode(view[None]) for view in views]
            mean = torch.cat([moments.mean for moments in encoded]).half()
            std = torch.cat([moments.std for moments in encoded]).half()
            finite = all_finite(mean) and all_finite(std)
        except NumericalError:
            finite = False
        if not finite:
            raise CheckpointError(
                f"{self.folder.meta.vae}: its latents of frames {batch.start} and later of "
                f"{source.path} are numbers that are not finite",
                hint="use an intact autoencoder whose latents are within float16's range",
            )
        return Moments(mean, std)

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
