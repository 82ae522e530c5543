"""A JSON-lines file of videos, read into columns: a million lines in seconds."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latte_cli.runtime.errors import DataError

_LINES_AT_A_TIME = 10_000
_HEX_DIGITS = 16  # 64 bits
NO_LABEL = -1


class VideoTable:
    """What sampling clips needs to know of every video; a whole line is read on demand.

    Attributes:
        path: the file.
        frames: of each video, (n,) int32.
        labels: of each video, (n,) int32, -1 if it has none.
        columns: further keys, (n,) int32 each; words are stored as indices into `words`.
        words: for each key whose values are words, its distinct words.
        contents: the last 64 bits of each video's checksum, (n,) uint64; (0,) if not requested.
    """

    def __init__(
        self,
        path: Path,
        columns: dict[str, NDArray[np.int32]],
        words: dict[str, tuple[str, ...]],
        offsets: NDArray[np.int64],
        contents: NDArray[np.uint64] | None = None,
    ) -> None:
        self.path = path
        self.frames = columns["frames"]
        self.labels = columns["label"]
        self.columns = columns
        self.words = words
        self.contents = np.empty(0, np.uint64) if contents is None else contents
        self._offsets = offsets

    @classmethod
    def read(
        cls,
        path: Path,
        numbers: Sequence[str] = (),
        words: Sequence[str] = (),
        *,
        contents: bool = False,
    ) -> "VideoTable":
        """Read a manifest or an index of latents.

        Args:
            path: the file.
            numbers: further keys whose values are integers.
            words: keys whose values are words shared by many videos, like `split`.
            contents: whether to keep part of the checksums, to compare videos by content.

        Raises:
            DataError: if a line is damaged, or a key is missing.
        """
        keys = ("frames", "label", *numbers)
        indices: dict[str, dict[str, int]] = {key: {} for key in words}
        parts, lengths = [np.empty((0, len(keys) + len(words)), np.int32)], [np.zeros(1, np.int64)]
        bits = [np.empty(0, np.uint64)]
        try:
            for length, rows in _read_rows(path):
                lengths.append(length)
                parts.append(_to_columns(rows, keys, indices))
                if contents:
                    # Of a million videos, two share these bits once in 10^7 data sets.
                    last = (int(row["sha256"][-_HEX_DIGITS:], 16) for row in rows)
                    bits.append(np.fromiter(last, np.uint64, len(rows)))
            if not all(isinstance(word, str) for known in indices.values() for word in known):
                raise TypeError
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise DataError(
                f"{path}: damaged, or written by another version",
                hint="run the command that made it again",
            ) from error
        columns = {
            key: np.concatenate([part[:, column] for part in parts])
            for column, key in enumerate((*keys, *words))
        }
        offsets = np.cumsum(np.concatenate(lengths))
        distinct = {key: tuple(found) for key, found in indices.items()}
        return cls(path, columns, distinct, offsets, np.concatenate(bits))

    def __len__(self) -> int:
        return len(self.frames)

    def word(self, key: str, number: int) -> str:
        """The word that a video has for a key."""
        return self.words[key][int(self.columns[key][number])]

    def where(self, key: str, word: str) -> NDArray[np.bool_]:
        """Which videos have this word for a key."""
        words = self.words[key]
        matches: NDArray[np.bool_] = self.columns[key] == (
            words.index(word) if word in words else -1
        )
        return matches

    def rows(self) -> Iterator[dict[str, Any]]:
        """The whole lines of all videos, in order."""
        for _, rows in _read_rows(self.path):
            yield from rows

    def row(self, number: int) -> dict[str, Any]:
        """The whole line of a video."""
        with self.path.open("rb") as file:
            file.seek(int(self._offsets[number]))
            values: dict[str, Any] = json.loads(file.readline())
        return values


def _read_rows(path: Path) -> Iterator[tuple[NDArray[np.int64], list[dict[str, Any]]]]:
    """Some lines at a time: the length of each in bytes, and their values."""
    with path.open("rb") as file:
        while lines := list(islice(file, _LINES_AT_A_TIME)):
            lengths = np.fromiter(map(len, lines), np.int64, len(lines))
            yield lengths, json.loads(b"[" + b",".join(lines) + b"]")


def _to_columns(
    rows: Iterable[dict[str, Any]], keys: Sequence[str], indices: dict[str, dict[str, int]]
) -> NDArray[np.int32]:
    """(n, keys and words) int32; words are indexed in the order of their first use."""
    plain = [key for key in keys if key != "label"]
    label_column = keys.index("label")
    values = []
    for row in rows:
        line = [row[key] for key in plain]
        label = row["label"]
        line.insert(label_column, NO_LABEL if label is None else label)
        line += [known.setdefault(row[key], len(known)) for key, known in indices.items()]
        values.append(line)
    return np.array(values, np.int32).reshape(len(values), len(keys) + len(indices))
