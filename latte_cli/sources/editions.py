"""What is known of the data sets: their names of files and folders, splits, and sizes.

So that a data set given under the name of another one is refused, and one that is not complete is
noticed.
"""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from latte_cli.runtime.errors import DataError, LatteWarning
from latte_cli.sources.folder_tree import find_videos_below, stem_of
from latte_cli.sources.left_out import no_videos
from latte_cli.video_io.frame_folders import frame_files

SPLITS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("test", "testing", "val", "valid", "validation", "dev", "eval"), "test"),
}
"""The split of each folder name, in lower case."""

_UCF101_CLASSES = """
    ApplyEyeMakeup ApplyLipstick Archery BabyCrawling BalanceBeam BandMarching BaseballPitch
    Basketball BasketballDunk BenchPress Biking Billiards BlowDryHair BlowingCandles
    BodyWeightSquats Bowling BoxingPunchingBag BoxingSpeedBag BreastStroke BrushingTeeth
    CleanAndJerk CliffDiving CricketBowling CricketShot CuttingInKitchen Diving Drumming Fencing
    FieldHockeyPenalty FloorGymnastics FrisbeeCatch FrontCrawl GolfSwing Haircut HammerThrow
    Hammering HandstandPushups HandstandWalking HeadMassage HighJump HorseRace HorseRiding HulaHoop
    IceDancing JavelinThrow JugglingBalls JumpRope JumpingJack Kayaking Knitting LongJump Lunges
    MilitaryParade Mixing MoppingFloor Nunchucks ParallelBars PizzaTossing PlayingCello PlayingDaf
    PlayingDhol PlayingFlute PlayingGuitar PlayingPiano PlayingSitar PlayingTabla PlayingViolin
    PoleVault PommelHorse PullUps Punch PushUps Rafting RockClimbingIndoor RopeClimbing Rowing
    SalsaSpin ShavingBeard Shotput SkateBoarding Skiing Skijet SkyDiving SoccerJuggling
    SoccerPenalty StillRings SumoWrestling Surfing Swing TableTennisShot TaiChi TennisSwing
    ThrowDiscus TrampolineJumping Typing UnevenBars VolleyballSpiking WalkingWithDog WallPushups
    WritingOnBoard YoYo
"""
UCF101_CLASSES = tuple(sorted(_UCF101_CLASSES.split()))
UCF101_NAME = re.compile(r"v_([A-Za-z]+)_g\d+_c\d+", re.IGNORECASE)
TAICHI_NAME = re.compile(r"[^#]+#\d+#\d+")
_VOX_NAME = re.compile(r"id\d{5}#.+#\d+#\d+")
_SKY_FRAME = re.compile(r".+_frames_\d+")
_SKY_CLIP = re.compile(r"([\w-]{11})/\1_\d+")
"""The id of a video on the web, and a number, as folders."""
_TITLES = {
    "ucf101": "UCF101",
    "skytimelapse": "SkyTimelapse",
    "faceforensics": "FaceForensics",
    "taichi-hd": "Taichi-HD",
    "voxceleb": "VoxCeleb",
}
_READ = frozenset(_TITLES) - {"voxceleb"}  # made by the programs of Taichi-HD
_FOLDERS = {
    "sky_train": "skytimelapse",
    "sky_test": "skytimelapse",
    "sky_timelapse": "skytimelapse",
    "original_sequences": "faceforensics",
    "manipulated_sequences": "faceforensics",
    "preprocess_ffs": "faceforensics",
    "deepfakes": "faceforensics",
    "deepfakedetection": "faceforensics",
    "face2face": "faceforensics",
    "faceswap": "faceforensics",
    "faceshifter": "faceforensics",
    "neuraltextures": "faceforensics",
    "ucf-101": "ucf101",
    "taichi-256": "taichi-hd",
    "taichi-hd": "taichi-hd",
}
"""In lower case, at any depth, and above the source."""
_FOLDERS_ABOVE = 4  # of the source, that count
_MIN_CLASSES = 3  # class folders of UCF101, from which on they are no chance
_FACE_FOLDERS = {"original", "mask", "altered"}  # two of them are beside each other
_SIZES = {
    "skytimelapse": {"train": 2392, "test": 225},
    "faceforensics": {"train": 704, "test": 300},
    "taichi-hd": {"train": 3049, "test": 285},
}
_TOLERANCE = 0.1  # of a split's videos: some are gone from the web, some do not decode


