"""Paths of videos in tables, as other systems spell them.

Windows separates folders by backslashes; Macs take accents apart (NFD) where tables have them
composed (NFC); both ignore case. Absolute paths are those of the computer on which the table was
made, and addresses those from which videos were downloaded. Ids have no suffix, and lie in folders
that the table does not tell of.
"""

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from latte_cli.video_io.frame_folders import is_frame_name
from latte_cli.video_io.suffixes import is_video_name

_TOP = re.compile(r"(?:[A-Za-z]:)?[/\\]")
_ADDRESS = re.compile(r"(?:https?|s3|gs)://", re.IGNORECASE)
_DEPTH = 3  # of folders below a table in which its videos are looked for by their names


def is_visual_name(name: str) -> bool:
    """Whether a file of this name is a video or a picture."""
    return is_video_name(name) or is_frame_name(name)


class VideoPaths:
    """The videos in a folder by their names in a table.

    Attributes:
        elsewhere: paths that begin at the top of another computer, found by their ends.
        below: names that were found in a folder below the one that they say.
    """

    def __init__(self, folder: Path) -> None:
        self.elsewhere: list[str] = []
        self.below: list[str] = []
        self._folder = folder
        self._names: dict[Path, dict[str, list[str]]] = {}
        self._below: dict[str, list[Path]] | None = None

    def find(self, text: str) -> Path:
        """The file or folder that a path names; if there is none, where it should be.

        Args:
            text: as it is in the table; it may really begin or end with a space.

        Raises:
            ValueError: if it is an address on the web, and no file here has its name.
        """
        name = text.strip()
        if _ADDRESS.match(name):
            return self._downloaded(name)
        for exact in (self._folder / text, self._folder / name):
            if os.path.lexists(exact):
                return exact
        parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]
        if _TOP.match(name):
            if path := self._by_end(parts):
                self.elsewhere.append(name)
                return path
            return self._folder / name
        if path := self._located(parts):
            return path
        if path := self._found_below(parts):
            self.below.append(f"{name} is {path.relative_to(self._folder)}")
            return path
        return self._folder.joinpath(*parts)

    def _downloaded(self, address: str) -> Path:
        """The file that an address on the web is named after, or that has its end as its path."""
        path = urlsplit(address).path
        parts = [unquote(part) for part in path.split("/") if part not in ("", ".", "..")]
        if found := self._by_end(parts):
            return found
        name = parts[-1] if parts else address
        raise ValueError(
            f"{address} is an address, and {name} is not in {self._folder}; download it first"
        )

    def _by_end(self, parts: list[str]) -> Path | None:
        """The file of which most of the last parts of a path are the path here."""
        for number in range(len(parts)):
            end = parts[number:]
            if path := self._located(end) or self._found_below(end):
                return path
        return None

    def _found_below(self, parts: list[str]) -> Path | None:
        """The only video in folders below whose path ends with these parts, in some spelling."""
        if not parts:
            return None
        if self._below is None:
            self._below = _videos_below(self._folder)
        *folders, name = parts
        for key in _spellings(name):
            found = [
                path for path in self._below.get(key, []) if _ends_with(path.parent.parts, folders)
            ]
            if found:
                return found[0] if len(found) == 1 else None
        return None

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


def files_beside(videos: Iterable[Path]) -> list[str]:
    """Files of the same kinds in the same folders as some videos, which are not among them.

    Links do not count.
    """
    used: dict[str, set[str]] = {}
    suffixes = set()
    for video in videos:
        folder, name = os.path.split(video)
        if os.path.isfile(video):
            used.setdefault(folder, set()).add(name)
            suffixes.add(video.suffix.lower())
    others = (
        os.path.join(folder, name)
        for folder, names in used.items()
        for name in sorted(set(os.listdir(folder or os.curdir)) - names)
        if os.path.splitext(name)[1].lower() in suffixes and not name.startswith(".")
    )
    return [path for path in others if not os.path.islink(path)]


def _videos_below(folder: Path) -> dict[str, list[Path]]:
    """Videos and pictures in the folders below one, by each of the spellings of their names."""
    found: dict[str, list[Path]] = {}
    for path in _walk(folder):
        for key in _keys(path.name):
            found.setdefault(key, []).append(path)
    return found


def _walk(folder: Path) -> Iterator[Path]:
    for inside, folders, names in os.walk(folder):
        depth = len(Path(inside).relative_to(folder).parts)
        kept = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        folders[:] = kept if depth < _DEPTH else []
        yield from (Path(inside) / name for name in sorted(names) if is_visual_name(name))


def _ends_with(parts: Sequence[str], end: Sequence[str]) -> bool:
    """Whether the last folders of a path are these, in some spelling."""
    last = parts[len(parts) - len(end) :] if end else ()
    return len(last) == len(end) and all(
        _spellings(one)[1] == _spellings(other)[1] for one, other in zip(last, end, strict=True)
    )


def _by_spelling(folder: Path) -> dict[str, list[str]]:
    """The names in a folder by each of their spellings."""
    found: dict[str, list[str]] = {}
    for name in sorted(os.listdir(folder)) if folder.is_dir() else ():
        for key in _keys(name):
            found.setdefault(key, []).append(name)
    return found


def _keys(name: str) -> tuple[str, ...]:
    """The spellings by which a name is found: that of a video also without its suffix."""
    stem = _spellings(os.path.splitext(name)[0])[2:] if is_visual_name(name) else ()
    return (*_spellings(name)[:2], *stem)


def _spellings(name: str) -> tuple[str, str, str]:
    """Keys of a name: with accents composed, in lower case, and as that of a video's stem."""
    composed = unicodedata.normalize("NFC", name)
    return f"composed/{composed}", f"folded/{composed.casefold()}", f"stem/{composed.casefold()}"
