"""Rows of Parquet, through pyarrow."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from latte_cli.runtime.errors import DataError
from latte_cli.sources.tables.columns import ColumnChoice, Line

_ROWS_AT_A_TIME = 4096


def parquet_rows(table: Path, choice: ColumnChoice) -> Iterator[Line]:
    """All rows; only the columns that are needed are read.

    Raises:
        DataError: if pyarrow is missing, a column is, or the file is damaged.
    """
    if find_spec("pyarrow") is None:
        raise DataError(
            f"{table}: reading Parquet needs the package pyarrow",
            hint="pip install 'latte-cli[parquet]', or save the table as CSV or lines of JSON",
        )
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    number = 0
    try:
        with ParquetFile(table) as file:
            columns = choice.require(str(table), file.schema_arrow.names)
            columns.warn(table)
            names = [name for group in columns.names.values() for name in group]
            for batch in file.iter_batches(batch_size=_ROWS_AT_A_TIME, columns=names):
                for values in batch.to_pylist():
                    number += 1
                    yield f"row {number}", columns.row(values), ""
    except (ArrowException, OSError, ValueError) as error:
        after = f" after row {number}" if number else ""
        raise DataError(
            f"{table}: is no intact Parquet file{after} ({str(error).splitlines()[0]:.80})",
            hint="copy or download it again",
        ) from error
