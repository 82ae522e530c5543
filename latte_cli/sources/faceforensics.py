"""`faceforensics`: `{train,val,test}/{original,mask}/<name>.avi`, or videos already cropped.

FaceForensics++ is understood, too, as far as its original videos.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from latte_cli.data.manifest import SourceVideo
from latte_cli.runtime.errors import DataError
from latte_cli.sources.editions import check_is, check_size, plain, split_of, warn
from latte_cli.sources.folder_tree import find_videos_below, stem_of
from latte_cli.sources.left_out import no_videos

_ORIGINALS = {"original", "originals", "originalsequences", "real", "pristine"}
_MASKS = {"mask", "masks"}
_MANIPULATED = re.compile(
    r"altered|manipulated|fake|face2face|f2f|fsgan|faceswap|neuraltexture|faceshifter"
    r"|selfreenactment|sourcetotarget|synthe"
)
"""In a folder's name without signs. Some editions use abbreviations, which their names show."""
_MANIPULATED_NAME = re.compile(r"\d{3}_\d{3}|\d\d_\d\d__.+")
"""FaceForensics++: a video with the face of another one, or of two of its actors."""
_ACTORS = "actors"
_COMPRESSIONS = ("raw", "c0", "c23", "c40")
"""Of FaceForensics++, from the best; the same videos."""
_CROPPED = ("videos", "images")
_LAYOUT = "FaceForensics is train/original/*.avi with train/mask/*.avi, or train/videos/*.mp4"


@dataclass(frozen=True)
class _Found:
    """A video, and the names of the folders that it is in, in lower case without signs."""

    path: Path
    folders: tuple[str, ...]

    @property
    def is_mask(self) -> bool:
        return bool(_MASKS.intersection(self.folders))

    @property
    def is_manipulated(self) -> bool:
        return (
            any(map(_MANIPULATED.search, self.folders))
            or _MANIPULATED_NAME.fullmatch(stem_of(self.path)) is not None
        )

    def without(self, names: Iterable[str]) -> tuple[object, ...]:
        """What two copies of a video have in common: all but the folder that tells them apart."""
        return (*(name for name in self.folders if name not in names), stem_of(self.path))

    def above(self, names: set[str]) -> tuple[str, ...]:
        """The folders above the one with one of these names; all if there is none."""
        at = next((n for n, name in enumerate(self.folders) if name in names), None)
        return self.folders[:at]


def find(source: Path, beside: Path | None = None) -> tuple[list[SourceVideo], list[str]]:
    """List the original videos of FaceForensics, with the masks used to crop their frames.

    Like StyleGAN-V, the paper trains on the `train` folder and evaluates against it; `val` and
    `test` both become the split `test`. Altered videos are never included. The frames of videos
    without a mask of the same name are cropped to their center, with a warning.

    The version that is already cropped (`preprocess_ffs/train/videos/*.mp4`) has no masks and needs
    none; if it also holds the same frames as images in `images`, those are ignored.

    Of FaceForensics++ the original videos from the web are taken, of several compressions the best,
    with a warning that says so; its official lists `train.json`, `val.json` and `test.json` give
    the splits if they are there.

    Args:
        source: the folder with `train/`, one of the splits, its `original/`, or a parent folder.
        beside: another folder that may hold the lists.

    Returns:
        The videos, and no class names.

    Raises:
        DataError: if there is no such folder, it holds no videos, or no original ones, or is
            another data set.
    """
    if plain(source.absolute().name) in _ORIGINALS and (source.absolute().parent / "mask").is_dir():
        source = source.absolute().parent
    paths = find_videos_below(source)
    check_is("faceforensics", source, paths)
    found = [_Found(path, tuple(map(plain, path.relative_to(source).parts[:-1]))) for path in paths]
    masks = [video for video in found if video.is_mask]
    videos = [video for video in found if not video.is_mask and not video.is_manipulated]
    is_plus_plus = _is_plus_plus(source, found)
    if found and (not videos or (is_plus_plus and plain("manipulated_sequences") in _own(source))):
        raise DataError(
            f"{source}: holds manipulated videos and masks only, such as {found[0].path.name}",
            hint="--source names the folder of the original videos, or a folder above it; "
            + _LAYOUT,
        )
    if not videos:
        raise no_videos(source, hint=_LAYOUT)
    if is_plus_plus:
        return _of_plus_plus(source, beside, videos, len(found)), []
    result = _with_masks(source, _without_copies(_originals(videos), _CROPPED), masks)
    check_size("faceforensics", source, Counter(video.split for video in result))
    return result, []


