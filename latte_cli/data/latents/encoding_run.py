"""One process's part in encoding: claim a chunk, encode it, look what others did, and so on."""

import time
from collections.abc import Sequence
from dataclasses import replace

from latte_cli.data.latents.encoding import Encoder
from latte_cli.data.latents.folder import LatentFolder
from latte_cli.data.latents.plan import Source
from latte_cli.data.latents.reading import LatentVideo
from latte_cli.runtime.claims import claimed, holder_of
from latte_cli.runtime.console import Bar, Console
from latte_cli.runtime.distributed import is_main, own_shard_first, rank
from latte_cli.runtime.errors import DataError

_LOOK_AGAIN_S = 0.5  # while other processes are still at work
_LAST_WORDS_S = 10.0  # from the moment that a shard is there to that its claim is gone


def encode_missing(folder: LatentFolder, encoder: Encoder, console: Console) -> None:
    """Encode until nothing is missing; a process that is not the main one leaves sooner.

    It ends when others work on all that is missing. The main process waits for them, and takes over
    what they do not bring to an end.
    """
    _Run(folder, encoder, console).work()


def finish_index(folder: LatentFolder) -> list[LatentVideo]:
    """Write the index; the videos in it.

    Raises:
        DataError: if there are none.
    """
    deadline = time.monotonic() + _LAST_WORDS_S
    while folder.is_at_work() and time.monotonic() < deadline:
        time.sleep(_LOOK_AGAIN_S / 10)
    videos = folder.finish()
    if not videos:
        raise DataError(
            f"{folder.folder}: no video could be encoded", hint="run `latte prepare` again"
        )
    return videos


class _Run:
    """One process's part in encoding a folder.

    Args:
        folder: where the latents go.
        encoder: makes them.
        console: tells how it goes.
    """

    def __init__(self, folder: LatentFolder, encoder: Encoder, console: Console) -> None:
        self.folder, self.encoder, self.console = folder, encoder, console
        # Frames of each chunk that the bar does not count yet.
        self.pending = {
            number: _frames(missing)
            for number in range(len(folder.chunks))
            if (missing := folder.missing(number))
        }
        self._told = ""

    def work(self) -> None:
        """Encode until nothing is missing, or nothing that this process could do."""
        if is_main():
            self._begin()
        speaker = self.console if is_main() else replace(self.console, quiet=True)
        total = sum(map(_frames, self.folder.chunks))
        with speaker.progress("encoding", total, "frames") as bar:
            bar.start(total - sum(self.pending.values()))
            while self._look_around(bar):
                done = [self._chunk(n, bar) for n in own_shard_first([*self.pending])]
                if any(done):
                    continue
                if not is_main():
                    self.console.say(f"process {rank()} ends: others are at work on the rest")
                    return
                self._wait()

    def _begin(self) -> None:
        """Say what is there; make sure that nobody takes it for all."""
        total = sum(map(len, self.folder.chunks))
        there = total - sum(len(self.folder.missing(number)) for number in self.pending)
        if there:
            self.console.say(f"{there} of {total} videos are there")
        if self.pending:
            self.folder.begin()

    def _look_around(self, bar: Bar) -> bool:
        """Count what is whole by now, whoever did it; whether anything is missing still."""
        self.folder.refresh()
        for number in [n for n in self.pending if not self.folder.missing(n)]:
            bar.advance(self.pending.pop(number))
        return bool(self.pending)

    def _chunk(self, number: int, bar: Bar) -> bool:
        """Encode what is missing of a chunk into a shard; False if another process is at it."""
        folder = self.folder
        with claimed(folder.claim(number)) as is_ours:
            if not is_ours:
                return False
            folder.refresh()  # it may have been done between the look and the claim
            sources = folder.missing(number)
            with folder.writer(sources) as writer:
                for progress in self.encoder.encode(sources, writer):
                    if progress.error is not None:
                        self.console.warn(f"left out: {progress.error}")
                        folder.leave_out(progress.source, str(progress.error))
                    self.pending[number] -= progress.frames
                    bar.advance(progress.frames)
        return True

    def _wait(self) -> None:
        """Give others time, and tell once who they are: they may be gone and not look so."""
        claims = {self.folder.claim(number) for number in self.pending}
        waited_for = "; ".join(sorted({holder_of(path) for path in claims} - {""}))
        if waited_for and waited_for != self._told:
            self._told = waited_for
            where = self.folder.claim(next(iter(self.pending))).with_stem("*")
            self.console.say(f"waiting for {waited_for}; if that is gone, delete {where}")
        time.sleep(_LOOK_AGAIN_S)


def _frames(sources: Sequence[Source]) -> int:
    return sum(source.video.frames for source in sources)
