"""`folder`: any folder of videos, at any depth; with labels, its sub-folders are the classes."""

from collections.abc import Iterator
from pathlib import Path

from latte_cli.data.manifest import SourceVideo
from latte_cli.errors import DataError
from latte_cli.files import PART
from latte_cli.video_io import VIDEO_SUFFIXES


def find(source: Path, *, labels: bool = False) -> tuple[list[SourceVideo], list[str]]:
    """List a folder's videos, sorted by path.

    Args:
        source: the folder.
        labels: take the first level of sub-folders, sorted, as classes.

    Returns:
        The videos and the class names (none without labels).

    Raises:
        DataError: if it is missing, holds no videos, or none in sub-folders when labels are asked.
    """
    paths = list(iter_videos(source))
    if not paths:
        raise DataError(
            f"{source}: no videos in this folder",
            hint=f"files that count as videos end in {' '.join(sorted(VIDEO_SUFFIXES))}",
        )
    if not labels:
        return [SourceVideo(path) for path in paths], []
    inside = [path for path in paths if len(path.relative_to(source).parts) > 1]
    if not inside:
        raise DataError(
            f"{source}: no sub-folders with videos, so there are no labels",
            hint="leave --labels out, or put each class into a folder of its own",
        )
    classes = sorted({path.relative_to(source).parts[0] for path in inside})
    numbers = {name: number for number, name in enumerate(classes)}
    return [SourceVideo(p, label=numbers[p.relative_to(source).parts[0]]) for p in inside], classes


def iter_videos(source: Path) -> Iterator[Path]:
    """Video files below a folder, sorted, unfinished and hidden ones left out.

    Raises:
        DataError: if the folder does not exist.
    """
    if not source.is_dir():
        raise DataError(f"{source}: no such folder", hint="--source names the folder of videos")
    for path in sorted(source.rglob("*")):
        hidden = path.name.startswith((".", PART))
        if path.suffix.lower() in VIDEO_SUFFIXES and not hidden and path.is_file():
            yield path
