"""Several processes fill one folder of clips: each claims a batch and samples it, until all are."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from latte_cli.runtime.claims import HeldClaims, waiting_for
from latte_cli.runtime.console import Console
from latte_cli.runtime.distributed import is_main, own_shard_first, rank
from latte_cli.runtime.engines.engine import LOCAL, Advance, Engine, Place
from latte_cli.runtime.workers import prefetch
from latte_cli.sampling.clip_folder import ClipEntry, ClipFolder
from latte_cli.sampling.clip_list import first_names
from latte_cli.video_io import Frame

Request = TypeVar("Request")
OnStep = Callable[[int], None]
"""Called after each denoising step with the number of clips in it."""

Generate = Callable[[Sequence[Request], OnStep], Iterable[Iterable[Frame]]]
"""Samples a batch: its clips in order, each as its frames."""

_POLL_S = 0.5  # while other processes are working
_WRITERS = 4  # to start a program that compresses a short clip takes longer than to compress it


@dataclass(frozen=True)
class Batch(Generic[Request]):
    """Requests that are sampled at once, their entries, and the names of those that are missing."""

    number: int
    entries: Sequence[ClipEntry]
    requests: Sequence[Request]
    missing: frozenset[str] = frozenset()


@dataclass(frozen=True)
class BatchSampling(Generic[Request]):
    """Samples batches into a folder, as the work of an engine; its progress is counted in steps.

    Attributes:
        folder: of the clips.
        opened: opens what batches are sampled with.
    """

    folder: ClipFolder
    opened: Callable[[], AbstractContextManager[Generate[Request]]]

    def __call__(
        self, batches: Iterable[Batch[Request]], advance: Advance
    ) -> Iterator[tuple[Batch[Request], None]]:
        """Sample each batch, and write its missing clips."""
        with self.opened() as generate:
            for batch in batches:
                clips = generate(batch.requests, advance)
                for _ in prefetch(self._write, self._whole(batch, clips), _WRITERS):
                    pass
                yield batch, None

    def _whole(
        self, batch: Batch[Request], clips: Iterable[Iterable[Frame]]
    ) -> Iterator[tuple[ClipEntry, Iterable[Frame]]]:
        """The missing clips whose frames are all there; others are written as they are sampled."""
        for entry, frames in zip(batch.entries, clips, strict=True):
            if entry.name in batch.missing:
                if isinstance(frames, np.ndarray):
                    yield entry, frames
                else:  # here, since the network computes in the thread that asks for frames
                    self._write((entry, frames))

    def _write(self, clip: tuple[ClipEntry, Iterable[Frame]]) -> None:
        self.folder.write(*clip)


def sample_missing(
    folder: ClipFolder,
    requests: Sequence[Request],
    batch_size: int,
    opened: Callable[[], AbstractContextManager[Generate[Request]]],
    console: Console,
    steps: int,
    engine: Engine = LOCAL,
) -> None:
    """Sample until no clip is missing; a process other than the main one may return earlier.

    The main one waits for the others, and takes over batches that they abandon. A batch is always
    sampled whole, and begins at the same clip whatever is missing, since rounding depends on it.

    Args:
        folder: of the clips.
        requests: one for each entry of the folder.
        batch_size: clips sampled at once.
        opened: opens what samples a batch, where the engine works: its clips in order, each as its
            frames.
        console: for progress.
        steps: calls of the network per clip.
        engine: where clips are sampled.
    """
    batches = [
        Batch(
            number, folder.entries[first : first + batch_size], requests[first : first + batch_size]
        )
        for number, first in enumerate(range(0, len(requests), batch_size))
    ]
    pending = {batch.number: batch for batch in batches if folder.missing(batch.entries)}
    if not pending:
        return
    if folder.damaged and is_main():
        names = first_names(folder.damaged)
        console.warning(f"{len(folder.damaged)} clips are damaged and sampled again: {names}")
    folder.begin()
    total, what = len(requests) * steps, "batch" if batch_size > 1 else "clip"
    work, place = BatchSampling(folder, opened), Place(engine.processes(None, 1), [folder.path])
    progress = console if is_main() else replace(console, quiet=True)
    with progress.progress("sampling", total, "steps") as bar:
        bar.start(total - sum(len(batch.entries) for batch in pending.values()) * steps)
        said = ""

        def shown(batch: Batch[Request]) -> Batch[Request]:
            if len(batches) > 1:
                bar.advance(0, f"{what} {batch.number + 1} of {len(batches)}")
            return batch

        while pending:
            done = set()
            with HeldClaims() as claims:
                items = map(shown, _claimed(folder, pending, claims))
                with closing(engine.run(work, items, bar.advance, place)) as answers:
                    for batch, _ in answers:
                        done.add(batch.number)
                        claims.release(batch.number)
            for batch in [each for each in pending.values() if not folder.missing(each.entries)]:
                del pending[batch.number]
                if batch.number not in done:  # another process sampled it
                    bar.advance(len(batch.entries) * steps)
            if done or not pending:
                continue
            if not is_main():
                console.info(f"process {rank()} ends: others sample the rest")
                return
            said = _wait(folder, pending.values(), console, said)


def _claimed(
    folder: ClipFolder, pending: Mapping[int, Batch[Request]], claims: HeldClaims
) -> Iterator[Batch[Request]]:
    """The batches that no other process is at, each once it is claimed."""
    for number in own_shard_first([*pending]):
        batch = pending[number]
        if not claims.take(number, folder.claim_path(number)):
            continue
        # Another process may have sampled it between the listing and the claim.
        if missing := frozenset(entry.name for entry in folder.missing(batch.entries)):
            yield replace(batch, missing=missing)
        else:
            claims.release(number)


def _wait(
    folder: ClipFolder, pending: Iterable[Batch[Request]], console: Console, reported: str
) -> str:
    """Wait a moment, and report once which processes hold claims: they may have died."""
    words = waiting_for(folder.claim_path(batch.number) for batch in pending)
    if words and words != reported:
        console.info(words)
    time.sleep(_POLL_S)
    return words or reported
