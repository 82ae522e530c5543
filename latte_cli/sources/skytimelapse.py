"""`skytimelapse`: `sky_train/<video>/<clip>/*.jpg`, clips of skies as folders of frames."""

from pathlib import Path

from latte_cli.data.manifest import SourceVideo
from latte_cli.sources.editions import SPLITS, find_split_videos

_SPLITS = {**SPLITS, "sky_train": "train", "sky_test": "test"}


def find(source: Path) -> tuple[list[SourceVideo], list[str]]:
    """List the videos of SkyTimelapse: every folder of frames below a split is one.

    So is every video file: copies at 256 x 256 come as frames or as mp4, with or without a folder
    for each video. Empty folders, which the data set has, give a warning; folders of one or two
    frames are listed like any other.

    Args:
        source: the folder with `sky_train/` and `sky_test/` (or `train/` and `test/`), one of them,
            or a parent folder.

    Returns:
        The videos, and no class names.

    Raises:
        DataError: if there is no such folder, or it holds no videos, or those of another data set.
    """
    found = find_split_videos("skytimelapse", source, _SPLITS)
    return [SourceVideo(path, split=split) for path, split in found], []