def check_is(dataset: str, source: Path, videos: Iterable[Path]) -> None:
    """Check that the names of videos and folders are not those of another known data set.

    Raises:
        DataError: if at least half of the videos are named like those of another one.
    """
    paths = list(videos)
    examples: dict[str | None, list[Path]] = {}
    for path in paths:
        examples.setdefault(_recognized(path, source), []).append(path)
    some = {paths[0], paths[len(paths) // 2], paths[-1]} if paths else set()
    if some and all(map(_has_sky_frames, some)):
        examples["skytimelapse"] = paths
    faces = [path for path in paths if _FACE_FOLDERS & {*path.relative_to(source).parts}]
    if len({part for path in faces for part in path.relative_to(source).parts} & _FACE_FOLDERS) > 1:
        examples["faceforensics"] = faces
    if len(by_class := _in_class_folders(paths, source)) >= _MIN_CLASSES:
        examples.setdefault("ucf101", [p for those in by_class.values() for p in those])
    for other, those in examples.items():
        if other is not None and other != dataset and 2 * len(those) >= len(paths):
            raise DataError(
                f"{source}: is {_TITLES[other]}, not {_TITLES[dataset]}, by the names in it "
                f"({those[0].relative_to(source)})",
                hint=(f"`latte prepare {other}` reads it; " if other in _READ else "")
                + "`latte prepare folder` reads any videos",
            )


def _recognized(path: Path, source: Path) -> str | None:
    """The data set that a video's name and folders are of; None if they are of none."""
    name = stem_of(path)
    if UCF101_NAME.fullmatch(name):
        return "ucf101"
    if TAICHI_NAME.fullmatch(name):
        return "taichi-hd"
    if _VOX_NAME.fullmatch(name):
        return "voxceleb"
    if path.is_dir() and _SKY_CLIP.fullmatch("/".join(path.parts[-2:])):
        return "skytimelapse"
    parts = (*source.absolute().parts[-_FOLDERS_ABOVE:], *path.relative_to(source).parts)
    known = [_FOLDERS[part.lower()] for part in parts if part.lower() in _FOLDERS]
    return known[-1] if known else None


def plain(name: str) -> str:
    """A name in lower case, letters and digits only."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


_PLAIN_CLASSES = frozenset(map(plain, UCF101_CLASSES))


def _in_class_folders(paths: Iterable[Path], source: Path) -> dict[str, list[Path]]:
    """The videos in folders that are named like classes of UCF101, by class."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        for name in {plain(part) for part in path.relative_to(source).parts[:-1]} & _PLAIN_CLASSES:
            found.setdefault(name, []).append(path)
    return found


def _has_sky_frames(path: Path) -> bool:
    """Whether a folder's frames are named as those of SkyTimelapse."""
    return path.is_dir() and _SKY_FRAME.fullmatch(frame_files(path)[0].stem) is not None


def split_of(path: Path, source: Path, names: Mapping[str, str] = SPLITS) -> str | None:
    """The split whose folder a video is in, the uppermost one; None if it is in none.

    Args:
        path: the video.
        source: the folder that was given; its own name counts, too.
        names: the split of each folder name, in lower case.
    """
    parts = [*path.relative_to(source).parts[:-1], source.absolute().name]
    return next((names[part.lower()] for part in parts if part.lower() in names), None)


def find_split_videos(
    dataset: str, source: Path, names: Mapping[str, str] = SPLITS
) -> list[tuple[Path, str]]:
    """Every video below a folder with its split, sorted by path.

    If there are folders of splits, videos outside of them are left out with a warning; if there
    are none, all videos are `train`.

    Args:
        dataset: the name of the data set.
        source: the folder that holds the splits' folders at any depth, or one of them.
        names: see `split_of`.

    Raises:
        DataError: if there is no such folder, it holds no videos, or those of another data set.
    """
    paths = find_videos_below(source)
    if not paths:
        raise no_videos(source)
    check_is(dataset, source, paths)
    splits = [split_of(path, source, names) for path in paths]
    found = [(path, split) for path, split in zip(paths, splits, strict=True) if split is not None]
    if not found:
        found = [(path, "train") for path in paths]
    elif len(found) < len(paths):
        outside = next(path for path, split in zip(paths, splits, strict=True) if split is None)
        warn(
            f"{len(paths) - len(found)} videos are in no folder of a split and are left out, the "
            f"first: {outside.relative_to(source)}"
        )
    check_size(dataset, source, Counter(split for _, split in found))
    return found


def check_size(dataset: str, source: Path, counts: Mapping[str, int]) -> None:
    """Warn if a split has clearly fewer or more videos than the data set is known to have."""
    known = _SIZES[dataset]
    off = [
        f"{counts[split]} {split} videos, not {known[split]}"
        for split in sorted(counts, reverse=True)
        if abs(counts[split] - known[split]) > _TOLERANCE * known[split]
    ]
    if off:
        warn(f"{source}: has {' and '.join(off)} as {_TITLES[dataset]} has; is it complete?")


def warn(text: str) -> None:
    """Warn about a data set."""
    warnings.warn(LatteWarning(text), stacklevel=3)
