"""The videos in a tree of folders: video files and folders of frames, each once."""

import os
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from latte_cli.data.manifest import MANIFEST, REJECTED
from latte_cli.runtime.errors import DataError, LatteWarning
from latte_cli.video_io.animated_images import ANIMATED_SUFFIXES, is_moving
from latte_cli.video_io.frame_folders import (
    ends_with_number,
    is_frame_name,
    is_plain_file,
    unclear_order,
)
from latte_cli.video_io.suffixes import SHARED_SUFFIXES, has_video_signature, is_video_name

# Spelled out, since the modules that write these files would load the autoencoder's libraries.
# Other folders beside them may be the user's.
_OWN_OUTPUTS = (
    ((MANIFEST, REJECTED), ("unpacked", "videos")),  # archives, and `shapes`
    (("index.jsonl", "meta.json"), ("previews",)),  # latents
    (("config.yaml", "metrics.jsonl"), ("previews",)),  # a run
    (("settings.json", "samples.jsonl"), (".",)),  # generated clips
    (("settings.json", ".plan.jsonl"), (".",)),  # the same, unfinished
    (("demo.mp4", "demo.png"), (".",)),
)
"""Files that a command writes, and the folders beside them that hold its videos."""

MAC_METADATA = "__MACOSX"
"""A folder in zip archives made on a Mac."""


