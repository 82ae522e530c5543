"""A folder of drawn clips: what is there stays, what is missing is drawn, two kinds never mix."""

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
    write_changed,
    write_json_lines,
    write_text,
)
from latte_cli.sampling.clip_list import (
    PLAN,
    SAMPLES,
    check_files,
    checksum,
    listed,
    origins,
    some_of,
    strike_out,
)
from latte_cli.sampling.clip_settings import other_settings
from latte_cli.sampling.clip_stack import (
    iter_clips,
    read_names,
    read_settings,
    write_frames,
    write_stack,
)
from latte_cli.video_io import FORMATS, Frame, read_video, write_clip

SETTINGS = "settings.json"
STACK = "clips.npz"

_PARTS = ".clips"  # clips that are to be stacked
_CLAIMS = ".claims"
_OTHER = "give another --out, or delete what is there"


@dataclass(frozen=True)
class ClipEntry:
    """A clip of a folder.

    Attributes:
        name: of its file, without an ending; it tells the clip from all others.
        about: what it was drawn from beside the folder's settings: index, seed, label or prompt.
    """

    name: str
    about: Mapping[str, Any]


class ClipFolder:
    """A folder that is to hold certain clips, all drawn with the same settings, and no others.

    Several processes may draw into it at once: they agree through its files (see `claims`).

    Args:
        path: the folder, made when the first clip is written.
        entries: the clips.
        settings: all that they depend on beside their entries.
        fmt: one of `FORMATS`; npz is one file of all clips, put together when all are there.
        fps: of the clips.
        stack: the npz file; by default `clips.npz` in the folder. Where it lies elsewhere, the
            folder goes when the file is whole.

    Raises:
        ConfigError: if there is no such format.
        DataError: if there are clips that were drawn with other settings, from another prompt or
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
        self._settings = json.loads(json.dumps({**settings, "format": fmt}))
        self._suffix = ".npy" if self.stack else FORMATS[fmt]
        self._root = path / _PARTS if self.stack else path
        self._refuse_others()
        files = {entry.name: self._file(entry) for entry in self.entries}
        self._checked = check_files(files, {} if self.stack else listed(path))

    @property
    def damaged(self) -> tuple[str, ...]:
        """Names of the clips whose files were not whole, which are missing until drawn anew."""
        return tuple(self._checked.damaged)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where the clips lie: a file or folder each, or one file of all."""
        return (self.stack,) if self.stack else tuple(map(self._file, self.entries))

    def claim(self, number: int) -> Path:
        """The claim on a piece of the work."""
        return self.path / _CLAIMS / str(number)

    def missing(self, entries: Iterable[ClipEntry] | None = None) -> list[ClipEntry]:
        """Those that are not there yet, of all or of some."""
        asked = self.entries if entries is None else entries
        absent = [each for each in asked if not self._checked.is_there(each.name, self._file(each))]
        # Looked at last: parts go when the stack is there.
        stacked = set(read_names(self.stack)) if self.stack and absent else set()
        return [entry for entry in absent if entry.name not in stacked]

    def begin(self) -> None:
        """Write down what is to be drawn, before the first clip is."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_text(self.path / SETTINGS, json.dumps(self._settings, indent=2) + "\n")
        write_json_lines(
            self.path / PLAN, ({"name": each.name, **each.about} for each in self.entries)
        )
        strike_out(self.path, {entry.name for entry in self.missing()})

    def write(self, entry: ClipEntry, frames: Iterable[Frame]) -> None:
        """Write a clip whole, frame by frame, (h, w, 3) uint8 each."""
        if self.stack:
            write_frames(self._file(entry), frames)
        else:
            about = {**self._settings, **entry.about}
            write_clip(self._file(entry), frames, self._fps, about)

    def finish(self) -> None:
        """Once all clips are there: stack them, if asked for, and write samples.jsonl."""
        if self.stack:
            self._stack_up(self.stack)
        if not self._keeps_folder:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        if not (self.path / SETTINGS).is_file():
            write_text(self.path / SETTINGS, json.dumps(self._settings, indent=2) + "\n")
        write_changed(self.path / SAMPLES, json_lines(self._rows()).encode())
        if (self.path / PLAN).exists():  # read-only disks do not even delete what is not there
            (self.path / PLAN).unlink(missing_ok=True)
        with suppress(OSError):  # another process may be about to let go of its claim
            (self.path / _CLAIMS).rmdir()

    def frames(self, count: int, numbers: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
        """Some frames of each of the first clips, (len(numbers), h, w, 3) uint8, one at a time."""
        if self.stack:
            for clip, _ in zip(iter_clips(self.stack), range(count), strict=False):
                yield clip[list(numbers)]
            return
        for entry in self.entries[:count]:
            yield read_video(self._file(entry), list(numbers))

    def _file(self, entry: ClipEntry) -> Path:
        return self._root / f"{entry.name}{self._suffix}"

    def _rows(self) -> Iterator[dict[str, Any]]:
        whole = sha256_of(self.stack) if self.stack else None
        for row, entry in enumerate(self.entries):
            path = self.stack or self._file(entry)
            place = {"row": row} if self.stack else {}
            yield {
                "file": path.relative_to(self.path).as_posix(),
                **place,
                "name": entry.name,
                **entry.about,
                "settings": self._settings,
                "sha256": whole or self._checked.checksums.get(entry.name) or checksum(path),
            }

    def _stack_up(self, stack: Path) -> None:
        names = [entry.name for entry in self.entries]
        there = read_names(stack)
        if list(there) != names:
            abouts = [entry.about for entry in self.entries]
            write_stack(stack, self._clips(stack, there), names, abouts, self._settings)
        shutil.rmtree(self._root, ignore_errors=True)

    def _clips(self, stack: Path, there: Sequence[str]) -> Iterator[NDArray[np.uint8]]:
        """All in order: those of the stack that is there, and the new ones."""
        old = zip(there, iter_clips(stack), strict=True) if there else iter(())
        kept: tuple[str, NDArray[np.uint8]] | None = next(old, None)
        for entry in self.entries:
            if kept is not None and kept[0] == entry.name:
                yield kept[1]
                kept = next(old, None)
            else:
                yield np.load(self._file(entry), mmap_mode="r")

    def _present(self) -> Iterator[str]:
        """Names of all clips that are there, whoever drew them."""
        yield from read_names(self.stack) if self.stack else ()
        for folder in {self._file(entry).parent for entry in self.entries}:
            for path in folder.iterdir() if folder.is_dir() else ():
                of_kind = path.suffix == self._suffix if self._suffix else path.is_dir()
                if of_kind and not path.name.startswith("."):
                    name = path.relative_to(self._root).as_posix()
                    yield name.removesuffix(self._suffix)

    def _refuse_others(self) -> None:
        present, ours = sorted(set(self._present())), {entry.name for entry in self.entries}
        there = self._settings_there()
        if not present and (there is None or self._is_bare()):
            return
        place = self.stack if self.stack and not self.path.is_dir() else self.path
        if there is None:
            raise DataError(f"{place} holds clips of unknown settings", hint=_OTHER)
        if other := other_settings(there, self._settings):
            raise DataError(
                f"{place} holds clips drawn with other settings: {'; '.join(other)}",
                hint=_OTHER,
            )
        if strangers := [name for name in present if name not in ours]:
            raise DataError(
                f"{self.stack or self.path} holds {len(strangers)} clips that are not among the "
                f"{len(ours)} asked for: {some_of(strangers)}",
                hint=_OTHER,
            )
        self._refuse_other_origins(present, place)

    def _is_bare(self) -> bool:
        """Whether an earlier run has left no clip, in no format."""
        bookkeeping = {SETTINGS, PLAN, _CLAIMS}
        return not any(path.name not in bookkeeping for path in self.path.glob("*"))

    def _refuse_other_origins(self, present: Sequence[str], place: Path) -> None:
        """A name tells a seed and a label, but not a prompt."""
        ours = {entry.name: entry.about for entry in self.entries}
        rows = origins(self.path, self.stack)
        for name in present:
            about = json.loads(json.dumps(dict(ours[name])))
            row = rows.get(name, about)
            if other := [key for key in about if row.get(key) != about[key]]:
                was = f"was {row[other[0]]}" if other[0] in row else "is not told"
                raise DataError(
                    f"{place} holds other clips: {other[0]} of {name} {was}",
                    hint=_OTHER,
                )

    def _settings_there(self) -> dict[str, Any] | None:
        path = self.path / SETTINGS
        if path.is_file():
            try:
                return dict(json.loads(path.read_text(encoding="utf-8")))
            except (ValueError, TypeError) as error:
                raise DataError(f"{path}: damaged", hint=_OTHER) from error
        return read_settings(self.stack) if self.stack and self.stack.is_file() else None
