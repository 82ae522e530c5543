"""Damaged files of some kinds: forty here, thousands of all kinds by tests/recipes/fuzz.py."""

import json
import subprocess
import sys
from pathlib import Path

RECIPE = Path(__file__).parent / "recipes" / "fuzz.py"
KINDS = ("video", "archive", "preset", "table")


def fuzz(out: Path, cases: int) -> list[dict]:
    """Its results so far, in the order in which they were written."""
    words = [f"--out={out}", f"--cases={cases}", "--workers=1", "--kinds", *KINDS]
    ended = subprocess.run(
        [sys.executable, str(RECIPE), *words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def test_damaged_files_are_refused_or_read_as_they_were(tmp_path):
    """And the same command goes on where it stopped."""
    first = fuzz(tmp_path, 25)
    assert [row["index"] for row in first] == list(range(25))
    with (tmp_path / "results.jsonl").open("r+") as file:
        file.seek(0, 2)
        file.truncate(file.tell() - 20)  # as if it was killed while it wrote
    rows = fuzz(tmp_path, 40)
    assert rows[:24] == first[:24]
    assert [row["index"] for row in rows] == list(range(40))
    assert {row["kind"] for row in rows} == set(KINDS)
    assert not any("find" in row for row in rows)
