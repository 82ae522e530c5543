"""Paths of videos in tables, as other systems spell them.

Windows separates folders by backslashes; Macs take accents apart (NFD) where tables have them
composed (NFC); both ignore case. Absolute paths are those of the computer on which the table was
made. Ids have no suffix.
"""

import os
import re
import unicodedata
from pathlib import Path

from latte_cli.video_io.frame_folders import is_frame_name
from latte_cli.video_io.suffixes import is_video_name

_TOP = re.compile(r"(?:[A-Za-z]:)?[/\\]")


def is_visual_name(name: str) -> bool:
    """Whether a file of this name is a video or a picture."""
    return is_video_name(name) or is_frame_name(name)


class VideoPaths:
    """The videos in a folder by their names in a table.

    Attributes:
        elsewhere: paths that begin at the top of another computer, found by their ends.
    """

    def __init__(self, folder: Path) -> None:
        self.elsewhere: list[str] = []
        self._folder = folder
        self._names: dict[Path, dict[str, list[str]]] = {}

    def find(self, text: str) -> Path:
        """The file or folder that a path names; if there is none, where it should be.

        Args:
            text: as it is in the table; it may really begin or end with a space.
        """
        name = text.strip()
        for exact in (self._folder / text, self._folder / name):
            if os.path.lexists(exact):
                return exact
        parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]
        if not _TOP.match(name):
            return self._located(parts) or self._folder.joinpath(*parts)
        for number in range(len(parts)):
            if path := self._located(parts[number:]):
                self.elsewhere.append(name)
                return path
        return self._folder / name

    def _located(self, parts: list[str]) -> Path | None:
        """A path below the folder, each part as it is spelled there; None if there is none."""
        path = self._folder
        for number, part in enumerate(parts, 1):
            spelled: str | None = part
            if not os.path.lexists(path / part):
                spelled = self._spelled(path, part, is_last=number == len(parts))
            if spelled is None:
                return None
            path = path / spelled
        return path

    def _spelled(self, folder: Path, part: str, is_last: bool) -> str | None:
        """The only name in a folder that is the same in another spelling, or without suffix."""
        if folder not in self._names:
            self._names[folder] = _by_spelling(folder)
        keys = _spellings(part)[: 3 if is_last else 2]
        found = [self._names[folder].get(key, []) for key in keys]
        same = next((names for names in found if names), [])
        return same[0] if len(same) == 1 else None


def _by_spelling(folder: Path) -> dict[str, list[str]]:
    """The names in a folder by each of their spellings."""
    found: dict[str, list[str]] = {}
    for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
        stem = [os.path.splitext(name)[0]] if is_visual_name(name) else []
        for key in (*_spellings(name)[:2], *(_spellings(stem[0])[2:] if stem else ())):
            found.setdefault(key, []).append(name)
    return found


def _spellings(name: str) -> tuple[str, str, str]:
    """Keys of a name: with accents composed, in lower case, and as that of a video's stem."""
    composed = unicodedata.normalize("NFC", name)
    return f"composed/{composed}", f"folded/{composed.casefold()}", f"stem/{composed.casefold()}"
