"""Tables of captions by their suffixes."""

from collections.abc import Iterator
from pathlib import Path

from latte_cli.runtime.errors import DataError
from latte_cli.sources.tables.columns import ColumnChoice, Line
from latte_cli.sources.tables.delimited import csv_rows
from latte_cli.sources.tables.json_rows import json_rows
from latte_cli.sources.tables.parquet import parquet_rows

CSV_SUFFIXES = (".csv", ".tsv")
LINE_SUFFIXES = (".jsonl", ".ndjson")
PARQUET_SUFFIXES = (".parquet",)
TABLE_SUFFIXES = (*CSV_SUFFIXES, *LINE_SUFFIXES, ".json", *PARQUET_SUFFIXES)

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def rows_of(table: Path, choice: ColumnChoice) -> Iterator[Line]:
    """All rows of a table that are not empty, also those that do not parse.

    Raises:
        DataError: if it is no table, or lacks a column.
    """
    suffix = table.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        known = " ".join(TABLE_SUFFIXES)
        raise DataError(f"{table}: is not a table of captions", hint=f"tables end in {known}")
    if suffix in PARQUET_SUFFIXES:
        yield from parquet_rows(table, choice)
        return
    with table.open("rb") as file:
        encoding = "utf-16" if file.read(2) in _UTF_16 else "utf-8-sig"
    try:
        with table.open(encoding=encoding, newline="") as text:
            rows = csv_rows if suffix in CSV_SUFFIXES else json_rows
            yield from rows(table, text, choice)
    except UnicodeError as error:
        raise DataError(f"{table}: is not UTF-8 text", hint="save the table as UTF-8") from error
