"""Several processes fill one folder of clips: each claims a batch and samples it, until all are."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from latte_cli.runtime.claims import claimed, waiting_for
from latte_cli.runtime.console import Bar, Console
from latte_cli.runtime.distributed import is_main, own_shard_first, rank
from latte_cli.sampling.clip_folder import ClipEntry, ClipFolder
from latte_cli.sampling.clip_list import first_names
from latte_cli.video_io import Frame

Request = TypeVar("Request")
OnStep = Callable[[int], None]
"""Called after each denoising step with the number of clips in it."""

_POLL_S = 0.5  # while other processes are working


def sample_missing(
    folder: ClipFolder,
    requests: Sequence[Request],
    batch_size: int,
    generate: Callable[[Sequence[Request], OnStep], Iterable[Iterable[Frame]]],
    console: Console,
    steps: int,
) -> None:
    """Sample until no clip is missing; a process other than the main one may return earlier.

    The main one waits for the others, and takes over batches that they abandon. A batch is always
    sampled whole, and begins at the same clip whatever is missing, since rounding depends on it.

    Args:
        folder: of the clips.
        requests: one for each entry of the folder.
        batch_size: clips sampled at once.
        generate: samples a batch: its clips in order, each as its frames.
        console: for progress.
        steps: calls of the network per clip.
    """
    batches = [
        _Batch(
            number, folder.entries[first : first + batch_size], requests[first : first + batch_size]
        )
        for number, first in enumerate(range(0, len(requests), batch_size))
    ]
    pending = [batch for batch in batches if folder.missing(batch.entries)]
    if not pending:
        return
    if folder.damaged and is_main():
        names = first_names(folder.damaged)
        console.warning(f"{len(folder.damaged)} clips are damaged and sampled again: {names}")
    folder.begin()
    total = len(requests) * steps
    progress = console if is_main() else replace(console, quiet=True)
    with progress.progress("sampling", total, "steps") as bar:
        bar.start(total - sum(len(batch.entries) for batch in pending) * steps)
        said = ""
        while pending:
            done = []
            for batch in own_shard_first(pending):
                of = f"{'batch' if batch_size > 1 else 'clip'} {batch.number + 1} of {len(batches)}"
                if _sample_batch(folder, batch, generate, bar, of if len(batches) > 1 else None):
                    done.append(batch.number)
            for batch in [batch for batch in pending if not folder.missing(batch.entries)]:
                pending.remove(batch)
                if batch.number not in done:  # another process sampled it
                    bar.advance(len(batch.entries) * steps)
            if done or not pending:
                continue
            if not is_main():
                console.info(f"process {rank()} ends: others sample the rest")
                return
            said = _wait(folder, pending, console, said)


@dataclass(frozen=True)
class _Batch(Generic[Request]):
    """Requests that are sampled at once, and their entries."""

    number: int
    entries: Sequence[ClipEntry]
    requests: Sequence[Request]


def _sample_batch(
    folder: ClipFolder,
    batch: _Batch[Request],
    generate: Callable[[Sequence[Request], OnStep], Iterable[Iterable[Frame]]],
    bar: Bar,
    description: str | None,
) -> bool:
    """Sample the missing clips of a batch; False if none is, or another process is at it."""
    with claimed(folder.claim_path(batch.number)) as is_ours:
        if not is_ours:
            return False
        # Another process may have sampled it between the listing and the claim.
        missing = {entry.name for entry in folder.missing(batch.entries)}
        if not missing:
            return False
        bar.advance(0, description)
        clips = generate(batch.requests, bar.advance)
        for entry, frames in zip(batch.entries, clips, strict=True):
            if entry.name in missing:
                folder.write(entry, frames)
        return True


def _wait(
    folder: ClipFolder, pending: Iterable[_Batch[Request]], console: Console, reported: str
) -> str:
    """Wait a moment, and report once which processes hold claims: they may have died."""
    words = waiting_for(folder.claim_path(batch.number) for batch in pending)
    if words and words != reported:
        console.info(words)
    time.sleep(_POLL_S)
    return words or reported
