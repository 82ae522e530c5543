"""A folder of clips: which are missing, which belong to another run, and its lists."""

import json
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.errors import ConfigError
from latte_cli.runtime.files import (
    json_lines,
    sha256_of,
    write_if_changed,
    write_json_lines,
    write_text,
)
from latte_cli.sampling.clip_list import (
    CLAIMS,
    PLAN,
    SAMPLES,
    SETTINGS,
    CheckedFiles,
    check_files,
    checksum,
    read_samples,
    remove_samples,
)
from latte_cli.sampling.clip_stack import iter_clips, read_names, write_frames, write_stack
from latte_cli.sampling.existing import require_replaceable
from latte_cli.sampling.existing.folders import ExistingClips, not_requested, with_format
from latte_cli.video_io import FORMATS, Frame, read_video, write_clip

_POLL_S = 0.5  # while the main process removes the clips of another request


@dataclass(frozen=True)
class ClipEntry:
    """A clip of a folder.

    Attributes:
        name: of its file, without a suffix; unique in the folder.
        metadata: what the clip depends on beside the folder's settings: index, seed, label or
            prompt.
        earlier_name: that earlier versions gave it; None: the same.
        caption: below which a picture shows it; empty: none.
    """

    name: str
    metadata: Mapping[str, Any]
    earlier_name: str | None = None
    caption: str = ""


def named_as_there(entries: Sequence[ClipEntry], existing: ExistingClips) -> Sequence[ClipEntry]:
    """Entries with the names of earlier versions, if some are there under them already."""
    earlier = {entry.earlier_name or entry.name for entry in entries}
    if earlier == {entry.name for entry in entries} or not existing.has_any(earlier):
        return entries
    return [replace(entry, name=entry.earlier_name or entry.name) for entry in entries]


