"""What lies below a folder: video files, and folders of frames, each once."""

import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from latte_cli.data.manifest import MANIFEST, REJECTED
from latte_cli.runtime.errors import DataError, LatteWarning
from latte_cli.video_io import VIDEO_SUFFIXES
from latte_cli.video_io.frame_folders import frame_number, is_frame_name, is_plain_file

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


_NO_DATA = "__MACOSX"  # what a Mac puts beside the contents of a zip archive


@dataclass
class Entries:
    """What lies in one folder, hidden and unfinished things left out, sorted by name."""

    folders: list[str] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    others: int = 0

    @property
    def are_none(self) -> bool:
        """Whether the folder is empty."""
        return not (self.folders or self.videos or self.pictures or self.others)

    @property
    def are_frames(self) -> bool:
        """Whether the pictures are a video's frames.

        Beside videos they are not; beside folders they are if each has a number, so that a cover
        picture at the top of a data set is no video.
        """
        if self.videos or not self.pictures:
            return False
        return not self.folders or all(frame_number(name) is not None for name in self.pictures)


def entries_of(folder: Path) -> Entries:
    """Look into one folder.

    Raises:
        DataError: if there is no such folder.
    """
    if not folder.is_dir():
        what = "a file, no folder or archive" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {what}", hint="--source names the folder of videos")
    found = Entries()
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name == _NO_DATA:
                continue
            if _is_folder(entry):
                found.folders.append(entry.name)
            elif is_frame_name(entry.name) and is_plain_file(entry):
                found.pictures.append(entry.name)
            elif is_video_name(entry.name) and is_plain_file(entry):
                found.videos.append(entry.name)
            else:
                found.others += 1
    for names in (found.folders, found.videos, found.pictures):
        names.sort()
    return found


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def is_video_name(name: str) -> bool:
    """Whether a file of this name is a video."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES


def stem_of(path: Path) -> str:
    """A video's name without what ends a video file's name; a folder of frames may end so, too."""
    return path.stem if is_video_name(path.name) else path.name


def find_videos_below(*sources: Path) -> list[Path]:
    """Video files and folders of frames at any depth, sorted; with a warning of empty folders.

    Links are followed; what several paths lead to is found once, by one without links if there is.
    Left out and told are folders that cannot be looked into, and what this tool's commands made.

    Raises:
        DataError: if there is no such folder.
        OSError: if the source itself cannot be looked into.
    """
    walk = _TreeWalk()
    found = [path for source in sources for path in walk.below(source, is_given=True)]
    while walk.links:  # only now, so that what lies below goes by its own name
        links, walk.links = sorted(walk.links), []
        found += [path for link in links for path in walk.along(link)]
    _tell(walk.made, "made by latte itself")
    if found:
        _tell(walk.empty, "empty folders")
        _tell(walk.closed, "cannot be looked into")
    return sorted(found)


def _tell(folders: list[Path], what: str) -> None:
    if folders:
        more = f" and {len(folders) - 1} more" if len(folders) > 1 else ""
        warnings.warn(LatteWarning(f"{min(folders)}{more}: {what}, left out"), stacklevel=3)


class _TreeWalk:
    """A walk's memory: where it has been, which links it has yet to follow, what it left out."""

    def __init__(self) -> None:
        self.links: list[Path] = []
        self.empty: list[Path] = []
        self.closed: list[Path] = []
        self.made: list[Path] = []
        self._seen: set[str] = set()

    def below(self, top: Path, *, is_given: bool = False) -> list[Path]:
        """What lies below a folder, links left for later.

        Raises:
            DataError, OSError: if a folder that was given cannot be looked into.
        """
        found, waiting = [], [top]
        while waiting:
            folder = waiting.pop()
            real = os.path.realpath(folder)
            if self._been_at(real):
                continue
            given = is_given and folder == top
            try:
                entries = entries_of(folder)
            except (DataError, OSError):  # of another user, or gone since it was listed
                if given:
                    raise
                self.closed.append(folder)
                continue
            if entries.are_frames:
                found.append(folder)
            elif not given:
                made = _own_outputs_in(folder)
                self.made += made
                if folder in made:
                    continue
                entries.folders = [name for name in entries.folders if folder / name not in made]
            if entries.are_none:
                self.empty.append(folder)
            for name in entries.folders:
                (self.links if (folder / name).is_symlink() else waiting).append(folder / name)
            for name in entries.videos:
                if (folder / name).is_symlink():
                    self.links.append(folder / name)
                elif not self._been_at(os.path.join(real, name)):
                    found.append(folder / name)
        return found

    def along(self, link: Path) -> list[Path]:
        """What a link leads to."""
        if link.is_dir():
            return self.below(link)
        return [] if self._been_at(os.path.realpath(link)) else [link]

    def _been_at(self, real: str) -> bool:
        been = real in self._seen
        self._seen.add(real)
        return been


def unwrapped(source: Path) -> Path:
    """The folder that is meant where it lies alone in another one, as archives often have it.

    Returns:
        The first folder downwards that holds anything else than a single folder of folders. A
        folder of videos, or of folders of frames, is not opened: it may be a class.
    """
    for folder in _nested(source):
        inner = [folder / name for name in entries_of(folder).folders]
        if len(inner) != 1:
            return folder
        below = entries_of(inner[0])
        if not below.folders or any(entries_of(inner[0] / n).are_frames for n in below.folders):
            return folder
    return source


def split_folders(source: Path, names: Mapping[str, str]) -> list[tuple[Path, str]]:
    """The folders of a data set's splits.

    Args:
        source: the folder that holds them, also as the only thing in others, or one of them.
        names: the split that a folder's name, in lower case, stands for.

    Returns:
        Folders and their splits; without any, the source itself, as `train`.
    """
    nested = list(_nested(source))
    for folder in nested:
        inside = [name for name in entries_of(folder).folders if name.lower() in names]
        if inside:
            return [(folder / name, names[name.lower()]) for name in inside]
    return [(source, names.get(source.absolute().name.lower(), "train"))]


def find_split_videos(source: Path, names: Mapping[str, str]) -> list[tuple[Path, str]]:
    """Every video below the folders of a data set's splits, and its split; sorted by path.

    Args:
        source: as of `split_folders`.
        names: as of `split_folders`.

    Raises:
        DataError: if there is no such folder, or it holds no videos.
    """
    folders = split_folders(source, names)
    found = find_videos_below(*(folder for folder, _ in folders))
    if not found:
        raise no_videos(source)
    return [
        (path, next(split for folder, split in folders if path.is_relative_to(folder)))
        for path in found
    ]


def no_videos(source: Path, hint: str = "") -> DataError:
    """The error of a folder without videos; the hint tells what was looked for."""
    return DataError(
        f"{source}: no videos in this folder",
        hint=hint
        or f"files that count as videos end in {' '.join(sorted(VIDEO_SUFFIXES))}; "
        "a folder of pictures is a video, too; an archive is named itself",
    )


def _nested(source: Path) -> Iterator[Path]:
    """A folder, the one that is alone in it, the one that is alone in that, and so on."""
    been: set[str] = set()
    while (real := os.path.realpath(source)) not in been:
        been.add(real)
        yield source
        entries = entries_of(source)
        if len(entries.folders) != 1 or entries.videos or entries.are_frames:
            return
        source = source / entries.folders[0]


def _own_outputs_in(folder: Path) -> list[Path]:
    """The folders, in a folder or itself, that hold videos made by a command of this program."""
    for files, inside in _OWN_OUTPUTS:
        if all((folder / name).is_file() for name in files):
            return [path for name in inside if (path := folder / name).is_dir()]
    return []
