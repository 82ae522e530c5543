"""`captions`: a table of videos and their captions, as CSV or as JSON lines."""

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
_HINT = "columns: video, caption, optionally split and label; paths are relative to the table"
_MAX_LABEL = 100_000

Row = Mapping[str, object]
"""The values of a line by column."""
Line = tuple[int, Row, str]
"""The number of a line, from 1, its values, and what is wrong with it; empty if nothing is."""


def find(source: Path) -> tuple[list[SourceVideo], list[str]]:
    """List the videos of a table with their captions.

    Columns: `video`, a file or a folder of frames, relative to the table's folder; `caption`;
    `split`, train (the default) or test (val counts as test); `label`, a class name, or its number
    if all labels are numbers. Other columns are ignored. Lines that do not parse, that lack a video
    or caption, that name an unknown split, and those that repeat a video are skipped with a
    warning. Whether the videos exist is not checked here.

    Args:
        source: the table, or a folder that holds a single table.

    Returns:
        The videos in the order of the table, and the class names (none without labels).

    Raises:
        DataError: if there is no table, it lacks a column, or no line names a video.
    """
    table = _table_in(source) if source.is_dir() else source
    if not table.is_file():
        raise DataError(f"{table}: no such file", hint="--source names the table of captions")
    found: dict[str, tuple[SourceVideo, str]] = {}
    bad: list[str] = []
    repeated: list[str] = []
    for line, row, problem in _rows(table):
        if problem := problem or _problem(row):
            bad.append(f"line {line}: {problem}")
            continue
        video = _video(row, table.parent)
        path = os.path.realpath(video.path)
        if path in found:
            repeated.append(f"line {line}: {video.path.name}")
        found.setdefault(path, (video, _text(row, "label")))
    if not found:
        first = f"; {bad[0]}" if bad else ""
        raise DataError(f"{table}: no line names a video{first}", hint=_HINT)
    _warn(table, "are invalid", bad)
    _warn(table, "repeat a video", repeated)
    return _labelled(list(found.values()))


def _table_in(folder: Path) -> Path:
    """The single table of a folder."""
    suffixes = (*CSV_SUFFIXES, *JSON_SUFFIXES)
    inside = [path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX"))]
    tables = sorted(path for path in inside if path.suffix.lower() in suffixes)
    if not tables and len(inside) == 1 and inside[0].is_dir():
        return _table_in(inside[0])
    if len(tables) != 1:
        names = ", ".join(path.name for path in tables) or "none"
        raise DataError(
            f"{folder}: expected one table of captions, found: {names}",
            hint="--source can name the table itself",
        )
    return tables[0]


def _rows(table: Path) -> Iterator[Line]:
    """All lines that are not empty, also those that do not parse."""
    suffix = table.suffix.lower()
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            if suffix in CSV_SUFFIXES:
                yield from _csv_rows(table, file, CSV_SUFFIXES[suffix])
            elif suffix in JSON_SUFFIXES:
                yield from _json_rows(file)
            else:
                known = " ".join((*CSV_SUFFIXES, *JSON_SUFFIXES))
                raise DataError(
                    f"{table}: is not a table of captions", hint=f"tables end in {known}"
                )
    except UnicodeDecodeError as error:
        raise DataError(f"{table}: is not UTF-8 text", hint="save the table as UTF-8") from error


def _csv_rows(table: Path, file: Iterable[str], delimiter: str) -> Iterator[Line]:
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    start = 1
    try:
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in _NEEDED if name not in header]
        if missing:
            columns = ", ".join(header) or "none"
            raise DataError(
                f"{table}, line 1: no column `{missing[0]}`; found: {columns}", hint=_HINT
            )
        start = reader.line_num + 1
        for cells in reader:  # a quoted cell may hold line breaks
            if len(cells) == len(header):
                yield start, dict(zip(header, cells, strict=True)), ""
            elif cells:
                yield start, {}, f"{len(cells)} cells, expected {len(header)} (commas need quotes)"
            start = reader.line_num + 1
    except csv.Error as error:  # after an open quote no line can be trusted
        raise DataError(
            f"{table}, line {start}: does not parse ({error})",
            hint='is a quote left open? inside quotes, double them: "a ""big"" cat"',
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
            yield number, row if is_object else {}, "" if is_object else "is not an object {…}"


def _problem(row: Row) -> str:
    """What is wrong with a line; empty if nothing is."""
    for column in (*_NEEDED, "split", "label"):
        value = row.get(column)
        if not isinstance(value, (str, int, type(None))):
            return f"{column} is not text"
        if not _is_writable(str(value)):
            return f"{column} holds an invalid character"
        if column in _NEEDED and not _text(row, column):
            return f"no {column}"
    if (split := _text(row, "split")).lower() not in _SPLITS:
        return f"unknown split: {split}"
    return ""


def _is_writable(text: str) -> bool:
    """Whether a text can be encoded as UTF-8 and be a file name."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _video(row: Row, folder: Path) -> SourceVideo:
    """The video of a valid line, without its label."""
    name, caption, split = (_text(row, column) for column in (*_NEEDED, "split"))
    exact = folder / str(row["video"])  # the name may really start or end with a space
    path = exact if os.path.lexists(exact) else folder / name
    return SourceVideo(path, split=_SPLITS[split.lower()], caption=caption)


def _text(row: Row, column: str) -> str:
    """A value without surrounding space; empty if there is none."""
    value = row.get(column)
    return "" if value is None else str(value).strip()


def _warn(table: Path, what: str, lines: list[str]) -> None:
    """Warn about skipped lines."""
    if lines:
        text = f"{table}: {len(lines)} lines {what} and are skipped, the first: {lines[0]}"
        warnings.warn(LatteWarning(text), stacklevel=3)


def _labelled(found: list[tuple[SourceVideo, str]]) -> tuple[list[SourceVideo], list[str]]:
    """Videos with their labels as numbers, and the class names in order."""
    names = sorted({label for _, label in found if label})
    if all(name.isdecimal() and int(name) < _MAX_LABEL for name in names):
        names = [str(number) for number in range(max(map(int, names), default=-1) + 1)]
        numbers = {label: int(label) for _, label in found if label}
    else:
        numbers = {name: number for number, name in enumerate(names)}
    return [replace(video, label=numbers.get(label)) for video, label in found], names