def _own(source: Path) -> list[str]:
    return [plain(part) for part in source.absolute().parts]


def _is_plus_plus(source: Path, found: list[_Found]) -> bool:
    """Whether these are the folders or names of FaceForensics++."""
    folders = {name for video in found for name in video.folders}.union(_own(source)[-4:])
    marks = {"originalsequences", "manipulatedsequences", "face2face", "neuraltextures"}
    return bool(marks & folders) or any(
        _MANIPULATED_NAME.fullmatch(stem_of(video.path)) for video in found
    )


def _originals(videos: list[_Found]) -> list[_Found]:
    """Those in folders of originals, if there are such folders in their split; else all."""
    with_folder = {v.above(_ORIGINALS) for v in videos if _ORIGINALS.intersection(v.folders)}
    return [
        video
        for video in videos
        if _ORIGINALS.intersection(video.folders)
        or not any(video.folders[: len(above)] == above for above in with_folder)
    ]


def _without_copies(videos: list[_Found], names: tuple[str, ...]) -> list[_Found]:
    """Of videos that are in several of these folders, those in the first one."""

    def rank(video: _Found) -> int:
        return next((n for n, name in enumerate(names) if name in video.folders), len(names))

    best: dict[tuple[object, ...], _Found] = {}
    for video in sorted(videos, key=rank):
        best.setdefault(video.without(names), video)
    return sorted(best.values(), key=lambda video: video.path)


def _with_masks(source: Path, videos: list[_Found], masks: list[_Found]) -> list[SourceVideo]:
    """Each video with the mask of the same name beside it, whatever their depth and suffix."""
    by_name = {(mask.above(_MASKS), stem_of(mask.path)): mask.path for mask in masks}
    cropped = {video.above(set(_CROPPED)) for video in videos if set(_CROPPED) & {*video.folders}}
    result, total, without = [], Counter[str](), dict[str, list[Path]]()
    for video in videos:
        split = split_of(video.path, source) or "train"
        mask = by_name.get((video.above(_ORIGINALS), stem_of(video.path)))
        total[split] += 1
        if mask is None and video.above(set(_CROPPED)) not in cropped:
            without.setdefault(split, []).append(video.path)
        result.append(SourceVideo(video.path, split=split, mask=mask))
    for split, paths in without.items():
        warn(
            f"{len(paths)} of {total[split]} {split} videos have no mask and are cropped to their "
            f"center, the first: {paths[0].name}"
        )
    return result


def _of_plus_plus(
    source: Path, beside: Path | None, videos: list[_Found], count: int
) -> list[SourceVideo]:
    """The originals of FaceForensics++ from the web, each once."""
    videos = _without_copies(_without_copies(_originals(videos), _CROPPED), _COMPRESSIONS)
    chosen = [video for video in videos if _ACTORS not in video.folders] or videos
    splits = _plus_plus_splits(source, beside)
    warn(
        f"{source}: is FaceForensics++, not FaceForensics; {len(chosen)} of its {count} videos are "
        "originals and taken, each once; manipulated videos and masks are left out. Frames are "
        "cropped to their center"
        + ("" if splits else "; without train.json, val.json and test.json all are `train`")
    )
    return [
        SourceVideo(
            video.path,
            split=splits.get(stem_of(video.path)) or split_of(video.path, source) or "train",
        )
        for video in chosen
    ]


def _plus_plus_splits(source: Path, beside: Path | None) -> dict[str, str]:
    """The split of each name by the official lists, which hold pairs of names."""
    found: dict[str, str] = {}
    for folder in (source, source / "splits", beside):
        for name, split in (("train", "train"), ("val", "test"), ("test", "test")):
            if folder is None:
                continue
            with suppress(OSError, ValueError, TypeError):
                pairs = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
                found.update((str(each), split) for pair in pairs for each in pair)
    return found
