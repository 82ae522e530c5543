"""`taichi-hd`: `{train,test}/<id>#<start>#<end>.mp4`, or folders of frames of that name."""

import csv
import warnings
from dataclasses import replace
from pathlib import Path

from latte_cli.data.manifest import SourceVideo
from latte_cli.runtime.errors import DataError, LatteWarning
from latte_cli.sources.folder_tree import find_split_videos, stem_of

_SPLITS = {"train": "train", "test": "test"}
_TABLE = "taichi-metadata.csv"
_COLUMNS = ("video_id", "start", "end", "partition")

ClipKey = tuple[str, int, int]
"""Which clip it is: the video's id, and the frames that it begins and ends at."""


def find(source: Path, beside: Path | None = None) -> tuple[list[SourceVideo], list[str]]:
    """List Taichi-HD's clips.

    Where the data set's table lies in the source or beside it, a clip's split is the partition that
    the table gives it, whatever folder it lies in, which is told. So are clips that are missing:
    they were videos on the web, and some are gone.

    Args:
        source: the folder with `train/` and `test/`, one of them, or a folder around them.
        beside: a further folder to look for `taichi-metadata.csv` in.

    Returns:
        The videos, and no class names.

    Raises:
        DataError: if there is no such folder, it holds no videos, or the table does not parse.
    """
    videos = [SourceVideo(path, split=split) for path, split in find_split_videos(source, _SPLITS)]
    above = source.absolute().parent
    near = [path for path in videos[0].path.absolute().parents if path.is_relative_to(above)]
    for folder in (*near, beside):
        if folder is not None and (folder / _TABLE).is_file():
            return _by_table(videos, folder / _TABLE), []
    return videos, []


def _by_table(videos: list[SourceVideo], table: Path) -> list[SourceVideo]:
    """The videos with the splits that the table gives to those it knows."""
    partitions = _read(table)
    keys = [_key(stem_of(video.path)) for video in videos]
    found = [
        video if key is None else replace(video, split=partitions.get(key, video.split))
        for video, key in zip(videos, keys, strict=True)
    ]
    there = len(partitions.keys() & set(keys))
    if there < len(partitions):
        _warn(f"{there} of {len(partitions)} clips of {table} are there")
    moved = [new.path for new, old in zip(found, videos, strict=True) if new.split != old.split]
    if moved:
        _warn(
            f"{len(moved)} clips do not lie in their split's folder, the first is {moved[0].name}"
        )
    return found


def _read(table: Path) -> dict[ClipKey, str]:
    """The partition of every clip of the table."""
    with table.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.DictReader(file)
        try:
            missing = [name for name in _COLUMNS if name not in (rows.fieldnames or [])]
            if missing:
                raise DataError(
                    f"{table}: no column `{missing[0]}`",
                    hint=f"columns are {', '.join(_COLUMNS)}; take it away if it is another table",
                )
            return {
                (row["video_id"], int(row["start"]), int(row["end"])): _SPLITS[row["partition"]]
                for row in rows
            }
        except (csv.Error, TypeError, ValueError, KeyError) as error:
            raise DataError(
                f"{table}, line {rows.line_num}: does not parse ({error})",
                hint="download the table again, or take it away",
            ) from error


def _key(name: str) -> ClipKey | None:
    """Which clip a file name stands for; None if it is no clip's."""
    video_id, *numbers = name.rsplit("#", 2)
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        return None
    return video_id, int(numbers[0]), int(numbers[1])


def _warn(words: str) -> None:
    warnings.warn(LatteWarning(words), stacklevel=3)
