"""Native layouts of data sets, one file each: from a folder to a list of videos."""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from latte_cli.runtime.errors import ConfigError

if TYPE_CHECKING:
    from latte_cli.data.manifest import SourceVideo
    from latte_cli.sources.tables.columns import ColumnChoice

DATASETS = (
    "ucf101",
    "skytimelapse",
    "faceforensics",
    "taichi-hd",
    "folder",
    "captions",
    "shapes",
)
"""All that can be prepared; `shapes` is generated, the others are found on disk."""

# Decoders and readers of archives are imported where they are needed, so that DATASETS is cheap.


def find_videos(
    dataset: str,
    source: Path,
    *,
    labels: bool = False,
    beside: Path | None = None,
    columns: "ColumnChoice | None" = None,
) -> tuple[list["SourceVideo"], list[str]]:
    """List the videos of a data set in its native layout.

    Args:
        dataset: one of DATASETS, not `shapes`.
        source: the folder of the data set; for `captions`, the table.
        labels: for `folder`: the first level of sub-folders are the classes.
        beside: another folder that may hold the official lists, for example that of the archive.
        columns: for `captions`: those of the table; None: by their usual names.

    Returns:
        The videos and the class names (none without labels).

    Raises:
        ConfigError: if there is no such data set.
        DataError: if there are no videos, or not in the expected layout.
    """
    from latte_cli.sources import captions, faceforensics, folder, skytimelapse, taichi_hd, ucf101

    match dataset:
        case "ucf101":
            return ucf101.find(source, beside)
        case "skytimelapse":
            return skytimelapse.find(source)
        case "faceforensics":
            return faceforensics.find(source, beside)
        case "taichi-hd":
            return taichi_hd.find(source, beside)
        case "folder":
            return folder.find(source, labels=labels)
        case "captions":
            return captions.find(source) if columns is None else captions.find(source, columns)
    raise unknown_dataset(dataset)


def unknown_dataset(name: str) -> ConfigError:
    """The error for a name that no data set has, with the one that is most like it."""
    near = difflib.get_close_matches(name, DATASETS, n=1)
    guess = f"did you mean `{near[0]}`? " if near else ""
    return ConfigError(f"no data set named `{name}`", hint=f"{guess}known: {', '.join(DATASETS)}")


def unpack(source: Path, into: Path, on_member: Callable[[int, int], None] | None = None) -> Path:
    """Unpack an archive into the folder of a data set; see `archives.unpacking.unpack`."""
    from latte_cli.sources.archives import unpacking

    return unpacking.unpack(source, into, on_member)


def count_left_out(dataset: str, source: Path, videos: list["SourceVideo"]) -> dict[str, int]:
    """Number of files in a source that are no videos of the data set, by suffix, the most first.

    Args:
        dataset: one of DATASETS; with `captions` the table alone decides, so nothing is counted.
        source: the folder of the data set.
        videos: those of all its splits.
    """
    from latte_cli.sources.left_out import left_out

    if dataset == "captions":
        return {}
    used = [path for v in videos for path in (v.path, v.mask) if path is not None]
    return dict(left_out(source, used).most_common())
