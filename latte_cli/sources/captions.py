"""`captions`: a table of videos and their captions, or a text file beside each video."""

import math
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from latte_cli.data.manifest import SourceVideo
from latte_cli.data.table import NO_LABEL
from latte_cli.runtime.errors import ConfigError, DataError
from latte_cli.sources.caption_files import find_beside, has_caption_files
from latte_cli.sources.editions import SPLITS, warn
from latte_cli.sources.spellings import VideoPaths, files_beside
from latte_cli.sources.tables.columns import HINT, NEEDED, ColumnChoice, Row
from latte_cli.sources.tables.reading import TABLE_SUFFIXES, rows_of

_MAX_LABEL = 100_000
_NO_VALUE = frozenset(["", "nan", "none", "null", "na", "n/a", "<na>"])
"""What programs write for an empty cell, in lower case; a class may have such a name, too."""
_USUAL = ColumnChoice()
_WHOLE_NUMBER = re.compile(r"(-?\d+)(?:\.0*)?", re.ASCII)


def find(source: Path, choice: ColumnChoice = _USUAL) -> tuple[list[SourceVideo], list[str]]:
    """List the videos of a table with their captions.

    Columns, by these or other usual names: `video`, a file or a folder of frames, relative to the
    table's folder; `caption`, one or a list; `split`, train (the default) or test (val
    counts as test); `label`, a class name, or its number if all labels are whole numbers, also
    written as 3.0. Other columns are ignored. Rows that do not parse, that lack a video or caption,
    or that name an unknown split are skipped with a warning; rows without a label are kept, with a
    warning if others have one. Rows that repeat a video add their captions to it. Whether the
    videos exist is not checked here; videos beside them that are in no row are counted in a
    warning.

    Args:
        source: the table, or a folder that holds a single table; or a folder of videos and pictures
            with a text file beside each.
        choice: the columns of a table whose names are not the usual ones.

    Returns:
        The videos in the order of the table, and the class names (none without labels).

    Raises:
        ConfigError: if columns are chosen, and there is no table.
        DataError: if there is no table, it lacks a column, no row names a video, or a class number
            is negative.
    """
    if source.is_dir() and not _tables_in(source) and has_caption_files(source):
        if choice != _USUAL:
            raise ConfigError(
                f"{source}: holds text files beside videos and no table, so --video-column and "
                "--caption-column have no effect",
                hint="leave them out",
            )
        return find_beside(source), []
    table = _table_in(source) if source.is_dir() else source
    if not table.is_file():
        raise DataError(f"{table}: no such file", hint="--source names the table of captions")
    paths, videos = VideoPaths(table.parent), _Videos()
    bad: list[str] = []
    for place, row, problem in rows_of(table, choice):
        try:
            cells = _checked({} if problem else row)
            path = paths.find(cells["video"])
        except ValueError as error:
            bad.append(f"{place}: {problem or error}")
            continue
        videos.add(place, path, cells, _captions(row["caption"], cells["caption"]))
    if not videos.found:
        first = f"; {bad[0]}" if bad else ""
        raise DataError(f"{table}: no line names a video{first}", hint=HINT)
    _warn(table, "lines are invalid and are skipped", bad)
    _warn(table, "lines repeat a video and are skipped", videos.repeated)
    where = "videos are on another computer by their paths, and are looked for beside the table"
    _warn(table, where, paths.elsewhere)
    _warn(table, "videos are in folders below the one that the table says", paths.below)
    found = list(videos.found.values())
    others = files_beside([video.path for video, _ in found])
    _warn(table, "files beside these videos are in no line and are left out", others)
    return _labelled(table, found)


