"""`faceforensics`: `{train,val,test}/{original,mask}/<name>.avi`, or videos already cropped."""

import warnings
from pathlib import Path

from latte_cli.data.manifest import SourceVideo
from latte_cli.runtime.errors import LatteWarning
from latte_cli.sources.folder_tree import (
    entries_of,
    find_videos_below,
    no_videos,
    split_folders,
    stem_of,
    unwrapped,
)

_SPLITS = {"train": "train", "val": "test", "test": "test"}
_ORIGINAL, _MASK = "original", "mask"
_EXCLUDED = {_MASK, "altered"}
_CROPPED = ("videos", "images")
_LAYOUT = "FaceForensics is train/original/*.avi with train/mask/*.avi, or train/videos/*.mp4"


def find(source: Path) -> tuple[list[SourceVideo], list[str]]:
    """List the original videos of FaceForensics, with the masks used to crop their frames.

    Like StyleGAN-V, the paper trains on the `train` folder and evaluates against it; `val` and
    `test` both become the split `test`. Altered videos are never included. The frames of videos
    without a mask of the same name are cropped to their center, with a warning.

    The version that is already cropped (`preprocess_ffs/train/videos/*.mp4`) has no masks and needs
    none; if it also holds the same frames as images in `images`, those are ignored.

    Args:
        source: the folder with `train/`, one of the splits, its `original/`, or a parent folder.

    Returns:
        The videos, and no class names.

    Raises:
        DataError: if there is no such folder, or it holds no videos.
    """
    if source.absolute().name == _ORIGINAL:  # the masks are beside it
        source = source.absolute().parent
    found = [
        video for folder, split in split_folders(source, _SPLITS) for video in _find(folder, split)
    ]
    if not found:
        raise no_videos(source, hint=_LAYOUT)
    return sorted(found, key=lambda video: video.path), []


def _find(folder: Path, split: str) -> list[SourceVideo]:
    """The videos in the folder of a split."""
    folder = unwrapped(folder)
    folders = entries_of(folder).folders
    if _ORIGINAL in folders:
        masks = find_videos_below(folder / _MASK) if _MASK in folders else []
        return _with_masks(find_videos_below(folder / _ORIGINAL), masks, split)
    cropped = next((name for name in _CROPPED if name in folders), None)
    if cropped:
        return [SourceVideo(path, split=split) for path in find_videos_below(folder / cropped)]
    found = find_videos_below(folder)
    originals = [p for p in found if not _EXCLUDED.intersection(p.relative_to(folder).parts)]
    return _with_masks(originals, [], split)


def _with_masks(originals: list[Path], masks: list[Path], split: str) -> list[SourceVideo]:
    """Each original with the mask of the same name, whatever their depth and suffix."""
    by_name = {stem_of(mask): mask for mask in masks}
    without = [path for path in originals if stem_of(path) not in by_name]
    if without:
        warnings.warn(
            LatteWarning(
                f"{len(without)} of {len(originals)} {split} videos have no mask and are cropped "
                f"to their center, the first: {without[0].name}"
            ),
            stacklevel=2,
        )
    return [SourceVideo(path, split=split, mask=by_name.get(stem_of(path))) for path in originals]
