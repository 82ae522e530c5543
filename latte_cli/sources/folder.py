"""`folder`: any folder of videos, at any depth; with labels, sub-folders are the classes."""

import unicodedata
from pathlib import Path

from latte_cli.data.manifest import SourceVideo
from latte_cli.runtime.errors import DataError
from latte_cli.sources.editions import SPLITS, warn
from latte_cli.sources.folder_tree import find_videos_below
from latte_cli.sources.left_out import no_videos


def find(source: Path, *, labels: bool = False) -> tuple[list[SourceVideo], list[str]]:
    """List the videos in a folder, files and folders of frames, sorted by path.

    Args:
        source: the folder.
        labels: the first level of sub-folders, sorted, are the classes; videos outside of them are
            skipped with a warning. If all of them are named like splits (train, val, test), they
            are the splits, and the folders in them the classes, with a warning.

    Returns:
        The videos and the class names (none without labels).

    Raises:
        DataError: if it is missing, holds no videos, or, with labels, none in sub-folders.
    """
    paths = find_videos_below(source)
    if not paths:
        raise no_videos(source)
    if not labels:
        return [SourceVideo(path) for path in paths], []
    folders = {path: _folders_of(path, source) for path in paths}
    above = {names[0] for names in folders.values() if names}
    splits = {name: SPLITS[name.lower()] for name in above if name.lower() in SPLITS}
    level = int(bool(above) and len(splits) == len(above) and any(f[1:] for f in folders.values()))
    if level:
        these = ", ".join(sorted(above))
        warn(f"{source}: {these} are taken for splits, folders in them for classes")
    names = {path: parts[level] for path, parts in folders.items() if len(parts) > level}
    if not names:
        raise DataError(
            f"{source}: no sub-folders with videos, so there are no classes",
            hint="omit --labels, or put each class into its own folder",
        )
    if len(names) < len(paths):
        loose = next(path for path in paths if path not in names)
        warn(
            f"{len(paths) - len(names)} videos are in no sub-folder, so they have no label and are "
            f"skipped, the first: {loose.name}"
        )
    classes = sorted(set(names.values()))
    numbers = {name: number for number, name in enumerate(classes)}
    found = [
        SourceVideo(
            path,
            label=numbers[name],
            split=splits[folders[path][0]] if level else "train",
        )
        for path, name in names.items()
    ]
    return found, classes


def _folders_of(path: Path, source: Path) -> tuple[str, ...]:
    """Names of the folders around a video, with accents composed, which Macs take apart."""
    parts = path.relative_to(source).parts[:-1]
    return tuple(unicodedata.normalize("NFC", part) for part in parts)
