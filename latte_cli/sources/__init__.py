"""Native layouts: one file each, from where things lie to a list of videos."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from latte_cli.runtime.errors import ConfigError

if TYPE_CHECKING:
    from latte_cli.data.manifest import SourceVideo

DATASETS = (
    "ucf101",
    "skytimelapse",
    "faceforensics",
    "taichi-hd",
    "folder",
    "captions",
    "shapes",
)
"""All that can be prepared; `shapes` is drawn, the others are found."""

# Decoders and the readers of archives are imported where they are needed, so that the names above
# cost nothing.


def find_videos(
    dataset: str, source: Path, *, labels: bool = False, beside: Path | None = None
) -> tuple[list["SourceVideo"], list[str]]:
    """List the videos of a data set in its own layout.

    Args:
        dataset: one of DATASETS, not `shapes`.
        source: the folder it lies in; of `captions`, the table.
        labels: for `folder`: take the first level of sub-folders as classes.
        beside: a further folder to look for official lists in: where the archive came from.

    Returns:
        The videos and the class names (none without labels).

    Raises:
        ConfigError: if there is no such data set.
        DataError: if the videos do not lie as the layout has them, or there are none.
    """
    from latte_cli.sources import captions, faceforensics, folder, skytimelapse, taichi_hd, ucf101

    match dataset:
        case "ucf101":
            return ucf101.find(source, beside)
        case "skytimelapse":
            return skytimelapse.find(source)
        case "faceforensics":
            return faceforensics.find(source)
        case "taichi-hd":
            return taichi_hd.find(source, beside)
        case "folder":
            return folder.find(source, labels=labels)
        case "captions":
            return captions.find(source)
    raise ConfigError(f"no data set named `{dataset}`", hint=f"known: {', '.join(DATASETS)}")


def unpack(source: Path, into: Path, on_member: Callable[[int, int], None] | None = None) -> Path:
    """Unpack an archive into a data set's folder; see `archives.unpack`."""
    from latte_cli.sources import archives

    return archives.unpack(source, into, on_member)
