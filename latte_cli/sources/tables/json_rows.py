"""Rows of JSON: lines of objects, a list of them, or an object of columns or of videos."""

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from latte_cli.runtime.errors import DataError
from latte_cli.sources.tables.columns import HINT, NEEDED, ColumnChoice, Line, no_column

_KEYS_SHOWN = 10


def json_rows(table: Path, file: io.TextIOBase, choice: ColumnChoice) -> Iterator[Line]:
    """Rows of JSON lines, or of one list or object, which some write under their suffix.

    Raises:
        DataError: if a file that ends in .json is neither.
    """
    whole = _whole(table, file, choice)
    if whole is None:
        file.seek(0)
        rows = _json_lines(file)
    else:
        rows = ((f"entry {number}", row, "") for number, row in enumerate(whole, 1))
    is_warned = False
    for place, row, problem in rows:
        if not problem and not isinstance(row, dict):
            problem = "is not an object {…}"
        if problem:
            yield place, {}, problem
            continue
        columns = choice.find(row)
        if columns.unclear and not is_warned:
            columns.warn(table)
            is_warned = True
        if columns.unknown:
            problem = no_column(columns.unknown[0], row)
        elif columns.missing:
            problem = f"no {columns.missing}; found: {', '.join(row) or 'none'}"
        yield place, columns.row(row), problem


def _json_lines(file: Iterable[str]) -> Iterator[tuple[str, Any, str]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            yield f"line {number}", json.loads(line), ""
        except (ValueError, RecursionError) as error:
            yield f"line {number}", None, f"does not parse ({error})"


def _whole(table: Path, file: io.TextIOBase, choice: ColumnChoice) -> list[Any] | None:
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
    rows = _rows_in(content, choice)
    if rows is None and is_json:
        keys = ", ".join(islice(content, _KEYS_SHOWN)) if isinstance(content, dict) else ""
        found = f"; found: {keys}" if keys else ""
        raise DataError(f"{table}: holds no list of videos and captions{found}", hint=HINT)
    return rows


def _rows_in(content: Any, choice: ColumnChoice) -> list[Any] | None:
    """The rows of a list, of an object of columns or videos, or of the only list in an object."""
    if isinstance(content, list):
        return content if any(isinstance(row, dict) for row in content) else None
    if not isinstance(content, dict):
        return None
    columns = choice.find(content)
    if not columns.missing:
        names = [name for group in columns.names.values() for name in group]
        needed = [name for column in NEEDED for name in columns.names[column]]
        if all(isinstance(content[name], (list, dict)) for name in needed):
            return _transposed({name: content[name] for name in names}, needed[0])
        return [content]
    lists = [each for each in content.values() if isinstance(each, list) and _rows_in(each, choice)]
    if len(lists) > 1:  # such as one of videos and one of their captions
        lists = [rows for rows in lists if _is_row(rows[0], choice)]
    return lists[0] if len(lists) == 1 else _of_videos(content, choice)


def _is_row(value: Any, choice: ColumnChoice) -> bool:
    return isinstance(value, dict) and not choice.find(value).missing


def _transposed(columns: Mapping[str, Any], video: str) -> list[Any]:
    """The rows of columns that are lists, or objects by row, as pandas writes them."""
    keyed = {
        name: dict(enumerate(column)) if isinstance(column, list) else column
        for name, column in columns.items()
        if isinstance(column, (list, dict))
    }
    return [{name: column.get(key) for name, column in keyed.items()} for key in keyed[video]]


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


def _of_videos(content: Mapping[str, Any], choice: ColumnChoice) -> list[Any] | None:
    """The rows of an object with a caption, or an object, for each video."""
    rows: list[Any] = []
    for video, value in content.items():
        if isinstance(value, dict) and "caption" in (names := choice.find(value).names):
            rows.append({**value, names.get("video", (choice.video or "video",))[0]: video})
        elif choice == ColumnChoice() and (isinstance(value, str) or _is_list(value)):
            rows.append({"video": video, "caption": value})
    return rows if len(rows) == len(content) and rows else None
