"""Verdicts on checked videos, in a journal that survives any interruption."""

import hashlib
import json
import os
import zlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from latte_cli.data.manifest import Rejection, SourceVideo, VideoRecord
from latte_cli.runtime.files import atomic_file
from latte_cli.runtime.records import record_from
from latte_cli.video_io.frame_folders import in_natural_order

JOURNAL = "checked.jsonl"

RULES = 2
"""Version of the rules that videos are checked by: verdicts of earlier ones are not kept."""

_CHECKSUM = b', "crc32": '

Stamp = tuple[tuple[int, int], ...]
"""Size in bytes and modification time in ns, of a video and of its mask.

For a folder of frames the second number is a hash of all names, sizes and times.
"""


@dataclass(frozen=True)
class Verdict:
    """Result of checking one video; a line of the journal.

    Attributes:
        outcome: its line in the manifest or in rejected.jsonl. Label, split and caption may be out
            of date: they come from the layout, which can change without the file.
        stamp: of its files, taken before they were read; None if the outcome does not depend on
            their content (they could not be read, the decoder crashed), so that the next run tries
            again.
        checksums: of its files; None if they were not read to their end.
        given_up_s: the timeout that it exceeded.
        rules: version of the rules that it was checked by.
    """

    outcome: VideoRecord | Rejection
    stamp: Stamp | None = None
    checksums: tuple[str, ...] | None = None
    given_up_s: float | None = None
    rules: int = RULES

    def is_current(self, source: SourceVideo, timeout_s: float) -> bool:
        """Whether the video need not be opened again: the stamp of its files is the same."""
        longer_timeout = self.given_up_s is not None and timeout_s > self.given_up_s
        return self.stamp is not None and not longer_timeout and self.stamp == stamp_of(source)


def stamp_of(source: SourceVideo) -> Stamp | None:
    """Size and time of a video's files; None if a file is missing or not accessible."""
    try:
        return tuple(_stat(path) for path in (source.path, source.mask) if path is not None)
    except OSError:
        return None


def _stat(path: Path) -> tuple[int, int]:
    stat = path.stat()
    if not path.is_dir():
        return stat.st_size, stat.st_mtime_ns
    with os.scandir(path) as entries:
        files = {entry.name: entry.stat() for entry in entries}
    # In the order in which frames are read: another order of the same files is another video.
    listing = repr(
        [(name, files[name].st_size, files[name].st_mtime_ns) for name in in_natural_order(files)]
    )
    digest = hashlib.sha256(listing.encode()).digest()
    return sum(file.st_size for file in files.values()), int.from_bytes(digest[:8], "big")


class Journal:
    """A file with one verdict per line, each written to the disk before the next.

    Only the offsets of the lines are held in memory. Of several verdicts on one video the last one
    counts; lines that a crash cut off, or that another version wrote, are ignored.

    Args:
        path: the file; it is made with its folder. No other process may write it meanwhile.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> "Journal":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._open()
        return self

    def __exit__(self, *error: object) -> None:
        self._close()

    def get(self, name: str) -> Verdict | None:
        """The verdict on the video of this name, if there is one."""
        return _parse(self._line(name)) if name in self._offsets else None

    def add(self, verdict: Verdict) -> None:
        """Append a verdict.

        Raises:
            OSError: if it cannot be written, for example because the disk is full.
        """
        offset = self._end
        self._append(_line_of(asdict(verdict)))
        self._offsets[verdict.outcome.path] = offset
        self._lines += 1

    def tidy(self) -> None:
        """Rewrite the current verdicts sorted by name: the file depends on the videos only.

        Raises:
            OSError: if it cannot be written; the file is then unchanged.
        """
        names = sorted(self._offsets)
        offsets = [self._offsets[name] for name in names]
        if len(names) == self._lines and offsets == sorted(offsets):
            return
        with atomic_file(self._path) as part, part.open("wb") as file:
            file.writelines(map(self._line, names))
        self._close()
        self._open()

    def _open(self) -> None:
        """Find every line's offset."""
        self._offsets: dict[str, int] = {}
        self._end = self._lines = 0
        self._writing = self._path.open("ab", buffering=0)
        self._reading = self._path.open("rb")
        line = b"\n"
        for line in self._reading:
            verdict = _parse(line)
            if verdict is not None:
                self._offsets[verdict.outcome.path] = self._end
            self._lines += 1
            self._end += len(line)
        if not line.endswith(b"\n"):
            self._append(b"\n")

    def _close(self) -> None:
        self._reading.close()
        self._writing.close()

    def _line(self, name: str) -> bytes:
        self._reading.seek(self._offsets[name])
        return self._reading.readline()

    def _append(self, line: bytes) -> None:
        try:
            while line:
                written = self._writing.write(line)  # only a part if the disk becomes full
                line, self._end = line[written:], self._end + written
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error


def _line_of(row: dict[str, Any]) -> bytes:
    """A line of the journal, with a checksum of the rest of it as its last key."""
    rest = json.dumps(row, ensure_ascii=False).encode()
    return rest[:-1] + _CHECKSUM + str(zlib.crc32(rest)).encode() + b"}\n"


def _parse(line: bytes) -> Verdict | None:
    """A line of the journal; None if it is damaged or from another version."""
    try:
        rest, _, checksum = line.rpartition(_CHECKSUM)
        if zlib.crc32(rest + b"}") != int(checksum.strip().removesuffix(b"}")):
            return None
        row = json.loads(rest + b"}")
        outcome, stamp, checksums = row["outcome"], row["stamp"], row["checksums"]
        kind = Rejection if "reason" in outcome else VideoRecord
        if row["rules"] != RULES or outcome.keys() != {field.name for field in fields(kind)}:
            return None
        parsed: VideoRecord | Rejection = (
            record_from(Rejection, outcome)
            if kind is Rejection
            else record_from(VideoRecord, outcome)
        )
        return Verdict(
            parsed,
            None if stamp is None else tuple((size, time) for size, time in stamp),
            None if checksums is None else tuple(checksums),
            None if row["given_up_s"] is None else float(row["given_up_s"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