class ClipFolder:
    """A folder of clips that are all sampled with the same settings.

    Several processes may write to it at once: they coordinate through its files (see `claims`).

    Args:
        path: the folder, created when the first clip is written.
        entries: the clips that it is to hold, and no others unless all of these are there already.
        settings: all that they depend on beside their entries.
        fmt: one of `FORMATS`; npz is one file of all clips, written when all are there.
        fps: of the clips.
        stack: the npz file; by default `clips.npz` in the folder. If it is elsewhere, the folder is
            deleted when the file is written.
        overwrite: whether clips of another request may be replaced; `begin` removes them.

    Attributes:
        holds_more: whether it holds other clips beside the entries, which are all there: nothing
            is to be written.

    Raises:
        ConfigError: if there is no such format.
        ExistsError: if it holds clips that were sampled with other settings, from another prompt or
            label, or that are not among the entries, and may not be replaced.
    """

    def __init__(
        self,
        path: Path,
        entries: Sequence[ClipEntry],
        settings: Mapping[str, Any],
        fmt: str,
        fps: float,
        stack: Path | None = None,
        *,
        overwrite: bool = False,
    ) -> None:
        if fmt not in FORMATS:
            raise ConfigError(
                f"--format {fmt} is unknown", hint=f"known: {', '.join(sorted(FORMATS))}"
            )
        self.path, self._fps = path, fps
        self._keeps_folder = stack is None
        self._settings = with_format(settings, fmt)
        self._existing = ExistingClips.of(path, fmt, stack)
        self.entries = tuple(named_as_there(entries, self._existing))
        self.stack = self._existing.stack
        self._own = {entry.name: entry.metadata for entry in self.entries}
        self._to_replace, self._checked = False, CheckedFiles({}, {})
        others: list[str] = []
        problem = self._existing.find_other_request(self._own, self._settings)
        if problem is None:
            files = {entry.name: self._file(entry) for entry in self.entries}
            self._checked = check_files(files, {} if self.stack else read_samples(path))
            others = self._existing.others(self._own)
            if others and self.missing():  # a damaged one
                problem = not_requested(others, self._own)
        if problem is not None:
            require_replaceable(self._existing.place, problem, overwrite=overwrite)
            self._existing.check_is_ours(self._own)
        self._to_replace = problem is not None
        self.holds_more = bool(others) and problem is None

    @property
    def damaged(self) -> tuple[str, ...]:
        """Names of the clips whose files are damaged: they are missing until sampled again."""
        return tuple(self._checked.damaged)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of the clips: a file or folder each, or one file of all."""
        return (self.stack,) if self.stack else tuple(map(self._file, self.entries))

    def claim_path(self, batch: int) -> Path:
        """The file by which a process claims a batch."""
        return self.path / CLAIMS / str(batch)

    def missing(self, entries: Iterable[ClipEntry] | None = None) -> list[ClipEntry]:
        """The clips that are not there yet, of some entries or of all."""
        checked, entries = self._checked, self.entries if entries is None else entries
        if self._to_replace:
            return list(entries)
        absent = [entry for entry in entries if not checked.exists(entry.name, self._file(entry))]
        # Read last: parts are deleted when the stack is there.
        stacked = set(read_names(self.stack)) if self.stack and absent else set()
        return [entry for entry in absent if entry.name not in stacked]

    def begin(self) -> None:
        """Write the settings and the plan, before the first clip."""
        if self._to_replace:
            self._replace()
        self.path.mkdir(parents=True, exist_ok=True)
        self._write_settings()
        write_json_lines(
            self.path / PLAN, ({"name": each.name, **each.metadata} for each in self.entries)
        )
        remove_samples(self.path, {entry.name for entry in self.missing()})

    def write(self, entry: ClipEntry, frames: Iterable[Frame]) -> None:
        """Write a clip atomically, frame by frame, (h, w, 3) uint8 each."""
        if self.stack:
            write_frames(self._file(entry), frames)
        else:
            metadata = {**self._settings, **entry.metadata}
            write_clip(self._file(entry), frames, self._fps, metadata)

    def finish(self) -> None:
        """Once all clips are there: write the npz file, if any, and samples.jsonl."""
        if self.holds_more:
            return  # the lists are of all clips
        if self.stack:
            self._write_stack(self.stack)
        if not self._keeps_folder:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        if not (self.path / SETTINGS).is_file():
            self._write_settings()
        write_if_changed(self.path / SAMPLES, json_lines(self._rows()).encode())
        if (self.path / PLAN).exists():  # deleting a missing file fails on a read-only disk
            (self.path / PLAN).unlink(missing_ok=True)
        with suppress(OSError):  # another process may not have released its claim yet
            (self.path / CLAIMS).rmdir()

    def read_frames(self, count: int, indices: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """Some frames of each of the first clips, (len(indices), h, w, 3) uint8, clip by clip."""
        if self.stack:
            for clip, _ in zip(iter_clips(self.stack), range(count), strict=False):
                yield clip[list(indices)]
            return
        for entry in self.entries[:count]:
            yield read_video(self._file(entry), list(indices))

    def _file(self, entry: ClipEntry) -> Path:
        return self._existing.file(entry.name)

    def _write_settings(self) -> None:
        write_text(self.path / SETTINGS, json.dumps(self._settings, indent=2) + "\n")

    def _rows(self) -> Iterator[dict[str, Any]]:
        """The rows of samples.jsonl."""
        stack_sha256 = sha256_of(self.stack) if self.stack else None
        for row, entry in enumerate(self.entries):
            path = self.stack or self._file(entry)
            yield {
                "file": path.relative_to(self.path).as_posix(),
                **({"row": row} if self.stack else {}),
                "name": entry.name,
                **entry.metadata,
                "settings": self._settings,
                "sha256": stack_sha256 or self._checked.checksums.get(entry.name) or checksum(path),
            }

    def _write_stack(self, stack: Path) -> None:
        names, stacked = [entry.name for entry in self.entries], read_names(stack)
        if list(stacked) != names:
            metadata = [entry.metadata for entry in self.entries]
            write_stack(stack, self._clips(stack, stacked), names, metadata, self._settings)
        shutil.rmtree(self._existing.root, ignore_errors=True)

    def _clips(self, stack: Path, stacked: Sequence[str]) -> Iterator[NDArray[np.uint8]]:
        """All clips in order: those that the stack already has, and the new ones."""
        old = zip(stacked, iter_clips(stack), strict=True) if stacked else iter(())
        kept: tuple[str, NDArray[np.uint8]] | None = next(old, None)
        for entry in self.entries:
            if kept is not None and kept[0] == entry.name:
                yield kept[1]
                kept = next(old, None)
            else:
                yield np.load(self._file(entry), mmap_mode="r")

    def _replace(self) -> None:
        """Remove the clips of another request; other processes wait until the main one has."""
        if is_main():
            self._existing.remove(self._own)
        while not is_main() and self._existing.find_other_request(self._own, self._settings):
            time.sleep(_POLL_S)
        self._to_replace, self._checked = False, CheckedFiles({}, {})
