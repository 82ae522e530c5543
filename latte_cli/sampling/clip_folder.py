"""A folder of clips: which are missing, which belong to another run, and its lists."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latte_cli.runtime.errors import ConfigError, DataError
from latte_cli.runtime.files import (
    json_lines,
    sha256_of,
    write_if_changed,
    write_json_lines,
    write_text,
)
from latte_cli.sampling.clip_list import (
    PLAN,
    SAMPLES,
    check_files,
    checksum,
    first_names,
    listed_metadata,
    read_samples,
    remove_samples,
)
from latte_cli.sampling.clip_stack import (
    iter_clips,
    read_names,
    read_settings,
    write_frames,
    write_stack,
)
from latte_cli.video_io import FORMATS, Frame, read_video, write_clip
from latte_cli.video_io.writing import encoding_of

SETTINGS = "settings.json"
STACK = "clips.npz"

_PARTS = ".clips"  # clips that are to be stacked
_CLAIMS = ".claims"
_OLD_ENCODING = {"mp4": {**encoding_of("mp4"), "crf": 17}}  # of folders that do not say it
_HINT = "give another --out, or delete what is there"


@dataclass(frozen=True)
class ClipEntry:
    """A clip of a folder.

    Attributes:
        name: of its file, without a suffix; unique in the folder.
        metadata: what the clip depends on beside the folder's settings: index, seed, label or
            prompt.
    """

    name: str
    metadata: Mapping[str, Any]


class ClipFolder:
    """A folder of clips that are all sampled with the same settings.

    Several processes may write to it at once: they coordinate through its files (see `claims`).

    Args:
        path: the folder, created when the first clip is written.
        entries: the clips that it is to hold, and no others.
        settings: all that they depend on beside their entries.
        fmt: one of `FORMATS`; npz is one file of all clips, written when all are there.
        fps: of the clips.
        stack: the npz file; by default `clips.npz` in the folder. If it is elsewhere, the folder is
            deleted when the file is written.

    Raises:
        ConfigError: if there is no such format.
        DataError: if it holds clips that were sampled with other settings, from another prompt or
            label, or that are not among the entries.
    """

    def __init__(
        self,
        path: Path,
        entries: Sequence[ClipEntry],
        settings: Mapping[str, Any],
        fmt: str,
        fps: float,
        stack: Path | None = None,
    ) -> None:
        if fmt not in FORMATS:
            raise ConfigError(
                f"--format {fmt} is unknown", hint=f"known: {', '.join(sorted(FORMATS))}"
            )
        self.path, self.entries, self._fps = path, tuple(entries), fps
        self.stack = (stack or path / STACK) if fmt == "npz" else None
        self._keeps_folder = stack is None
        self._settings = json.loads(json.dumps({**settings, "format": fmt, **encoding_of(fmt)}))
        self._suffix = ".npy" if self.stack else FORMATS[fmt]
        self._root = path / _PARTS if self.stack else path
        self._check_is_same_run()
        files = {entry.name: self._file(entry) for entry in self.entries}
        self._checked = check_files(files, {} if self.stack else read_samples(path))

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
        return self.path / _CLAIMS / str(batch)

    def missing(self, entries: Iterable[ClipEntry] | None = None) -> list[ClipEntry]:
        """The clips that are not there yet, of some entries or of all."""
        checked = self._checked
        absent = [
            entry
            for entry in (self.entries if entries is None else entries)
            if not checked.exists(entry.name, self._file(entry))
        ]
        # Read last: parts are deleted when the stack is there.
        stacked = set(read_names(self.stack)) if self.stack and absent else set()
        return [entry for entry in absent if entry.name not in stacked]

    def begin(self) -> None:
        """Write the settings and the plan, before the first clip."""
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
            (self.path / _CLAIMS).rmdir()

    def read_frames(self, count: int, indices: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """Some frames of each of the first clips, (len(indices), h, w, 3) uint8, clip by clip."""
        if self.stack:
            for clip, _ in zip(iter_clips(self.stack), range(count), strict=False):
                yield clip[list(indices)]
            return
        for entry in self.entries[:count]:
            yield read_video(self._file(entry), list(indices))

    def _file(self, entry: ClipEntry) -> Path:
        return self._root / f"{entry.name}{self._suffix}"

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
        shutil.rmtree(self._root, ignore_errors=True)

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

    def _present(self) -> Iterator[str]:
        """Names of all clips that are there, also of those that are not among the entries."""
        yield from read_names(self.stack) if self.stack else ()
        for folder in {self._file(entry).parent for entry in self.entries}:
            for path in folder.iterdir() if folder.is_dir() else ():
                is_clip = path.suffix == self._suffix if self._suffix else path.is_dir()
                if is_clip and not path.name.startswith("."):
                    name = path.relative_to(self._root).as_posix()
                    yield name.removesuffix(self._suffix)

    def _check_is_same_run(self) -> None:
        """Raise DataError if the folder holds clips of another run."""
        present, own = sorted(set(self._present())), {entry.name for entry in self.entries}
        settings = self._read_settings()
        is_new = {path.name for path in self.path.glob("*")} <= {SETTINGS, PLAN, _CLAIMS}
        if not present and (settings is None or is_new):
            return
        path = self.stack if self.stack and not self.path.is_dir() else self.path
        if settings is None:
            raise DataError(f"{path} holds clips of unknown settings", hint=_HINT)
        if different := _different_settings(settings, self._settings):
            raise DataError(
                f"{path} holds clips sampled with other settings: {'; '.join(different)}",
                hint=_HINT,
            )
        if others := [name for name in present if name not in own]:
            raise DataError(
                f"{self.stack or self.path} holds {len(others)} clips that are not among the "
                f"{len(own)} requested: {first_names(others)}",
                hint=_HINT,
            )
        self._check_metadata(present, path)

    def _check_metadata(self, present: Sequence[str], path: Path) -> None:
        """Raise DataError on a clip of another prompt: names contain seed and label only."""
        own = {entry.name: entry.metadata for entry in self.entries}
        listed = listed_metadata(self.path, self.stack)
        for name in present:
            metadata = json.loads(json.dumps(dict(own[name])))
            row = listed.get(name, metadata)
            if different := [key for key in metadata if row.get(key) != metadata[key]]:
                key = different[0]
                was = f"was {row[key]}" if key in row else "is not recorded"
                raise DataError(f"{path} holds other clips: {key} of {name} {was}", hint=_HINT)

    def _read_settings(self) -> dict[str, Any] | None:
        path = self.path / SETTINGS
        if path.is_file():
            try:
                settings = dict(json.loads(path.read_text(encoding="utf-8")))
            except (ValueError, TypeError) as error:
                raise DataError(f"{path}: damaged", hint=_HINT) from error
            return {**_OLD_ENCODING.get(settings.get("format", ""), {}), **settings}
        return read_settings(self.stack) if self.stack and self.stack.is_file() else None


def _different_settings(stored: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Messages on the settings that differ; a missing key equals None."""
    keys = dict.fromkeys((*current, *stored))  # each once, in order
    return [
        f"{key} was {stored.get(key)}"
        for key in keys
        # `model` is a name; the checksums identify the network.
        if key != "model" and stored.get(key) != current.get(key)
    ]