@dataclass
class Entries:
    """The contents of one folder without hidden and unfinished ones, sorted by name."""

    folders: list[str] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether the folder is empty."""
        return not (self.folders or self.videos or self.images or self.others)

    @property
    def are_frames(self) -> bool:
        """Whether the images are the frames of a video.

        Next to videos they are not; next to folders they are if every name ends with a number, or
        several differ in their numbers only, so that the cover image of a data set is not taken for
        a video.
        """
        if self.videos or not self.images:
            return False
        return (
            not self.folders
            or all(map(ends_with_number, self.images))
            or (len(self.images) > 1 and not unclear_order(self.images))
        )


def entries_of(folder: Path) -> Entries:
    """List one folder.

    Raises:
        DataError: if there is no such folder.
    """
    if not folder.is_dir():
        what = "is a file, not a folder or archive" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {what}", hint="--source names the folder of videos")
    found = Entries()
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name == MAC_METADATA:
                continue
            if _is_folder(entry):
                found.folders.append(entry.name)
            elif is_frame_name(entry.name) and is_plain_file(entry):
                found.images.append(entry.name)
            elif _is_video(entry):
                found.videos.append(entry.name)
            else:
                found.others.append(entry.name)
    for names in (found.folders, found.videos, found.images):
        names.sort()
    if animated := _animated(folder, found.images):
        found.images = [name for name in found.images if name not in animated]
        found.videos = sorted([*found.videos, *animated])
    return found


def _is_video(entry: "os.DirEntry[str]") -> bool:
    if is_video_name(entry.name):
        return is_plain_file(entry)
    return (
        os.path.splitext(entry.name)[1].lower() in SHARED_SUFFIXES
        and is_plain_file(entry)
        and has_video_signature(entry.path)
    )


def _animated(folder: Path, images: list[str]) -> set[str]:
    """The animated ones of a folder's images; if three of a suffix are not, the others are not."""
    found = set()
    for suffix in ANIMATED_SUFFIXES:
        names = [name for name in images if name.lower().endswith(suffix)]
        some = {names[0], names[len(names) // 2], names[-1]} if names else set()
        if any(is_moving(folder / name) for name in some):
            found |= {name for name in names if is_moving(folder / name)}
    return found


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def stem_of(path: Path) -> str:
    """A video's name without the suffix of a video file; a folder of frames may have one, too.

    Accents are composed, which Macs take apart.
    """
    stem = path.stem if is_video_name(path.name) else path.name
    return unicodedata.normalize("NFC", stem)


def find_videos_below(*sources: Path) -> list[Path]:
    """Video files and folders of frames at any depth, sorted.

    Links are followed; a video with several paths is found once, by a path without links if there
    is one. Empty folders, unreadable folders and outputs of this program are skipped with a
    warning.

    Raises:
        DataError: if there is no such folder.
        OSError: if the source itself cannot be read.
    """
    search = _Search()
    found = [path for source in sources for path in search.below(source, is_given=True)]
    while search.links:  # only now, so that paths without links come first
        links, search.links = sorted(search.links), []
        found += [path for link in links for path in search.behind(link)]
    _warn(search.made, "made by latte itself")
    if found:
        _warn(search.empty, "empty folders")
        _warn(search.unreadable, "cannot be read")
        warn_of_unclear_order(search.unclear)
    return sorted(found)


def _warn(folders: list[Path], what: str) -> None:
    if folders:
        more = f" and {len(folders) - 1} more" if len(folders) > 1 else ""
        warnings.warn(LatteWarning(f"{min(folders)}{more}: {what}, skipped"), stacklevel=3)


def warn_of_unclear_order(folders: Mapping[Path, str]) -> None:
    """Warn about folders of frames whose order is not clear, with the reason for each."""
    if folders:
        first = min(folders)
        more = f" and {len(folders) - 1} more" if len(folders) > 1 else ""
        text = (
            f"{first}{more}: the order of the frames is not clear ({folders[first]}); they are "
            "read in the natural order of their names; give every video its own folder"
        )
        warnings.warn(LatteWarning(text), stacklevel=3)


class _Search:
    """The state of a search: visited paths, links to follow later, and skipped folders."""

    def __init__(self) -> None:
        self.links: list[Path] = []
        self.empty: list[Path] = []
        self.unreadable: list[Path] = []
        self.made: list[Path] = []
        self.unclear: dict[Path, str] = {}
        self._visited: set[str] = set()

    def below(self, top: Path, *, is_given: bool = False) -> list[Path]:
        """The videos below a folder; links are kept for later.

        Raises:
            DataError, OSError: if a folder that the user named cannot be read.
        """
        found, waiting = [], [top]
        while waiting:
            folder = waiting.pop()
            real = os.path.realpath(folder)
            if self._seen_before(real):
                continue
            given = is_given and folder == top
            try:
                entries = entries_of(folder)
            except (DataError, OSError):  # of another user, or deleted since it was listed
                if given:
                    raise
                self.unreadable.append(folder)
                continue
            if entries.are_frames:
                found.append(folder)
                if reason := unclear_order(entries.images):
                    self.unclear[folder] = reason
            elif not given:
                made = own_outputs_in(folder)
                self.made += made
                if folder in made:
                    continue
                entries.folders = [name for name in entries.folders if folder / name not in made]
            if entries.is_empty:
                self.empty.append(folder)
            for name in entries.folders:
                (self.links if (folder / name).is_symlink() else waiting).append(folder / name)
            for name in entries.videos:
                if (folder / name).is_symlink():
                    self.links.append(folder / name)
                elif not self._seen_before(os.path.join(real, name)):
                    found.append(folder / name)
        return found

    def behind(self, link: Path) -> list[Path]:
        """The videos that a link points to."""
        if link.is_dir():
            return self.below(link)
        return [] if self._seen_before(os.path.realpath(link)) else [link]

    def _seen_before(self, real: str) -> bool:
        """Whether a path was visited before; from now on it was."""
        is_known = real in self._visited
        self._visited.add(real)
        return is_known


def unwrapped(source: Path) -> Path:
    """Skip folders that only wrap another one, as archives often have them.

    Returns:
        The first folder, from the source down, that holds anything but a single folder of folders.
        A folder of videos, or of folders of frames, is not skipped to: it may be a class.
    """
    for folder in _nested(source):
        inner = [folder / name for name in entries_of(folder).folders]
        if len(inner) != 1:
            return folder
        below = entries_of(inner[0])
        if not below.folders or any(entries_of(inner[0] / n).are_frames for n in below.folders):
            return folder
    return source


def _nested(source: Path) -> Iterator[Path]:
    """A folder, the only folder in it, the only folder in that, and so on."""
    visited: set[str] = set()
    while (real := os.path.realpath(source)) not in visited:
        visited.add(real)
        yield source
        entries = entries_of(source)
        if len(entries.folders) != 1 or entries.videos or entries.are_frames:
            return
        source = source / entries.folders[0]


def own_outputs_in(folder: Path) -> list[Path]:
    """The folders, in a folder or itself, that hold videos made by a command of this program."""
    for files, inside in _OWN_OUTPUTS:
        if all((folder / name).is_file() for name in files):
            return [path for name in inside if (path := folder / name).is_dir()]
    return []
