"""`ucf101`: `<Class>/v_<Class>_gXX_cYY.avi`, with the official lists if they are there."""

import csv
import re
import zipfile
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from latte_cli.data.manifest import SourceVideo
from latte_cli.runtime.errors import DataError
from latte_cli.sources.editions import (
    SPLITS,
    UCF101_CLASSES,
    UCF101_NAME,
    check_is,
    plain,
    split_of,
    warn,
)
from latte_cli.sources.folder_tree import find_videos_below, stem_of, unwrapped
from latte_cli.sources.left_out import no_videos

CLASSES = UCF101_CLASSES
"""Names of the class folders; labels are their numbers here, if all classes have videos."""

_VIDEO_COUNT = 13_320
_MIN_SHARE = 0.99  # of the videos, below which some are reported missing
_VIDEOS = "UCF-101"
_LIST_ARCHIVE = "UCF101TrainTestSplits-RecognitionTask.zip"
_LIST_FOLDERS = (
    "ucfTrainTestlist",
    "UCF101TrainTestSplits-RecognitionTask",
    "UCF101TrainTestSplits-RecognitionTask/ucfTrainTestlist",
    "",
)
_TEST_LIST = "testlist01.txt"
_LAYOUT = "UCF101 has one folder for each class: UCF-101/Archery/v_Archery_g01_c01.avi"
_OWN_DATA = "`latte prepare folder --labels` takes any folders as classes"

ListFile = Path | zipfile.Path


def find(source: Path, beside: Path | None = None) -> tuple[list[SourceVideo], list[str]]:
    """List the videos of UCF101, of both official sets, as the paper uses them.

    The class of a video is that of its folder, and of its name; a folder may spell a class in
    another case, or with spaces. The label is the index of the sorted class folder, as in the
    published code; the official numbers differ, since their order ignores case (JumpingJack before
    JumpRope).

    The first official split's `testlist01.txt` tells test from train. It is looked for in the
    source and beside it, in a folder or in its zip archive. Without it the folders decide, such as
    `train/Archery/` and `test/Archery/`, then lists such as `test.csv`, or with a column of splits,
    as data portals have them; validation videos are `test`. Without any of these all videos are
    `train`.

    Args:
        source: `UCF-101/`, or a parent folder.
        beside: another folder that may hold the lists.

    Returns:
        The videos and the names of the classes that have videos.

    Raises:
        DataError: if there are no videos, a folder or a name is not of UCF101, they contradict each
            other, or a clip is there twice.
    """
    around = unwrapped(source) if source.is_dir() else source
    root = around / _VIDEOS if (around / _VIDEOS).is_dir() else around
    paths = find_videos_below(root)
    if not paths:
        raise no_videos(source, hint=_LAYOUT)
    check_is("ucf101", source, paths)
    class_of = _classes_by_path(paths, root)
    _check_once(class_of)
    folders = [source, around, root, root.absolute().parent, *([beside] if beside else [])]
    splits = _splits(list(class_of), root, folders)
    classes = sorted(set(class_of.values()))
    if len(class_of) < _MIN_SHARE * _VIDEO_COUNT or len(classes) < len(CLASSES):
        missing = next((name for name in CLASSES if name not in classes), "")
        first = f", without {missing}" if missing else ""
        warn(
            f"found {len(class_of)} of the {_VIDEO_COUNT} videos of UCF101 and {len(classes)} of "
            f"its {len(CLASSES)} classes{first}; labels count the classes found"
        )
    labels = {name: number for number, name in enumerate(classes)}
    return [SourceVideo(p, labels[name], splits[p]) for p, name in class_of.items()], classes


_BY_PLAIN_NAME = {plain(name): name for name in CLASSES}


def _classes_by_path(paths: list[Path], root: Path) -> dict[Path, str]:
    """The class of each video; videos in no folder and of no class are left out with a warning.

    Raises:
        DataError: if a folder is not a class, or a video's name is of another class.
    """
    found: dict[Path, str] = {}
    loose = []
    for path in paths:
        folders = path.relative_to(root).parts[:-1]
        above = [
            _BY_PLAIN_NAME[name] for part in folders if (name := plain(part)) in _BY_PLAIN_NAME
        ]
        match = UCF101_NAME.fullmatch(stem_of(path))
        named = _BY_PLAIN_NAME.get(plain(match[1])) if match else None
        if above and named and above[-1] != named:
            raise DataError(
                f"{path}: the folder is of the class {above[-1]}, the name of {named}",
                hint="move the video to its class; " + _LAYOUT,
            )
        if above or named:
            found[path] = above[-1] if above else str(named)
        elif folders:
            raise _unknown_class(
                path, folders[0] if folders[0].lower() not in SPLITS else folders[-1]
            )
        else:
            loose.append(path)
    if not found:
        raise DataError(f"{root}: no sub-folders with videos are classes of UCF101", hint=_LAYOUT)
    if loose:
        warn(
            f"{len(loose)} videos are in no sub-folder, so they have no label and are skipped, the "
            f"first: {loose[0].name}"
        )
    return found


