"""`taichi-hd`: `{train,test}/<id>#<start>#<end>.mp4`, or folders of frames with such names."""

import csv
from dataclasses import replace
from pathlib import Path

from latte_cli.data.manifest import SourceVideo
from latte_cli.runtime.errors import DataError
from latte_cli.sources.editions import TAICHI_NAME, find_split_videos, warn
from latte_cli.sources.folder_tree import stem_of

_SPLITS = {"train": "train", "test": "test"}
_TABLE = "taichi-metadata.csv"
_COLUMNS = ("video_id", "start", "end", "partition")

ClipKey = tuple[str, int, int]
"""The id of a clip's video, and the frames at which the clip starts and ends."""


def find(source: Path, beside: Path | None = None) -> tuple[list[SourceVideo], list[str]]:
    """List the clips of Taichi-HD.

    If the table of the data set is in the source or beside it, it decides the split of each clip,
    whatever its folder. Clips in another split's folder and missing clips give a warning; the
    videos were on the web, and some are gone.

    Args:
        source: the folder with `train/` and `test/`, one of them, or a parent folder.
        beside: another folder that may hold `taichi-metadata.csv`.

    Returns:
        The videos, and no class names.

    Raises:
        DataError: if there is no such folder, it holds no videos, or the table does not parse.
    """
    found = find_split_videos("taichi-hd", source)
    videos = [SourceVideo(path, split=split) for path, split in found]
    if not any(TAICHI_NAME.fullmatch(stem_of(video.path)) for video in videos):
        warn(
            f"{source}: no video is named ID#START#END, as the clips of Taichi-HD are, such as "
            f"{videos[0].path.name}; is this Taichi-HD?"
        )
    above = source.absolute().parent
    near = [path for path in videos[0].path.absolute().parents if path.is_relative_to(above)]
    for folder in (*near, beside):
        if folder is not None and (folder / _TABLE).is_file():
            return _by_table(videos, folder / _TABLE), []
    return videos, []


def _by_table(videos: list[SourceVideo], table: Path) -> list[SourceVideo]:
    """The videos, with splits by the table for those that it lists."""
    partitions = _read(table)
    keys = [_key(stem_of(video.path)) for video in videos]
    found = [
        video if key is None else replace(video, split=partitions.get(key, video.split))
        for video, key in zip(videos, keys, strict=True)
    ]
    present = len(partitions.keys() & set(keys))
    if present < len(partitions):
        warn(f"found {present} of the {len(partitions)} clips of {table}")
    moved = [new.path for new, old in zip(found, videos, strict=True) if new.split != old.split]
    if moved:
        warn(f"{len(moved)} clips are in the folder of another split, the first: {moved[0].name}")
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
                    hint=f"columns are {', '.join(_COLUMNS)}; if it is another table, move it away",
                )
            return {
                (row["video_id"], int(row["start"]), int(row["end"])): _SPLITS[row["partition"]]
                for row in rows
            }
        except (csv.Error, TypeError, ValueError, KeyError) as error:
            raise DataError(
                f"{table}, line {rows.line_num}: does not parse ({error})",
                hint="download the table again, or move it away",
            ) from error


def _key(name: str) -> ClipKey | None:
    """The clip of a file name; None if it is not the name of a clip."""
    video_id, *numbers = name.rsplit("#", 2)
    if len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        return None
    return video_id, int(numbers[0]), int(numbers[1])
