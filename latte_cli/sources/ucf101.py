"""`ucf101`: `<Class>/v_<Class>_gXX_cYY.avi`, with the official lists where they lie beside it."""

from pathlib import Path

from latte_cli.data.manifest import SourceVideo
from latte_cli.errors import DataError
from latte_cli.sources import folder

_LIST_FOLDERS = ("ucfTrainTestlist", "UCF101TrainTestSplits-RecognitionTask", ".")
_TEST_LIST = "testlist01.txt"


def find(source: Path) -> tuple[list[SourceVideo], list[str]]:
    """List UCF101's videos.

    The label is the index of the sorted class folder. Train and test are told apart by the first
    official split's `testlist01.txt`, found in the source or beside it; without it all are `train`.

    Args:
        source: `UCF-101/`, or the folder that holds it.

    Returns:
        The videos and the class names.

    Raises:
        DataError: if no class folders with videos are found.
    """
    root = source / "UCF-101" if (source / "UCF-101").is_dir() else source
    try:
        videos, classes = folder.find(root, labels=True)
    except DataError as error:
        raise DataError(
            str(error), hint="UCF101 is one folder a class: UCF-101/Archery/v_Archery_g01_c01.avi"
        ) from error
    test = _test_files(source, root)
    return [
        SourceVideo(v.path, v.label, "test" if v.path.name in test else "train") for v in videos
    ], classes


def _test_files(source: Path, root: Path) -> set[str]:
    """File names in the official test list; empty where there is no list."""
    for base in (source, root, root.parent):
        for name in _LIST_FOLDERS:
            path = base / name / _TEST_LIST
            if path.is_file():
                lines = path.read_text(encoding="utf-8").split("\n")
                return {line.strip().rsplit("/", 1)[-1] for line in lines if line.strip()}
    return set()
