"""`latte report`: one HTML page about training runs."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from latte_cli.reporting.run_files import is_run_folder, read_run
from latte_cli.reporting.run_page import run_page
from latte_cli.reporting.writing import REPORT, check_replaceable, write_page
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import ConfigError, DataError

EMBED_MB = 4.0
"""Megabytes of clips in a page about runs: with its curves it stays below 8 MB."""


@dataclass(frozen=True)
class ReportOptions:
    """Options of `latte report`.

    Attributes:
        names: runs by name, or their folders.
        runs_root: folder of the runs.
        out: the page; None: `report.html` in the folder of a run, or a file beside several.
        embed_mb: megabytes of clips that are embedded; the others are links to their files.
        overwrite: whether a file that is no report may be replaced.
    """

    names: tuple[str, ...]
    runs_root: Path = Path("runs")
    out: Path | None = None
    embed_mb: float | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class ReportResult:
    """The page, and what it shows."""

    out: Path
    runs: tuple[str, ...]
    bytes: int
    seconds: float


def run(options: ReportOptions, console: Console) -> ReportResult:
    """Read the runs and write the page.

    Raises:
        ConfigError: if two runs have the same name.
        DataError: if a name is no run.
        ExistsError: if the page would replace something else.
        OSError: if it cannot be written.
    """
    started = time.monotonic()
    folders = [find_folder(name, options.runs_root) for name in options.names]
    runs = [read_run(folder) for folder in folders]
    names = [each.name for each in runs]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"two of these runs have the same name: {', '.join(map(str, folders))}",
            hint="a page tells runs apart by their names: name each once",
        )
    out = options.out or _default_page(folders, names)
    check_replaceable(out, overwrite=options.overwrite)
    for each in runs:
        for note in each.notes:
            console.warning(f"{each.folder}: {note}")
    embed_mb = EMBED_MB if options.embed_mb is None else options.embed_mb
    write_page("run.html.j2", out, run_page(runs, out, int(embed_mb * 1e6), {}))
    return ReportResult(out, tuple(names), out.stat().st_size, time.monotonic() - started)


def find_folder(name: str, runs_root: Path) -> Path:
    """The folder that a name stands for: of a run, or a path.

    Raises:
        DataError: if there is none.
    """
    path, run = Path(name), runs_root / name
    if path.name == name and is_run_folder(run):
        return run
    if path.is_dir():
        return path
    known = sorted(each.name for each in runs_root.glob("*") if is_run_folder(each))
    raise DataError(
        f"{name}: neither a run in {runs_root} nor a folder",
        hint=f"runs there: {', '.join(known)}" if known else "`latte train` makes runs",
    )


def _default_page(folders: Sequence[Path], names: Sequence[str]) -> Path:
    if len(folders) == 1:
        return folders[0] / REPORT
    return folders[0].parent / f"{'-against-'.join(names)}.html"
