"""A file of one JSON object a video, read into columns: a million lines in seconds."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latte_cli.runtime.errors import DataError

_AT_A_TIME = 10_000
_HEX_DIGITS = 16  # 64 bits
NO_LABEL = -1


class VideoTable:
    """What choosing clips needs of every video; all else of a video is read when asked for.

    Attributes:
        path: the file.
        frames: of each video, (n,) int32.
        labels: of each video, (n,) int32, -1 where it has none.
        columns: further keys asked for, (n,) int32 each; words are numbered, see `words`.
        words: for each key whose values are words, the word of each number.
        contents: the last 64 bits of each video's checksum, (n,) uint64; (0,) if not asked for.
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
            path: of the file.
            numbers: further keys whose values are whole numbers.
            words: keys whose values are words, of which many videos have the same, as `split`.
            contents: whether to keep what tells the bytes of one video from those of another.

        Raises:
            DataError: if a line is damaged, or a key is missing.
        """
        keys = ("frames", "label", *numbers)
        numbered: dict[str, dict[str, int]] = {key: {} for key in words}
        parts, lengths = [np.empty((0, len(keys) + len(words)), np.int32)], [np.zeros(1, np.int64)]
        bits = [np.empty(0, np.uint64)]
        try:
            for length, rows in _rows_of(path):
                lengths.append(length)
                parts.append(_as_numbers(rows, keys, numbered))
                if contents:
                    bits.append(_last_bits(rows))
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise DataError(
                f"{path}: damaged, or of another version", hint="make it again by the same command"
            ) from error
        columns = {
            key: np.concatenate([part[:, at] for part in parts])
            for at, key in enumerate((*keys, *words))
        }
        offsets = np.cumsum(np.concatenate(lengths))
        known = {key: tuple(found) for key, found in numbered.items()}
        return cls(path, columns, known, offsets, np.concatenate(bits))

    def __len__(self) -> int:
        return len(self.frames)

    def word(self, key: str, number: int) -> str:
        """The word that a video has for a key."""
        return self.words[key][int(self.columns[key][number])]

    def where(self, key: str, word: str) -> NDArray[np.bool_]:
        """Which videos have this word for a key."""
        known = self.words[key]
        code = known.index(word) if word in known else -1
        matches: NDArray[np.bool_] = self.columns[key] == code
        return matches

    def row(self, number: int) -> dict[str, Any]:
        """All that the file says of a video."""
        with self.path.open("rb") as file:
            file.seek(int(self._offsets[number]))
            values: dict[str, Any] = json.loads(file.readline())
        return values


def _rows_of(path: Path) -> Iterator[tuple[NDArray[np.int64], list[dict[str, Any]]]]:
    """Some lines at a time: how many bytes each has, and what they say."""
    with path.open("rb") as file:
        while lines := list(islice(file, _AT_A_TIME)):
            lengths = np.fromiter(map(len, lines), np.int64, len(lines))
            yield lengths, json.loads(b"[" + b",".join(lines) + b"]")


def _last_bits(rows: Sequence[dict[str, Any]]) -> NDArray[np.uint64]:
    """Enough of each checksum to tell videos apart: of a million, two agree once in 10^7 sets."""
    last = (int(row["sha256"][-_HEX_DIGITS:], 16) for row in rows)
    return np.fromiter(last, np.uint64, len(rows))


def _as_numbers(
    rows: Iterable[dict[str, Any]], keys: Sequence[str], numbered: dict[str, dict[str, int]]
) -> NDArray[np.int32]:
    """(n, keys and words) int32; words get the number in which they were met."""
    plain = [key for key in keys if key != "label"]
    at = keys.index("label")
    values = []
    for row in rows:
        line = [row[key] for key in plain]
        label = row["label"]
        line.insert(at, NO_LABEL if label is None else label)
        line += [known.setdefault(row[key], len(known)) for key, known in numbered.items()]
        values.append(line)
    return np.array(values, np.int32).reshape(len(values), len(keys) + len(numbered))
