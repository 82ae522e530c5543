"""Texts to embeddings: one process claims a chunk, encodes it into a shard, and takes the next."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from latte_cli.data.texts.folder import TextFolder
from latte_cli.data.texts.losses import losses_of
from latte_cli.data.texts.shards import EncodedCaption
from latte_cli.runtime.claims import claimed, waiting_for
from latte_cli.runtime.console import Bar, Console
from latte_cli.runtime.distributed import is_main, own_shard_first, rank

CLOSE_AFTER_S = 45.0
"""Seconds after which a shard is written with the texts that are done: a kill loses no more."""

Encode = Callable[[Sequence[str]], list[EncodedCaption]]

_WAIT_S = 0.5  # before looking again, while other processes are at work


def encode_missing(folder: TextFolder, load_encoder: Callable[[], Encode], console: Console) -> int:
    """Encode texts until none is missing; how many were missing at the beginning.

    The encoder is loaded only if there is anything to encode. A process of torchrun other than the
    main one returns once others work on all that is missing; the main one waits for them, takes
    over what dead ones leave, and writes the index.

    Args:
        folder: where they go.
        load_encoder: loads the encoder, which may take gigabytes.
        console: reports progress, and what the encoder did not take of the texts.
    """
    before = folder.num_missing
    if before:
        total = sum(map(len, folder.chunks))
        if is_main() and before < total:
            console.info(f"{total - before} of {total} texts are already encoded")
        try:
            _encode_all(folder, load_encoder(), console, total - before, total)
        except BaseException:
            folder.refresh()
            if is_main() and (kept := total - folder.num_missing):
                console.info(f"{kept} of {total} encoded texts are kept")
            raise
    if is_main():
        folder.finish()
        if before:
            texts = [text for chunk in folder.chunks for text in chunk]
            losses_of(texts, folder.losses).report(folder.meta.tokens, console)
    return before


def _encode_all(
    folder: TextFolder, encode: Encode, console: Console, done: int, total: int
) -> None:
    quiet, said = console if is_main() else replace(console, quiet=True), ""
    with quiet.progress("encoding captions", total, "texts") as bar:
        bar.start(done)
        while pending := [n for n in range(len(folder.chunks)) if folder.missing(n)]:
            tried = [_encode_chunk(folder, n, encode, bar) for n in own_shard_first(pending)]
            folder.refresh()
            if any(tried):
                continue
            if not is_main():
                console.info(f"process {rank()} ends: others encode the rest of the captions")
                return
            said = _wait(folder, pending, said, console)


def _encode_chunk(folder: TextFolder, number: int, encode: Encode, bar: Bar) -> bool:
    """Encode what is missing of a chunk; False if another process is at it."""
    with claimed(folder.claim(number)) as is_ours:
        if not is_ours:
            return False
        folder.refresh()  # another process may have finished it before the claim
        done: dict[str, EncodedCaption] = {}
        close_at = time.monotonic() + CLOSE_AFTER_S
        try:
            for text in folder.missing(number):
                (done[text],) = encode([text])
                bar.advance(1)
                if time.monotonic() >= close_at:
                    folder.write(done)
                    close_at = time.monotonic() + CLOSE_AFTER_S
        finally:  # whatever ends this early, what is done is kept
            folder.write(done)
    return True


def _wait(folder: TextFolder, pending: Sequence[int], known: str, console: Console) -> str:
    """Wait a moment for other processes; name them once, since they may be dead."""
    words = waiting_for(folder.claim(number) for number in pending)
    if words and words != known:
        console.info(words)
    time.sleep(_WAIT_S)
    folder.refresh()
    return words or known
