"""`skytimelapse`: `sky_train/<video>/<clip>/*.jpg`; short videos of skies, as folders of frames."""

from pathlib import Path

from latte_cli.data.manifest import SourceVideo
from latte_cli.sources.folder_tree import find_split_videos

_SPLITS = {"sky_train": "train", "train": "train", "sky_test": "test", "test": "test"}


def find(source: Path) -> tuple[list[SourceVideo], list[str]]:
    """List SkyTimelapse's videos: every folder of frames below a split is one.

    So is every video file, for the data set is handed on at 256 x 256 as frames or as mp4, with the
    clips in folders of their videos or without. Some folders are empty, which is told; folders of a
    frame or two are listed as any other.

    Args:
        source: the folder with `sky_train/` and `sky_test/` (or `train/` and `test/`), one of them,
            or a folder around them.

    Returns:
        The videos, and no class names.

    Raises:
        DataError: if there is no such folder, or it holds no videos.
    """
    found = find_split_videos(source, _SPLITS)
    return [SourceVideo(path, split=split) for path, split in found], []
