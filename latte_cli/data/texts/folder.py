"""A folder of encoded texts while it is filled, by any number of processes."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from latte_cli.data.texts.shards import (
    EncodedCaption,
    StoredText,
    read_shard_header,
    shard_files,
    write_shard,
)
from latte_cli.data.texts.store import (
    NULL_TEXT,
    WORK,
    TextMeta,
    key_of,
    read_meta,
    read_places,
    write_index,
)
from latte_cli.runtime.claims import claimed_in_turn, wait_until_free
from latte_cli.runtime.errors import DataError
from latte_cli.runtime.files import PART
from latte_cli.runtime.signals import hold_signals

CHUNK = 256
"""Texts of a shard: some 60 MB of T5-XXL's embeddings of captions."""

_CLAIM = ".claim"
_INDEX_CLAIM = f"index{_CLAIM}"
_CLAIMS_GONE_S = 10.0  # after a shard is there, its claim is removed within this time


class TextFolder:
    """A folder that the texts of a data set are written to.

    Args:
        folder: its path; made when something is written.
        meta: how texts are encoded.
        texts: all of the data set; repeated ones count once. The null text is encoded, too.

    Attributes:
        chunks: the texts, as many as go into a shard each.
        work: a folder inside for claims and unfinished files.
        losses: encoded texts of which the encoder did not take all, by key.

    Raises:
        DataError: if the folder holds texts that were encoded differently.
    """

    def __init__(self, folder: Path, meta: TextMeta, texts: Iterable[str]) -> None:
        distinct = list(dict.fromkeys([NULL_TEXT, *texts]))
        self.folder, self.meta = folder, replace(meta, texts=len(distinct))
        self.work = folder / WORK
        self.chunks = [distinct[first : first + CHUNK] for first in range(0, len(distinct), CHUNK)]
        self.losses: dict[int, StoredText] = {}
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
                header = read_shard_header(path)
                self._check_kind(header.kind)
                for position, stored in enumerate(header.texts):
                    place = path.name, position
                    self._places[stored.key] = min(self._places.get(stored.key, place), place)
                    if stored.is_incomplete:
                        self.losses[stored.key] = stored
                self._read.add(path.name)

    def missing(self, number: int) -> list[str]:
        """The texts of a chunk that are not encoded yet."""
        return [text for text in self.chunks[number] if key_of(text) not in self._places]

    @property
    def num_missing(self) -> int:
        """How many texts are not encoded yet."""
        return sum(len(self.missing(number)) for number in range(len(self.chunks)))

    def claim(self, number: int) -> Path:
        """The file by which one process claims a chunk."""
        return self.work / f"{number:06d}{_CLAIM}"

    def write(self, texts: dict[str, EncodedCaption]) -> None:
        """Write a shard of some texts, and forget them."""
        if texts:
            with hold_signals():
                write_shard(self.folder, self.meta, texts)
                texts.clear()

    def finish(self) -> None:
        """Write the index, and remove claims and unfinished files.

        A folder that is whole is only read: its disk may be read-only by now.
        """
        claims = (path for path in self.work.glob(f"*{_CLAIM}") if path.name != _INDEX_CLAIM)
        wait_until_free(claims, _CLAIMS_GONE_S)
        if not (self._leftovers() or self.work.exists() or not self._is_indexed(self._indexed())):
            return
        with claimed_in_turn(self.work / _INDEX_CLAIM):
            self.refresh()
            write_index(self.folder, self.meta, self._indexed())
            for path in self._leftovers():
                path.unlink(missing_ok=True)
        with suppress(OSError):  # another process still uses it
            self.work.rmdir()

    def _indexed(self) -> dict[int, tuple[str, int]]:
        """Where each text of the data set is, by its key."""
        present = {key_of(text) for chunk in self.chunks for text in chunk}
        return {key: place for key, place in self._places.items() if key in present}

    def _leftovers(self) -> list[Path]:
        """Unfinished files, of no use once everything is encoded."""
        return [*self.folder.glob(f"{PART}*"), *self.work.glob(f"{PART}*")]

    def _is_indexed(self, places: dict[int, tuple[str, int]]) -> bool:
        """Whether index and metadata are there, intact, and tell of these texts."""
        with suppress(DataError):
            return read_meta(self.folder) == self.meta and read_places(self.folder) == places
        return False

    def _check_kind(self, kind: Mapping[str, object]) -> None:
        different = [
            f"{name} {kind.get(name)!r} instead of {value!r}"
            for name, value in self.meta.kind.items()
            if kind.get(name) != value
        ]
        if different:
            raise DataError(
                f"{self.folder} holds texts with other settings: {'; '.join(different)}",
                hint="-o data.texts=FOLDER encodes into another folder, and keeps both",
            )
