"""A folder of drawn clips: what is there stays, what is missing is drawn, two kinds never mix."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latte_cli.errors import DataError
from latte_cli.files import sha256_of, write_json_lines, write_text
from latte_cli.video_io import FORMATS, write_clip

SETTINGS = "settings.json"
SAMPLES = "samples.jsonl"


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
    """A folder whose clips were all drawn with the same settings.

    Args:
        path: the folder, made when the first clip is written.
        settings: all that its clips depend on beside their entries.
        fmt: one of `FORMATS`.
        fps: of the clips.

    Raises:
        DataError: if it holds clips drawn with other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], fmt: str, fps: float) -> None:
        self.path, self._fps = path, fps
        self._settings = {**settings, "format": fmt}
        self._suffix = FORMATS[fmt]
        self._refuse_other_settings()

    def path_of(self, entry: ClipEntry) -> Path:
        """Where a clip lies."""
        return self.path / f"{entry.name}{self._suffix}"

    def missing(self, entries: Iterable[ClipEntry]) -> list[ClipEntry]:
        """Those that are not there yet."""
        return [entry for entry in entries if not self.path_of(entry).exists()]

    def write(self, entry: ClipEntry, frames: NDArray[np.uint8]) -> Path:
        """Write a clip, (f, h, w, 3) uint8; its path."""
        if not (self.path / SETTINGS).is_file():
            self.path.mkdir(parents=True, exist_ok=True)
            write_text(self.path / SETTINGS, json.dumps(self._settings, indent=2) + "\n")
        path = self.path_of(entry)
        write_clip(path, frames, self._fps, {**self._settings, **entry.about})
        return path

    def write_list(self, entries: Iterable[ClipEntry]) -> None:
        """Write samples.jsonl: a line for each clip that is there, with its file's checksum."""
        paths = [(entry, self.path_of(entry)) for entry in entries]
        write_json_lines(
            self.path / SAMPLES,
            (
                {
                    "file": path.name,
                    **entry.about,
                    "settings": self._settings,
                    "sha256": sha256_of(path) if path.is_file() else None,
                }
                for entry, path in paths
                if path.exists()
            ),
        )

    def _refuse_other_settings(self) -> None:
        path = self.path / SETTINGS
        if not path.is_file():
            return
        there = _read(path)
        ours = json.loads(json.dumps(self._settings))
        other = [f"{key} was {there.get(key)}" for key in ours if there.get(key) != ours[key]]
        if other:
            raise DataError(
                f"{self.path} holds clips drawn with other settings: {'; '.join(other)}",
                hint="give another --out, or delete that folder",
            )


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: damaged", hint="give another --out") from error
