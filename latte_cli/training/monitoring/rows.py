"""The lines that a run writes of itself, read again when it is gone on with."""

from pathlib import Path
from typing import Any

from latte_cli.runtime.files import read_json_lines


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The lines of a file that tell of a step; none where there is no file.

    Others are left out: power loss leaves zero bytes behind, and people write notes.
    """
    if not path.is_file():
        return []
    rows: list[Any] = read_json_lines(path, skip_damaged=True)
    return [row for row in rows if isinstance(row, dict) and isinstance(row.get("step"), int)]
