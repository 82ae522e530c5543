"""`captions`: a table of videos and what they show, as CSV or as one JSON object a line."""

import csv
import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from latte_cli.data.manifest import SourceVideo
from latte_cli.runtime.errors import DataError, LatteWarning

CSV_SUFFIXES = {".csv": ",", ".tsv": "\t"}
JSON_SUFFIXES = (".jsonl", ".ndjson")
_NEEDED = ("video", "caption")
_SPLITS = {"": "train", "train": "train", "test": "test", "val": "test", "validation": "test"}
_HINT = "columns are video and caption, and split and label where wanted; paths begin at the file"
_MAX_LABEL = 100_000

Row = Mapping[str, object]
"""A line's values by column."""
Line = tuple[int, Row, str]
"""A line's number, from 1, its values, and in words what is wrong with it; empty if nothing is."""


def find(source: Path) -> tuple[list[SourceVideo], list[str]]:
    """List the videos of a table, with their captions.

    Columns: `video`, a file or a folder of frames, relative to the table's folder; `caption`;
    `split`, train or test (val counts as test), train where left out; `label`, a class name, or its
    number if all labels are numbers. Others are passed over. A line that does not parse, or has no
    video, no caption or no such split, is left out, and so is one that names a video again; both
    are told. Whether the videos are there is not looked at here.

    Args:
        source: the table, or a folder that holds a single one.

    Returns:
        The videos in the table's order, and the class names (none without labels).

    Raises:
        DataError: if there is no table, it lacks a column, or none of its lines names a video.
    """
    table = _table_in(source) if source.is_dir() else source
    if not table.is_file():
        raise DataError(f"{table}: no such file", hint="--source names the table of captions")
    found: dict[str, tuple[SourceVideo, str]] = {}
    faults: list[str] = []
    again: list[str] = []
    for line, row, fault in _rows(table):
        if fault := fault or _fault(row):
            faults.append(f"line {line}: {fault}")
            continue
        video = _video(row, table.parent)
        place = os.path.realpath(video.path)
        if place in found:
            again.append(f"line {line}: {video.path.name}")
        found.setdefault(place, (video, _text(row, "label")))
    if not found:
        told = f", {faults[0]}" if faults else ""
        raise DataError(f"{table}: none of its lines names a video{told}", hint=_HINT)
    _tell(table, "have a fault", faults)
    _tell(table, "name a video again", again)
    return _labelled(list(found.values()))


def _table_in(folder: Path) -> Path:
    """The only table of a folder."""
    suffixes = (*CSV_SUFFIXES, *JSON_SUFFIXES)
    inside = [path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX"))]
    tables = sorted(path for path in inside if path.suffix.lower() in suffixes)
    if not tables and len(inside) == 1 and inside[0].is_dir():
        return _table_in(inside[0])
    if len(tables) != 1:
        names = ", ".join(path.name for path in tables) or "none"
        raise DataError(
            f"{folder}: one table of captions is needed, there are: {names}",
            hint="--source may name the table itself",
        )
    return tables[0]


def _rows(table: Path) -> Iterator[Line]:
    """All lines that are not empty, whether they parse or not."""
    suffix = table.suffix.lower()
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            if suffix in CSV_SUFFIXES:
                yield from _csv_rows(table, file, CSV_SUFFIXES[suffix])
            elif suffix in JSON_SUFFIXES:
                yield from _json_rows(file)
            else:
                known = " ".join((*CSV_SUFFIXES, *JSON_SUFFIXES))
                raise DataError(f"{table}: no table of captions", hint=f"tables end in {known}")
    except UnicodeDecodeError as error:
        raise DataError(f"{table}: is not UTF-8 text", hint="save it as UTF-8") from error


def _csv_rows(table: Path, file: Iterable[str], delimiter: str) -> Iterator[Line]:
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    start = 1
    try:
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in _NEEDED if name not in header]
        if missing:
            there = ", ".join(header) or "none"
            raise DataError(
                f"{table}, line 1: no column `{missing[0]}`; there are: {there}", hint=_HINT
            )
        start = reader.line_num + 1
        for cells in reader:  # a cell in quotes may hold line ends
            if len(cells) == len(header):
                yield start, dict(zip(header, cells, strict=True)), ""
            elif cells:
                yield start, {}, f"{len(cells)} cells, not {len(header)} (commas need quotes)"
            start = reader.line_num + 1
    except csv.Error as error:  # where a quote was left open, no line after it is sure
        raise DataError(
            f"{table}, line {start}: does not parse ({error})",
            hint='is a quote left open? inside quotes, one is written twice: "a ""big"" cat"',
        ) from error


def _json_rows(file: Iterable[str]) -> Iterator[Line]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, {}, f"does not parse ({error})"
        else:
            is_object = isinstance(row, dict)
            yield number, row if is_object else {}, "" if is_object else "is no object {…}"


def _fault(row: Row) -> str:
    """What is wrong with a line, in words; empty if nothing is."""
    for column in (*_NEEDED, "split", "label"):
        value = row.get(column)
        if not isinstance(value, (str, int, type(None))):
            return f"{column} is no text"
        if not _is_writable(str(value)):
            return f"{column} holds what is no letter"
        if column in _NEEDED and not _text(row, column):
            return f"no {column}"
    if (split := _text(row, "split")).lower() not in _SPLITS:
        return f"no such split: {split}"
    return ""


def _is_writable(text: str) -> bool:
    """Whether a text can be written in UTF-8, and be a file's name."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _video(row: Row, folder: Path) -> SourceVideo:
    """The video of a line without fault, its label aside."""
    name, caption, split = (_text(row, column) for column in (*_NEEDED, "split"))
    exact = folder / str(row["video"])  # spaces at the ends of a name may be meant
    path = exact if os.path.lexists(exact) else folder / name
    return SourceVideo(path, split=_SPLITS[split.lower()], caption=caption)


def _text(row: Row, column: str) -> str:
    """A value without the space around it; empty where there is none."""
    value = row.get(column)
    return "" if value is None else str(value).strip()


def _tell(table: Path, what: str, lines: list[str]) -> None:
    """Warn of lines that were left out."""
    if lines:
        words = f"{table}: {len(lines)} lines {what} and were left out, the first is {lines[0]}"
        warnings.warn(LatteWarning(words), stacklevel=3)


def _labelled(found: list[tuple[SourceVideo, str]]) -> tuple[list[SourceVideo], list[str]]:
    """Videos with the numbers of their labels, and the labels' names in order."""
    names = sorted({label for _, label in found if label})
    if all(name.isdecimal() and int(name) < _MAX_LABEL for name in names):
        names = [str(number) for number in range(max(map(int, names), default=-1) + 1)]
        numbers = {label: int(label) for _, label in found if label}
    else:
        numbers = {name: number for number, name in enumerate(names)}
    return [replace(video, label=numbers.get(label)) for video, label in found], names
