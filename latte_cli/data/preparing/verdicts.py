"""What came of checking videos, in a journal that outlives any interruption."""

import hashlib
import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType

from latte_cli.data.manifest import Rejection, SourceVideo, VideoRecord
from latte_cli.runtime.files import whole_file

JOURNAL = "checked.jsonl"

Stamp = tuple[tuple[int, int], ...]
"""Size in bytes and time of the last change in ns, of a video and of its mask.

Of a folder of frames the second is a checksum of all names, sizes and times.
"""


@dataclass(frozen=True)
class Verdict:
    """What came of checking one video; a line of the journal.

    Attributes:
        outcome: its line in the manifest or in rejected.jsonl, but for what the layout tells of it
            (label, split, caption), which may change without the file.
        stamp: of its files, taken before they were read; None where the outcome does not come
            from what they hold (they could not be read, the decoder crashed), so that the next run
            tries again.
        checksums: of its files; None where they were not read to their end.
        given_up_s: the time-out that it ran into.
    """

    outcome: VideoRecord | Rejection
    stamp: Stamp | None = None
    checksums: tuple[str, ...] | None = None
    given_up_s: float | None = None

    def stands(self, source: SourceVideo, timeout_s: float) -> bool:
        """Whether a video need not be opened again: its files look as they did."""
        patience_grew = self.given_up_s is not None and timeout_s > self.given_up_s
        return self.stamp is not None and not patience_grew and self.stamp == stamp_of(source)


def stamp_of(source: SourceVideo) -> Stamp | None:
    """How a video's files look from outside; None where they cannot be looked at."""
    try:
        return tuple(_look(path) for path in (source.path, source.mask) if path is not None)
    except OSError:
        return None


def _look(path: Path) -> tuple[int, int]:
    seen = path.stat()
    if not path.is_dir():
        return seen.st_size, seen.st_mtime_ns
    with os.scandir(path) as entries:
        files = sorted((entry.name, entry.stat()) for entry in entries)
    looks = repr([(name, file.st_size, file.st_mtime_ns) for name, file in files])
    digest = hashlib.sha256(looks.encode()).digest()
    return sum(file.st_size for _, file in files), int.from_bytes(digest[:8], "big")


class Journal:
    """A file of verdicts, one a line, each on its way to the disk before the next is asked for.

    Only the lines' places are held in memory. Of several verdicts on one video the last one holds;
    lines that a crash cut off, or that another version wrote, are as if they were not there.

    Args:
        path: the file; it is made with its folder. No other process may write it meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> "Journal":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._close()

    def get(self, name: str) -> Verdict | None:
        """The verdict on the video of a name, if there is one."""
        return _parse(self._line(name)) if name in self._places else None

    def add(self, verdict: Verdict) -> None:
        """Write a verdict down.

        Raises:
            OSError: if it cannot be written, the disk being full in particular.
        """
        place = self._end
        self._append(json.dumps(asdict(verdict), ensure_ascii=False).encode() + b"\n")
        self._places[verdict.outcome.path] = place
        self._lines += 1

    def tidy(self) -> None:
        """Write what holds anew, sorted by name: the file no longer tells in what order it grew.

        Raises:
            OSError: if it cannot be written; the file is then as it was.
        """
        names = sorted(self._places)
        places = [self._places[name] for name in names]
        if len(names) == self._lines and places == sorted(places):
            return
        with whole_file(self._path) as part, part.open("wb") as file:
            file.writelines(map(self._line, names))
        self._close()
        self._open()

    def _open(self) -> None:
        """Find every line's place."""
        self._places: dict[str, int] = {}
        self._end = self._lines = 0
        self._writing = self._path.open("ab", buffering=0)
        self._reading = self._path.open("rb")
        line = b"\n"
        for line in self._reading:
            verdict = _parse(line)
            if verdict is not None:
                self._places[verdict.outcome.path] = self._end
            self._lines += 1
            self._end += len(line)
        if not line.endswith(b"\n"):
            self._append(b"\n")

    def _close(self) -> None:
        self._reading.close()
        self._writing.close()

    def _line(self, name: str) -> bytes:
        self._reading.seek(self._places[name])
        return self._reading.readline()

    def _append(self, line: bytes) -> None:
        try:
            while line:
                written = self._writing.write(line)  # less than all of it on a disk that gets full
                line, self._end = line[written:], self._end + written
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error


def _parse(line: bytes) -> Verdict | None:
    """A line of the journal; None if it is damaged or not of this version."""
    try:
        row = json.loads(line)
        outcome, stamp, checksums = row["outcome"], row["stamp"], row["checksums"]
        kind = Rejection if "reason" in outcome else VideoRecord
        if outcome.keys() != {field.name for field in fields(kind)}:
            return None
        return Verdict(
            kind(**outcome),
            None if stamp is None else tuple((size, time) for size, time in stamp),
            None if checksums is None else tuple(checksums),
            row["given_up_s"],
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
