"""`ucf101`: `<Class>/v_<Class>_gXX_cYY.avi`, with the official lists where they lie beside it."""

import re
import warnings
import zipfile
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from latte_cli.data.manifest import SourceVideo
from latte_cli.runtime.errors import DataError, LatteWarning
from latte_cli.sources import folder
from latte_cli.sources.folder_tree import stem_of, unwrapped

_VIDEOS = "UCF-101"
_LIST_FOLDERS = ("ucfTrainTestlist", "UCF101TrainTestSplits-RecognitionTask", "")
_LIST_ARCHIVE = "UCF101TrainTestSplits-RecognitionTask.zip"
_TEST_LIST = "testlist01.txt"
_CLASS_LIST = "classInd.txt"
_LAYOUT = "UCF101 is one folder a class: UCF-101/Archery/v_Archery_g01_c01.avi"

ListFile = Path | zipfile.Path


def find(source: Path, beside: Path | None = None) -> tuple[list[SourceVideo], list[str]]:
    """List UCF101's videos, of the official train and test sets alike, as the paper uses them.

    The label is the index of the sorted class folder, as in the published code; the official
    numbers are others, for their order knows no large and small letters (JumpingJack before
    JumpRope). Files may spell their class otherwise than their folder (HandstandPushups does).

    Train and test are told apart by the first official split's `testlist01.txt`, found in the
    source or beside it, in a folder or in its zip archive; without it all are `train`. Where
    `classInd.txt` lies there, too, the folders must be classes of it.

    Args:
        source: `UCF-101/`, or a folder around it.
        beside: a further folder to look for the lists in.

    Returns:
        The videos and the class names.

    Raises:
        DataError: if no class folders with videos are found, or one is not in the list.
    """
    around = unwrapped(source) if source.is_dir() else source
    root = around / _VIDEOS if (around / _VIDEOS).is_dir() else around
    try:
        videos, classes = folder.find(root, labels=True)
    except DataError as error:
        raise DataError(str(error), hint=_LAYOUT) from error
    places = [source, around, root, root.absolute().parent, *([beside] if beside else [])]
    class_list, test_list = _list(places, _CLASS_LIST), _list(places, _TEST_LIST)
    if class_list:
        _check_classes(classes, class_list)
    test = set(_names(test_list)) if test_list else set()
    found = [
        SourceVideo(v.path, v.label, "test" if stem_of(v.path) in test else "train") for v in videos
    ]
    if test and all(video.split == "train" for video in found):
        _warn(f"{test_list} names none of the videos: all are of the split `train`")
    return found, classes


def _list(places: list[Path], name: str) -> ListFile | None:
    """Where one of the official lists lies; None where it does not."""
    archives = [path for place in places if (path := place / _LIST_ARCHIVE).is_file()]
    around: list[ListFile] = [*places, *map(_opened, archives)]
    paths = (place / inside / name for place in around for inside in _LIST_FOLDERS)
    return next((path for path in paths if path.is_file()), None)


def _opened(archive: Path) -> zipfile.Path:
    try:
        return zipfile.Path(archive)
    except zipfile.BadZipFile as error:
        raise DataError(
            f"{archive}: is damaged ({error})", hint="download it again, or move it away"
        ) from error


def _lines(path: ListFile) -> Iterator[tuple[int, str]]:
    """The lines of a list that are not empty, numbered from 1; they end in CR LF."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line.strip()


def _names(test_list: ListFile) -> Iterator[str]:
    """The videos that a list names, without folder, suffix, or the label that some lists give."""
    for _, line in _lines(test_list):
        yield stem_of(Path(re.sub(r"\s+[0-9]+$", "", line).rsplit("/", 1)[-1]))


def _check_classes(classes: list[str], class_list: ListFile) -> None:
    """Folders must be classes of the list; that some are missing is only told.

    Raises:
        DataError: at the first that is not.
    """
    listed = list(_classes(class_list))
    for name in classes:
        if name not in listed:
            near = get_close_matches(name, listed, n=1)
            raise DataError(
                f"{class_list} has no class `{name}`, which a folder is named after",
                hint=f"rename the folder to {near[0]}" if near else f"move it away; {_LAYOUT}",
            )
    missing = [name for name in listed if name not in classes]
    if missing:
        _warn(
            f"{len(missing)} of the {len(listed)} classes of {class_list.name} have no videos, "
            f"the first is {missing[0]}: labels number the {len(classes)} that are there"
        )


def _classes(class_list: ListFile) -> Iterator[str]:
    for number, line in _lines(class_list):
        words = line.split(maxsplit=1)
        if len(words) != 2 or not words[0].isdecimal():
            raise DataError(
                f"{class_list}, line {number}: `{line}` is no number and class",
                hint="each line is as `1 ApplyEyeMakeup`; download the list again",
            )
        yield words[1]


def _warn(words: str) -> None:
    warnings.warn(LatteWarning(words), stacklevel=3)
