"""One process's part in drawing the clips of a folder: claim a batch, draw it, look around."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from latte_cli.runtime.claims import claimed, holder_of
from latte_cli.runtime.console import Bar, Console
from latte_cli.runtime.distributed import is_main, own_shard_first, rank
from latte_cli.sampling.clip_folder import ClipEntry, ClipFolder
from latte_cli.sampling.clip_list import some_of
from latte_cli.video_io import Frame

Item = TypeVar("Item")
OnStep = Callable[[int], None]
Draw = Callable[[int, OnStep], Iterable[Iterable[Frame]]]
"""The clips of a batch, by its number, in order; told of each step how many clips took it."""

_LOOK_AGAIN_S = 0.5  # while other processes are still at work


def sample_missing(
    folder: ClipFolder,
    batches: Sequence[Sequence[ClipEntry]],
    draw: Draw,
    console: Console,
    steps: int,
) -> None:
    """Draw until nothing is missing; a process that is not the main one may leave sooner.

    The main one waits for the others, and takes over what they do not bring to an end.

    Args:
        folder: where clips go.
        batches: its entries; drawn whole, for rounding depends on the company that a clip has.
        draw: draws a batch.
        console: tells how it goes.
        steps: calls of the network for a clip.
    """
    pending = {n: len(batch) for n, batch in enumerate(batches) if folder.missing(batch)}
    if not pending:
        return
    if folder.damaged and is_main():
        names = some_of(folder.damaged)
        console.warn(f"{len(folder.damaged)} clips are damaged and drawn again: {names}")
    folder.begin()
    whole = sum(map(len, batches)) * steps
    speaker = console if is_main() else replace(console, quiet=True)
    with speaker.progress("drawing", whole, "steps") as bar:
        bar.start(whole - sum(pending.values()) * steps)
        told = ""
        while pending:
            done = [
                number
                for number in own_shard_first([*pending])
                if _sample_batch(folder, batches, number, draw, bar)
            ]
            _look_around(folder, batches, pending, done, bar, steps)
            if done or not pending:
                continue
            if not is_main():
                console.say(f"process {rank()} ends: others draw the rest")
                return
            told = _wait(folder, pending, console, told)


def _sample_batch(
    folder: ClipFolder,
    batches: Sequence[Sequence[ClipEntry]],
    number: int,
    draw: Draw,
    bar: Bar,
) -> bool:
    """Draw what is missing of a batch; False if there is nothing, or another process is at it."""
    with claimed(folder.claim(number)) as is_ours:
        if not is_ours:
            return False
        # It may have been drawn between the look and the claim.
        missing = {entry.name for entry in folder.missing(batches[number])}
        if not missing:
            return False
        what = "batch" if len(batches[0]) > 1 else "clip"
        bar.advance(0, f"{what} {number + 1} of {len(batches)}" if len(batches) > 1 else None)
        for entry, frames in zip(batches[number], draw(number, bar.advance), strict=True):
            if entry.name in missing:
                folder.write(entry, frames)
        return True


def _look_around(
    folder: ClipFolder,
    batches: Sequence[Sequence[ClipEntry]],
    pending: dict[int, int],
    ours: Sequence[int],
    bar: Bar,
    steps: int,
) -> None:
    """Leave out of `pending` what is there by now, and count what others drew."""
    for number in [n for n in pending if not folder.missing(batches[n])]:
        clips = pending.pop(number)
        if number not in ours:
            bar.advance(clips * steps)


def _wait(folder: ClipFolder, pending: Iterable[int], console: Console, told: str) -> str:
    """Give others time, and tell once who they are: they may be gone and not look so."""
    holders = sorted({holder_of(folder.claim(number)) for number in pending} - {""})
    waited_for = "; ".join(holders)
    if waited_for and waited_for != told:
        where = folder.claim(0).parent
        console.say(f"waiting for {waited_for}; if that is gone, delete {where}")
    time.sleep(_LOOK_AGAIN_S)
    return waited_for or told


def batches_of(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Items in batches, cut at the same places whatever is missing."""
    for first in range(0, len(items), size):
        yield items[first : first + size]