def _unknown_class(path: Path, folder: str) -> DataError:
    near = get_close_matches(folder, CLASSES, n=1, cutoff=0.75)
    return DataError(
        f"UCF101 has no class `{folder}`, but there is a folder of that name ({path})",
        hint=f"rename the folder to {near[0]}"
        if near
        else f"move the folder away; {_LAYOUT}; {_OWN_DATA}",
    )


def _check_once(class_of: dict[Path, str]) -> None:
    """Raise DataError if a clip is there twice, perhaps as a file and as a folder of frames."""
    first: dict[tuple[str, str], Path] = {}
    for path, name in class_of.items():
        other = first.setdefault((name, stem_of(path).lower()), path)
        if other != path:
            raise DataError(
                f"{path}: the same clip is {other}",
                hint="--source can name the folder of one of the copies, or move one away",
            )


def _splits(paths: list[Path], root: Path, folders: list[Path]) -> dict[Path, str]:
    """The split of each video: by the official list, by folders, by CSV lists, or `train`."""
    by_folder = {path: split_of(path, root) for path in paths}
    test_list = _find_list(folders)
    official = set(_names(test_list)) if test_list else set()
    in_list = {path for path in paths if stem_of(path) in official}
    if in_list:
        moved = [
            p for p in paths if by_folder[p] not in (None, "test" if p in in_list else "train")
        ]
        if moved:
            warn(
                f"{test_list} decides the split of {len(moved)} videos in the folder of another, "
                f"the first: {moved[0].name}"
            )
        return {path: "test" if path in in_list else "train" for path in paths}
    if official:
        warn(f"{test_list} lists none of the videos, so it does not tell test from train")
    if any(by_folder.values()):
        return {path: split or "train" for path, split in by_folder.items()}
    listed = _csv_lists(folders)
    return {path: listed.get(stem_of(path), "train") for path in paths}


def _find_list(folders: list[Path]) -> ListFile | None:
    """The path of the official test list, perhaps in a zip archive; None if there is none."""
    archives = [path for folder in folders if (path := folder / _LIST_ARCHIVE).is_file()]
    tops: list[ListFile] = [*folders, *map(_opened, archives)]
    paths = (top / inside / _TEST_LIST for top in tops for inside in _LIST_FOLDERS)
    return next((path for path in paths if path.is_file()), None)


def _opened(archive: Path) -> zipfile.Path:
    try:
        return zipfile.Path(archive)
    except zipfile.BadZipFile as error:
        raise DataError(
            f"{archive}: is damaged ({error})", hint="download it again, or move it away"
        ) from error


def _names(test_list: ListFile) -> Iterator[str]:
    """The videos of a list, without folder, suffix, and the label that some lists add.

    The lists use CR LF.
    """
    for line in test_list.read_text(encoding="utf-8-sig", errors="replace").split("\n"):
        if line.strip():
            yield stem_of(Path(re.sub(r"\s+[0-9]+$", "", line.strip()).rsplit("/", 1)[-1]))


def _csv_lists(folders: list[Path]) -> dict[str, str]:
    """The split of each video that a CSV list names in any of its columns.

    The split is that of the list's name, such as `train.csv`, or in a column of the list.
    """
    found: dict[str, str] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.[cC][sS][vV]")):
            of_list = SPLITS.get(path.stem.lower())
            with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
                for cells in csv.reader(file):
                    of_row = (SPLITS[cell.lower()] for cell in cells if cell.lower() in SPLITS)
                    split = of_list or next(of_row, None)
                    for name in map(_clip_name, cells):
                        if split and UCF101_NAME.fullmatch(name):
                            found.setdefault(name, split)
    return found


def _clip_name(cell: str) -> str:
    """The name of a video without folders, of any system, and without suffix."""
    return stem_of(Path(re.split(r"[/\\]", cell.strip())[-1]))
