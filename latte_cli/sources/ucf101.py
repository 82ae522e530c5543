"""`ucf101`: `<Class>/v_<Class>_gXX_cYY.avi`, with the official lists if they are there."""

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
_LAYOUT = "UCF101 has one folder for each class: UCF-101/Archery/v_Archery_g01_c01.avi"

ListFile = Path | zipfile.Path


def find(source: Path, beside: Path | None = None) -> tuple[list[SourceVideo], list[str]]:
    """List the videos of UCF101, of both official sets, as the paper uses them.

    The label is the index of the sorted class folder, as in the published code; the official
    numbers differ, since their order ignores case (JumpingJack before JumpRope). File names may
    spell a class differently from its folder, as for HandstandPushups.

    The first official split's `testlist01.txt` tells test from train. It is looked for in the
    source and beside it, in a folder or in its zip archive; without it all videos are `train`. If
    `classInd.txt` is there, too, every folder must be one of its classes.

    Args:
        source: `UCF-101/`, or a parent folder.
        beside: another folder that may hold the lists.

    Returns:
        The videos and the class names.

    Raises:
        DataError: if there are no class folders with videos, or one is not in the list.
    """
    around = unwrapped(source) if source.is_dir() else source
    root = around / _VIDEOS if (around / _VIDEOS).is_dir() else around
    try:
        videos, classes = folder.find(root, labels=True)
    except DataError as error:
        raise DataError(str(error), hint=_LAYOUT) from error
    folders = [source, around, root, root.absolute().parent, *([beside] if beside else [])]
    class_list, test_list = _find_list(folders, _CLASS_LIST), _find_list(folders, _TEST_LIST)
    if class_list:
        _check_classes(classes, class_list)
    test = set(_names(test_list)) if test_list else set()
    found = [
        SourceVideo(v.path, v.label, "test" if stem_of(v.path) in test else "train") for v in videos
    ]
    if test and all(video.split == "train" for video in found):
        _warn(f"{test_list} lists none of the videos, so all are in the split `train`")
    return found, classes


def _find_list(folders: list[Path], name: str) -> ListFile | None:
    """The path of an official list, perhaps in a zip archive; None if there is none."""
    archives = [path for folder in folders if (path := folder / _LIST_ARCHIVE).is_file()]
    tops: list[ListFile] = [*folders, *map(_opened, archives)]
    paths = (top / inside / name for top in tops for inside in _LIST_FOLDERS)
    return next((path for path in paths if path.is_file()), None)


def _opened(archive: Path) -> zipfile.Path:
    try:
        return zipfile.Path(archive)
    except zipfile.BadZipFile as error:
        raise DataError(
            f"{archive}: is damaged ({error})", hint="download it again, or move it away"
        ) from error


def _lines(path: ListFile) -> Iterator[tuple[int, str]]:
    """The lines of a list that are not empty, numbered from 1; the lists use CR LF."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line.strip()


def _names(test_list: ListFile) -> Iterator[str]:
    """The videos of a list, without folder, suffix, and the label that some lists add."""
    for _, line in _lines(test_list):
        yield stem_of(Path(re.sub(r"\s+[0-9]+$", "", line).rsplit("/", 1)[-1]))


def _check_classes(classes: list[str], class_list: ListFile) -> None:
    """Check that all folders are classes of the list; warn if classes are missing.

    Raises:
        DataError: at the first folder that is not a class.
    """
    listed = list(_classes(class_list))
    for name in classes:
        if name not in listed:
            near = get_close_matches(name, listed, n=1)
            raise DataError(
                f"{class_list} has no class `{name}`, but there is a folder of that name",
                hint=f"rename the folder to {near[0]}"
                if near
                else f"move the folder away; {_LAYOUT}",
            )
    missing = [name for name in listed if name not in classes]
    if missing:
        _warn(
            f"{len(missing)} of the {len(listed)} classes of {class_list.name} have no videos, "
            f"the first: {missing[0]}; labels count the {len(classes)} that have"
        )


def _classes(class_list: ListFile) -> Iterator[str]:
    for number, line in _lines(class_list):
        parts = line.split(maxsplit=1)
        if len(parts) != 2 or not parts[0].isdecimal():
            raise DataError(
                f"{class_list}, line {number}: `{line}` is not a number and a class",
                hint="lines are like `1 ApplyEyeMakeup`; download the list again",
            )
        yield parts[1]


def _warn(text: str) -> None:
    warnings.warn(LatteWarning(text), stacklevel=3)
