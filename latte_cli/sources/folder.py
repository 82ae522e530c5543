"""`folder`: any folder of videos, at any depth; with labels, sub-folders are the classes."""

import warnings
from pathlib import Path

from latte_cli.data.manifest import SourceVideo
from latte_cli.runtime.errors import DataError, LatteWarning
from latte_cli.sources.folder_tree import find_videos_below
from latte_cli.sources.left_out import no_videos


def find(source: Path, *, labels: bool = False) -> tuple[list[SourceVideo], list[str]]:
    """List the videos in a folder, files and folders of frames, sorted by path.

    Args:
        source: the folder.
        labels: the first level of sub-folders, sorted, are the classes; videos outside of them are
            skipped with a warning.

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
    inside = [path for path in paths if len(path.relative_to(source).parts) > 1]
    if not inside:
        raise DataError(
            f"{source}: no sub-folders with videos, so there are no classes",
            hint="omit --labels, or put each class into its own folder",
        )
    if len(inside) < len(paths):
        loose = next(path for path in paths if path.parent == source)
        warnings.warn(
            LatteWarning(
                f"{len(paths) - len(inside)} videos are in no sub-folder, so they have no label "
                f"and are skipped, the first: {loose.name}"
            ),
            stacklevel=2,
        )
    classes = sorted({path.relative_to(source).parts[0] for path in inside})
    numbers = {name: number for number, name in enumerate(classes)}
    return [SourceVideo(p, label=numbers[p.relative_to(source).parts[0]]) for p in inside], classes
