"""Rows of a table of captions: CSV in its dialects, JSON lines, and lists of JSON.

Columns go by their usual names in other programs, too: `file_name` is `video`, `text` is `caption`.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from latte_cli.runtime.errors import DataError
from latte_cli.sources.editions import warn

CSV_SUFFIXES = (".csv", ".tsv")
LINE_SUFFIXES = (".jsonl", ".ndjson")
TABLE_SUFFIXES = (*CSV_SUFFIXES, *LINE_SUFFIXES, ".json")
NEEDED = ("video", "caption")
HINT = "columns: video, caption, optionally split and label; paths are relative to the table"

_NAMES = {
    "video": "video videopath videofile videofilename videoname filename filepath file path "
    "clippath clipname clipfile clip fname videoid clipid",
    "caption": "caption captions text prompt description desc sentence sentences title encap",
    "label": "label labels class classname category categoryname target labelid classid categoryid",
    "split": "split subset partition set",
}
_COLUMN_OF = {
    name: (column, rank)
    for column, names in _NAMES.items()
    for rank, name in enumerate(names.split())
}
"""The column of each name without signs, and its rank among the names of that column."""
_DELIMITERS = ",;\t|"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")

Row = Mapping[str, object]
"""The values of a row by column: video, caption, label, split."""
Line = tuple[str, Row, str]
"""Where a row is, its values, and what is wrong with it; empty if nothing is."""


def rows_of(table: Path) -> Iterator[Line]:
    """All rows of a table that are not empty, also those that do not parse.

    Raises:
        DataError: if it is no table, or lacks a column.
    """
    suffix = table.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        known = " ".join(TABLE_SUFFIXES)
        raise DataError(f"{table}: is not a table of captions", hint=f"tables end in {known}")
    with table.open("rb") as file:
        encoding = "utf-16" if file.read(2) in _UTF_16 else "utf-8-sig"
    try:
        with table.open(encoding=encoding, newline="") as text:
            if suffix in CSV_SUFFIXES:
                yield from _csv_rows(table, text)
            else:
                yield from _json_rows(table, text)
    except UnicodeError as error:
        raise DataError(f"{table}: is not UTF-8 text", hint="save the table as UTF-8") from error


def _columns(names: Iterable[object]) -> tuple[dict[str, object], list[str]]:
    """The name of each column that is there, and groups of names of which the first is meant."""
    found: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        known = _COLUMN_OF.get(re.sub(r"[^a-z0-9]", "", str(name).lower()))
        if known:
            found.setdefault(known[0], []).append((known[1], str(name)))
    unclear = [
        ", ".join(name for _, name in sorted(ranked))
        for ranked in found.values()
        if len(ranked) > 1 and min(ranked)[0]
    ]
    return {column: min(ranked)[1] for column, ranked in found.items()}, unclear


def _warn_of_unclear(table: Path, unclear: Iterable[str]) -> None:
    for names in unclear:
        warn(f"{table}: of the columns {names} the first is read")


def _csv_rows(table: Path, file: io.TextIOBase) -> Iterator[Line]:
    delimiter, skipped = _dialect(file, "\t" if table.suffix.lower() == ".tsv" else ",")
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    start = 1 + skipped
    try:
        header = [name.strip() for name in next(reader, [])]
        columns, unclear = _columns(header)
        for needed in NEEDED:
            if needed not in columns:
                names = ", ".join(header) or "none"
                raise DataError(
                    f"{table}, line {start}: no column `{needed}`; found: {names}", hint=HINT
                )
        _warn_of_unclear(table, unclear)
        places = {column: header.index(str(name)) for column, name in columns.items()}
        start = reader.line_num + 1 + skipped
        for cells in reader:  # a quoted cell may hold line breaks
            while len(cells) > len(header) and not cells[-1].strip():
                cells.pop()  # spreadsheets add them
            if len(cells) != len(header) and any(cells):
                problem = f"{len(cells)} cells, expected {len(header)} (commas need quotes)"
                yield f"line {start}", {}, problem
            elif any(cells):
                yield f"line {start}", {c: cells[at] for c, at in places.items()}, ""
            start = reader.line_num + 1 + skipped
    except csv.Error as error:  # after an open quote no line can be trusted
        raise DataError(
            f"{table}, line {start}: does not parse ({error})",
            hint='close its quotes, and double those inside quotes: "a ""big"" cat"',
        ) from error


def _dialect(file: io.TextIOBase, usual: str) -> tuple[str, int]:
    """The delimiter by which the first line has the most known columns, and lines before it."""
    first = file.readline()
    if named := re.fullmatch(r"sep=(.)\s*", first, re.IGNORECASE):  # as Excel writes it
        return named[1], 1
    file.seek(0)

    def count(delimiter: str) -> int:
        return len(_columns(next(csv.reader([first], delimiter=delimiter), []))[0])

    return max((usual, *_DELIMITERS), key=count), 0


def _json_rows(table: Path, file: io.TextIOBase) -> Iterator[Line]:
    """Rows of JSON lines, or of one list or object, which some write under their suffix."""
    whole = _whole(table, file)
    if whole is None:
        file.seek(0)
        rows = _json_lines(file)
    else:
        rows = ((f"entry {number}", row, "") for number, row in enumerate(whole, 1))
    is_warned = False
    for place, row, problem in rows:
        if not problem and not isinstance(row, dict):
            problem = "is not an object {…}"
        columns, unclear = _columns(row if isinstance(row, dict) else ())
        if unclear and not is_warned:
            _warn_of_unclear(table, unclear)
            is_warned = True
        yield place, {} if problem else {c: row[name] for c, name in columns.items()}, problem


def _json_lines(file: Iterable[str]) -> Iterator[tuple[str, Any, str]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", json.loads(line), ""
        except (ValueError, RecursionError) as error:
            yield f"line {number}", None, f"does not parse ({error})"


def _whole(table: Path, file: io.TextIOBase) -> list[Any] | None:
    """The rows of a file that is one list or object of rows; None if it is lines of JSON.

    Raises:
        DataError: if it ends in .json, and is neither.
    """
    first = file.readline().strip()
    is_json = table.suffix.lower() == ".json"
    try:
        # An object in the first line may be the first of many.
        if not is_json and isinstance(json.loads(first), dict):
            return None
    except (ValueError, RecursionError):
        pass
    file.seek(0)
    try:
        content = json.loads(file.read())
    except (ValueError, RecursionError) as error:
        if is_json and not first.endswith("}"):
            raise DataError(f"{table}: does not parse ({error})", hint=HINT) from error
        return None
    rows = _rows_in(content)
    if rows is None and is_json:
        raise DataError(f"{table}: holds no list of videos and captions", hint=HINT)
    return rows


def _rows_in(content: Any) -> list[Any] | None:
    """The rows of a list, of an object of columns or videos, or of the only list in an object."""
    if isinstance(content, list):
        return content if any(isinstance(row, dict) for row in content) else None
    if not isinstance(content, dict):
        return None
    columns = _columns(content)[0]
    if all(name in columns for name in NEEDED):
        if all(isinstance(content[columns[name]], (list, dict)) for name in NEEDED):
            return _transposed({name: content[key] for name, key in columns.items()})
        return [content]
    lists = [value for value in content.values() if isinstance(value, list) and _rows_in(value)]
    if len(lists) > 1:  # such as one of videos and one of their captions
        lists = [rows for rows in lists if _is_row(rows[0])]
    return lists[0] if len(lists) == 1 else _of_videos(content)


def _is_row(value: Any) -> bool:
    return isinstance(value, dict) and all(name in _columns(value)[0] for name in NEEDED)


def _transposed(columns: Mapping[str, Any]) -> list[Any]:
    """The rows of columns that are lists, or objects by row, as pandas writes them."""
    keyed = {
        name: dict(enumerate(column)) if isinstance(column, list) else column
        for name, column in columns.items()
        if isinstance(column, (list, dict))
    }
    return [{name: column.get(key) for name, column in keyed.items()} for key in keyed["video"]]


def _of_videos(content: Mapping[str, Any]) -> list[Any] | None:
    """The rows of an object with a caption, or an object, for each video."""
    rows: list[Any] = []
    for video, value in content.items():
        if isinstance(value, dict) and "caption" in _columns(value)[0]:
            rows.append({**value, _columns(value)[0].get("video", "video"): video})
        elif isinstance(value, str) or (isinstance(value, list) and value):
            rows.append({"video": video, "caption": value})
    return rows if len(rows) == len(content) and rows else None
