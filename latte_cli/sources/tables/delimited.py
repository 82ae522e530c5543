"""Rows of CSV and TSV, with the delimiter that the header shows."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from latte_cli.runtime.errors import DataError
from latte_cli.sources.tables.columns import ColumnChoice, Line

_DELIMITERS = ",;\t|"


def csv_rows(table: Path, file: io.TextIOBase, choice: ColumnChoice) -> Iterator[Line]:
    """All rows that are not empty, also those with another number of cells than the header.

    Raises:
        DataError: if a column is missing, or a quote stays open.
    """
    usual = "\t" if table.suffix.lower() == ".tsv" else ","
    delimiter, skipped = _dialect(file, usual, choice)
    reader = csv.reader(file, delimiter=delimiter, strict=True)
    start = 1 + skipped
    try:
        header = [name.strip() for name in next(reader, [])]
        columns = choice.require(f"{table}, line {start}", header)
        columns.warn(table)
        start = reader.line_num + 1 + skipped
        for cells in reader:  # a quoted cell may hold line breaks
            while len(cells) > len(header) and not cells[-1].strip():
                cells.pop()  # spreadsheets add them
            if len(cells) != len(header) and any(cells):
                problem = f"{len(cells)} cells, expected {len(header)} (commas need quotes)"
                yield f"line {start}", {}, problem
            elif any(cells):
                # Of columns of one name the first counts.
                values = dict(zip(reversed(header), reversed(cells), strict=True))
                yield f"line {start}", columns.row(values), ""
            start = reader.line_num + 1 + skipped
    except csv.Error as error:  # after an open quote no line can be trusted
        raise DataError(
            f"{table}, line {start}: does not parse ({error})",
            hint='close its quotes, and double those inside quotes: "a ""big"" cat"',
        ) from error


def _dialect(file: io.TextIOBase, usual: str, choice: ColumnChoice) -> tuple[str, int]:
    """The delimiter by which the first line has the most known columns, and lines before it."""
    first = file.readline()
    if named := re.fullmatch(r"sep=(.)\s*", first, re.IGNORECASE):  # as Excel writes it
        return named[1], 1
    file.seek(0)

    def count(delimiter: str) -> int:
        return len(choice.find(next(csv.reader([first], delimiter=delimiter), [])).names)

    return max((usual, *_DELIMITERS), key=count), 0