class _Videos:
    """The videos of a table, each once with all its captions, and the text of its label."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[SourceVideo, str]] = {}
        self.repeated: list[str] = []

    def add(self, place: str, path: Path, cells: Mapping[str, str], captions: list[str]) -> None:
        """Add a row; one that repeats a video adds the captions that are new."""
        real, split = os.path.realpath(path), SPLITS[cells["split"]]
        if real not in self.found:
            first, *others = captions
            video = SourceVideo(path, None, split, first, more_captions=tuple(others))
            self.found[real] = (video, cells["label"])
            return
        known, label = self.found[real]
        new = [text for text in captions if text not in (known.caption, *known.more_captions)]
        if new:
            self.found[real] = (replace(known, more_captions=(*known.more_captions, *new)), label)
        else:
            self.repeated.append(f"{place}: {path.name}")


def _table_in(folder: Path) -> Path:
    """The single table of a folder."""
    inside, tables = _inside(folder), _tables_in(folder)
    if not tables and len(inside) == 1 and inside[0].is_dir():
        return _table_in(inside[0])
    if len(tables) != 1:
        names = ", ".join(path.name for path in tables) or "none"
        raise DataError(
            f"{folder}: expected one table of captions, found: {names}",
            hint="--source can name the table itself",
        )
    return tables[0]


def _tables_in(folder: Path) -> list[Path]:
    tables = sorted(path for path in _inside(folder) if path.suffix.lower() in TABLE_SUFFIXES)
    # A .json file beside a table tells of other things.
    return [path for path in tables if path.suffix.lower() != ".json"] or tables


def _inside(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX"))]


def _checked(row: Row) -> dict[str, str]:
    """The text of each column of a row; empty where there is none.

    Raises:
        ValueError: saying what is wrong with the row.
    """
    cells = {}
    for column in (*NEEDED, "split", "label"):
        value = row.get(column)
        if isinstance(value, list) and column == "caption":
            value = next((text for text in value if text is not None and str(text).strip()), None)
        elif isinstance(value, list) and column == "label" and not value[1:]:
            value = value[0] if value else None
        if isinstance(value, float) and math.isnan(value):
            value = None
        if isinstance(value, float) and value.is_integer() and column == "label":
            value = int(value)
        if not isinstance(value, (str, int, type(None))):
            raise ValueError(f"{column} is not text")
        text = "" if value is None else str(value)
        if not _is_writable(text):
            raise ValueError(f"{column} holds an invalid character")
        if column in NEEDED and not text.strip():
            raise ValueError(f"no {column}")
        cells[column] = text if column == "video" else text.strip()
    split = cells["split"].lower()
    if split not in SPLITS and split not in _NO_VALUE:
        raise ValueError(f"unknown split: {cells['split']}")
    cells["split"] = split if split in SPLITS else "train"
    cells["label"] = unicodedata.normalize("NFC", cells["label"])
    return cells


def _captions(value: object, first: str) -> list[str]:
    """All texts of a caption's cell, each once; the first is known to be one."""
    others = value if isinstance(value, list) else ()
    texts = [first, *(str(text).strip() for text in others if isinstance(text, (str, int)))]
    return [text for text in dict.fromkeys(texts) if text and _is_writable(text)]


def _is_writable(text: str) -> bool:
    """Whether a text can be encoded as UTF-8 and be a file name."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _warn(table: Path, what: str, rows: list[str]) -> None:
    """Warn about some rows, if there are any."""
    if rows:
        warn(f"{table}: {len(rows)} {what}, the first: {rows[0]}")


def _labelled(
    table: Path, found: list[tuple[SourceVideo, str]]
) -> tuple[list[SourceVideo], list[str]]:
    """Videos with their labels as numbers, and the class names in order."""
    numbers = _class_numbers(table, {label for _, label in found if label})
    if numbers is not None:
        names = [str(number) for number in range(max(numbers.values(), default=-1) + 1)]
    else:
        names = sorted({label for _, label in found if label})
        numbers = {name: number for number, name in enumerate(names)}
    without = [video.path.name for video, label in found if label not in numbers]
    if names:
        _warn(table, f"of {len(found)} videos have no label", without)
    return [replace(video, label=numbers.get(label)) for video, label in found], names


def _class_numbers(table: Path, labels: Iterable[str]) -> dict[str, int] | None:
    """The number of each label, without those that say that there is none; None if some are names.

    Raises:
        DataError: if one is negative; only -1 is in use for videos without a label.
    """
    found = {}
    for label in labels:
        match = _WHOLE_NUMBER.fullmatch(label)
        if match:
            found[label] = int(match[1])
        elif label.lower() not in _NO_VALUE:
            return None
    if not found or max(found.values()) >= _MAX_LABEL:
        return None
    found = {label: number for label, number in found.items() if number != NO_LABEL}
    if negative := [label for label, number in found.items() if number < 0]:
        raise DataError(
            f"{table}: label {negative[0]}, but class numbers begin at 0",
            hint="leave the cell empty if a video has no label",
        )
    return found
