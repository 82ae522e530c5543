"""Texts to embeddings: one process claims a chunk, encodes it into a shard, and takes the next."""

# Axes: l tokens of a text, d width of the embeddings.

import json
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from latte_cli.data.texts.store import (
    INDEX,
    KEYS,
    KIND,
    NULL_TEXT,
    TextMeta,
    key_of,
    read_meta,
    read_shard_header,
    shard_files,
    shard_name,
    write_index,
)
from latte_cli.runtime.claims import claimed
from latte_cli.runtime.console import Bar, Console
from latte_cli.runtime.distributed import is_main, own_shard_first
from latte_cli.runtime.errors import DataError
from latte_cli.runtime.files import PART, write_tensors
from latte_cli.runtime.signals import hold_signals

CHUNK = 256
"""Texts of a shard: some 60 MB of T5-XXL's embeddings of captions."""

CLOSE_AFTER_S = 45.0
"""Seconds after which a shard is written with the texts that are done: a kill loses no more."""

Encode = Callable[[Sequence[str]], list[Tensor]]
"""Embeddings of each text, (l, d), without padding."""

_WORK = ".encoding"
_WAIT_S = 0.5  # before looking again, while other processes are at work


class TextFolder:
    """A folder that the texts of a data set are written to.

    Args:
        folder: its path; made when something is written.
        meta: how texts are encoded.
        texts: all of the data set; repeated ones count once. The null text is encoded, too.

    Raises:
        DataError: if the folder holds texts that were encoded differently.
    """

    def __init__(self, folder: Path, meta: TextMeta, texts: Iterable[str]) -> None:
        distinct = list(dict.fromkeys([NULL_TEXT, *texts]))
        self.folder, self.meta = folder, replace(meta, texts=len(distinct))
        self._work = folder / _WORK
        self.chunks = [distinct[first : first + CHUNK] for first in range(0, len(distinct), CHUNK)]
        self._places: dict[int, tuple[str, int]] = {}
        self._read: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """Find what is encoded by now, by any process.

        Raises:
            DataError: if the folder holds texts that were encoded differently.
        """
        for path in shard_files(self.folder):
            if path.name in self._read:
                continue
            with suppress(ValueError):  # a damaged shard counts as empty
                kind, keys = read_shard_header(path)
                self._check_kind(kind)
                for position, key in enumerate(keys):
                    self._places[key] = min(
                        self._places.get(key, (path.name, position)), (path.name, position)
                    )
                self._read.add(path.name)

    def missing(self, number: int) -> list[str]:
        """The texts of a chunk that are not encoded yet."""
        return [text for text in self.chunks[number] if key_of(text) not in self._places]

    @property
    def num_missing(self) -> int:
        """How many texts are not encoded yet."""
        return sum(len(self.missing(number)) for number in range(len(self.chunks)))

    def encode_chunk(self, number: int, encode: Encode, bar: Bar) -> bool:
        """Encode what is missing of a chunk; False if another process is at it.

        Args:
            number: of the chunk.
            encode: the encoder.
            bar: advances by each text.
        """
        with claimed(self._work / f"{number:06d}.claim") as is_ours:
            if not is_ours:
                return False
            self.refresh()  # another process may have finished it before the claim
            done: dict[str, Tensor] = {}
            close_at = time.monotonic() + CLOSE_AFTER_S
            try:
                for text in self.missing(number):
                    (tokens,) = encode([text])
                    done[text] = tokens.to("cpu", torch.bfloat16).contiguous()
                    bar.advance(1)
                    if time.monotonic() >= close_at:
                        self._write(done)
                        close_at = time.monotonic() + CLOSE_AFTER_S
            finally:  # whatever ends this early, what is done is kept
                self._write(done)
        return True

    def finish(self, *, changed: bool) -> None:
        """Write the index, and remove claims and unfinished files.

        Args:
            changed: whether shards were written; a folder that is whole is only read.
        """
        present = {key_of(text) for chunk in self.chunks for text in chunk}
        places = {key: place for key, place in self._places.items() if key in present}
        if changed or not (self.folder / INDEX).is_file() or read_meta(self.folder) != self.meta:
            write_index(self.folder, self.meta, places)
        for path in (*self.folder.glob(f"{PART}*"), *self._work.glob(f"{PART}*")):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # another process still uses it, or it is not there
            self._work.rmdir()

    def _write(self, done: dict[str, Tensor]) -> None:
        """Write a shard of some texts, and forget them."""
        if not done:
            return
        keys = [key_of(text) for text in done]
        tensors = {str(position): tokens for position, tokens in enumerate(done.values())}
        kind = {"encoder": self.meta.encoder, **self.meta.kind}
        metadata = {KIND: json.dumps(kind), KEYS: json.dumps(keys)}
        with hold_signals():
            write_tensors(self.folder / shard_name(self.meta, keys), tensors, metadata)
            done.clear()

    def _check_kind(self, kind: dict[str, object]) -> None:
        different = [
            f"{name} {kind.get(name)!r} instead of {value!r}"
            for name, value in self.meta.kind.items()
            if kind.get(name) != value
        ]
        if different:
            raise DataError(
                f"{self.folder} holds texts with other settings: {'; '.join(different)}",
                hint="-o data.texts=FOLDER for another folder, or delete that one",
            )


def encode_missing(folder: TextFolder, load_encoder: Callable[[], Encode], console: Console) -> int:
    """Encode texts until none is missing; how many this process encoded.

    The encoder is loaded only if there is anything to encode. A process of torchrun other than the
    main one returns once others work on all that is missing.

    Args:
        folder: where they go.
        load_encoder: loads the encoder, which may take gigabytes.
        console: reports progress.
    """
    total = sum(map(len, folder.chunks))
    before = folder.num_missing
    if before:
        encode = load_encoder()
        quiet = console if is_main() else replace(console, quiet=True)
        with quiet.progress("encoding captions", total, "texts") as bar:
            bar.start(total - before)
            while pending := [n for n in range(len(folder.chunks)) if folder.missing(n)]:
                tried = [folder.encode_chunk(n, encode, bar) for n in own_shard_first(pending)]
                folder.refresh()
                if not any(tried):
                    if not is_main():
                        return before - folder.num_missing
                    time.sleep(_WAIT_S)
                    folder.refresh()
    if is_main():
        folder.finish(changed=before > 0)
    return before
