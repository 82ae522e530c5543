"""Clips of another request in a folder: found, reported in words, and removed."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latte_cli.runtime.errors import DataError, ExistsError
from latte_cli.sampling.clip_list import (
    CLAIMS,
    GRID,
    PARTS,
    PLAN,
    SAMPLES,
    SETTINGS,
    STACK,
    first_names,
    listed_metadata,
)
from latte_cli.sampling.clip_stack import read_names, read_settings
from latte_cli.sampling.existing.rule import differences
from latte_cli.video_io import FORMATS
from latte_cli.video_io.writing import encoding_of

_OLD_ENCODING = {"mp4": {**encoding_of("mp4"), "crf": 17}}  # of folders that do not say it
_OUR_NAME = re.compile(r"\d{5}-seed\d+.*")  # of clips that no list names any more
_FIRST_PICTURE = "00000.png"  # in a folder of pictures

Metadata = Mapping[str, Mapping[str, Any]]
"""What clips depend on beside their folder's settings, by their names."""


@dataclass(frozen=True)
class ExistingClips:
    """The clips in a folder, whoever made them.

    Attributes:
        folder: of the clips and their lists.
        stack: the npz file of all clips; None: a file each.
        suffix: of the files, or of the parts of the stack; empty: folders of pictures.
    """

    folder: Path
    stack: Path | None
    suffix: str

    @classmethod
    def of(cls, folder: Path, fmt: str, stack: Path | None = None) -> "ExistingClips":
        """The clips of a folder in one of `FORMATS`.

        Args:
            folder: of the clips.
            fmt: their format.
            stack: the file of an npz, if it is not in the folder.
        """
        if fmt == "npz":
            return cls(folder, stack or folder / STACK, ".npy")
        return cls(folder, None, FORMATS[fmt])

    @property
    def root(self) -> Path:
        """The folder of the clips' own files."""
        return self.folder / PARTS if self.stack else self.folder

    @property
    def place(self) -> Path:
        """What users know the clips by."""
        is_inside = self.stack is None or self.stack.parent == self.folder
        return self.folder if is_inside else self.stack or self.folder

    def file(self, name: str) -> Path:
        """The file of a clip, or the folder of its pictures."""
        return self.root / f"{name}{self.suffix}"

    def find_other_request(
        self, own: Metadata, settings: Mapping[str, Any], *, only_known: bool = False
    ) -> str | None:
        """What makes them clips of another request, in words; None if nothing does.

        Clips beside those of the request are no obstacle if all of those are there.

        Args:
            own: the clips of the request.
            settings: of the request.
            only_known: compare these settings only, and clips only if there are any in `own`.
        """
        try:
            present, stored = self._present(own.keys()), self._settings()
            listed = listed_metadata(self.folder, self.stack)
        except DataError as error:
            return f"cannot be continued: {error}"
        is_new = {path.name for path in self.folder.glob("*")} <= {SETTINGS, PLAN, CLAIMS}
        if not present and (stored is None or is_new):
            others = [name for name in (GRID, SAMPLES) if (self.folder / name).exists()]
            return f"holds {others[0]}, and does not say how it was made" if others else None
        if stored is None:
            return f"holds clips of unknown settings: {first_names(present)}"
        if only_known:
            stored = {key: stored[key] for key in settings if key in stored}
        if different := differences(stored, settings):
            return f"holds clips sampled with other settings: {'; '.join(different)}"
        if only_known and not own:
            return None
        others = [name for name in present if name not in own]
        if others and not own.keys() <= set(read_names(self.stack) if self.stack else present):
            return not_requested(others, own)
        shared = {name: own[name] for name in present if name in own}
        return _find_other_metadata(shared, listed)

    def has_any(self, names: Set[str]) -> bool:
        """Whether one of some clips is there, or listed as one that was."""
        with suppress(DataError):  # a damaged stack, which is reported where it is read
            return not names.isdisjoint((*self._present(names), *self._listed_names()))
        return False

    def others(self, own: Metadata) -> list[str]:
        """Names of the clips that are there beside those of a request."""
        return [name for name in self._present(own.keys()) if name not in own]

    def check_is_ours(self, own: Metadata) -> None:
        """Raise ExistsError if there are clips that were not sampled here: they are kept."""
        foreign: list[str] = []
        with suppress(DataError):  # a damaged stack can be replaced
            ours = own.keys() | self._listed_names()
            present = self._present(own.keys())
            foreign = [each for each in present if each not in ours and not _OUR_NAME.match(each)]
        if foreign:
            raise ExistsError(
                f"{self.place} holds clips that were not sampled by latte, which it does not "
                f"overwrite: {first_names(foreign)}",
                self.place,
                replaceable=False,
            )

    def remove(self, own: Metadata) -> None:
        """Remove all clips that were sampled here, in any format, and their lists."""
        names = own.keys() | self._listed_names()
        names |= {path.stem for path in self.folder.glob("*-seed*") if _OUR_NAME.match(path.stem)}
        with suppress(DataError):  # else it is not a stack of clips that were sampled here
            if read_names(self.folder / STACK):
                (self.folder / STACK).unlink()
        # The settings first: what an interruption leaves has none, and is refused.
        lists = [self.folder / each for each in (SETTINGS, SAMPLES, GRID, PARTS, CLAIMS)]
        clips = [self.folder / f"{name}{end}" for name in names for end in FORMATS.values()]
        for path in (*lists, *clips, self.folder / PLAN, *([self.stack] if self.stack else ())):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _present(self, own: Set[str]) -> list[str]:
        """Names of all clips that are there, also of those that are not the request's."""
        return sorted({*(read_names(self.stack) if self.stack else ()), *self._files(own)})

    def _files(self, own: Set[str]) -> Iterator[str]:
        for folder in {self.file(name).parent for name in own}:
            for path in folder.iterdir() if folder.is_dir() else ():
                is_clip = (
                    path.suffix == self.suffix if self.suffix else (path / _FIRST_PICTURE).is_file()
                )
                if is_clip and not path.name.startswith("."):
                    yield path.relative_to(self.root).as_posix().removesuffix(self.suffix)

    def _listed_names(self) -> set[str]:
        with suppress(DataError):
            return set(listed_metadata(self.folder, self.stack))
        return set()

    def _settings(self) -> dict[str, Any] | None:
        path = self.folder / SETTINGS
        if path.is_file():
            try:
                settings = dict(json.loads(path.read_text(encoding="utf-8")))
            except (ValueError, TypeError) as error:
                raise DataError(
                    f"{path}: damaged",
                    hint="delete that file and the clips beside it, or give another --out",
                ) from error
            return {**_OLD_ENCODING.get(settings.get("format", ""), {}), **settings}
        return read_settings(self.stack) if self.stack and self.stack.is_file() else None


def not_requested(others: Sequence[str], own: Metadata) -> str:
    """That there are clips beside those of a request, some of which are missing."""
    named = first_names(others)
    return f"holds {len(others)} clips that are not among the {len(own)} requested: {named}"


def with_format(settings: Mapping[str, Any], fmt: str) -> dict[str, Any]:
    """Settings of clips with their format and its encoding, JSON-compatible."""
    return dict(json.loads(json.dumps({**settings, "format": fmt, **encoding_of(fmt)})))


def _find_other_metadata(own: Metadata, listed: Metadata) -> str | None:
    """What differs in a clip of another prompt: names contain seed and label only."""
    for name, values in own.items():
        metadata = json.loads(json.dumps(dict(values)))
        row = listed.get(name, metadata)
        if missing := [key for key in metadata if key not in row]:
            return f"holds other clips: {missing[0]} of {name} is not recorded"
        if different := differences({key: row[key] for key in metadata}, metadata):
            return f"holds other clips: {name} has {'; '.join(different)}"
    return None
