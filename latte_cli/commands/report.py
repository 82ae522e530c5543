"""`latte report`: one HTML page about training runs, or about folders of clips."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from latte_cli.checkpoints.names import last_stage, run_name
from latte_cli.reporting.clip_files import read_clips
from latte_cli.reporting.gallery_page import gallery_page
from latte_cli.reporting.run_files import is_run_folder, read_run
from latte_cli.reporting.run_page import run_page
from latte_cli.reporting.run_report import EMBED_MB, known_posters
from latte_cli.reporting.verdicts import findings_on
from latte_cli.reporting.writing import REPORT, check_replaceable, write_page
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import ConfigError, DataError

_MOST_FOLDERS = 2


@dataclass(frozen=True)
class ReportOptions:
    """Options of `latte report`.

    Attributes:
        names: runs by name or folder, or folders of clips.
        runs_root: folder of the runs.
        out: the page; None: `report.html` in the folder, or a file beside the first of several.
        embed_mb: megabytes of clips that are embedded, the others are links to their files; None:
            3 of the previews of runs, none of a gallery.
        overwrite: whether a file that is no report may be replaced.
    """

    names: tuple[str, ...]
    runs_root: Path = Path("runs")
    out: Path | None = None
    embed_mb: float | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class ReportResult:
    """The page, and what it shows, in words."""

    out: Path
    shows: str
    bytes: int
    seconds: float


def run(options: ReportOptions, console: Console) -> ReportResult:
    """Read runs, or folders of clips, and write the page.

    Raises:
        ConfigError: if two runs have the same name, or runs and folders of clips are mixed.
        DataError: if a name is neither a run nor a folder of clips.
        ExistsError: if the page would replace something else.
        OSError: if it cannot be written.
    """
    started = time.monotonic()
    folders = [find_folder(name, options.runs_root) for name in options.names]
    names = [run_name(folder) for folder in folders]
    are_runs = [is_run_folder(folder) for folder in folders]
    if any(are_runs) and not all(are_runs):
        other = folders[are_runs.index(False)]
        raise ConfigError(
            f"{folders[are_runs.index(True)]} is a training run, {other} is not",
            hint="a page shows runs or folders of clips: call `latte report` for each",
        )
    out = options.out or _default_page(folders, names)
    check_replaceable(out, overwrite=options.overwrite)
    write = _write_runs if any(are_runs) else _write_gallery
    shows = write(folders, names, out, options, console)
    return ReportResult(out, shows, out.stat().st_size, time.monotonic() - started)


def _write_runs(
    folders: Sequence[Path],
    names: Sequence[str],
    out: Path,
    options: ReportOptions,
    console: Console,
) -> str:
    """Write the page about runs; returns what it shows."""
    if len(set(names)) < len(names):
        raise ConfigError(
            f"two of these runs have the same name: {', '.join(map(str, folders))}",
            hint="a page tells runs apart by their names: name each once",
        )
    runs = [read_run(folder) for folder in folders]
    for each in runs:
        for note in each.notes:
            console.warning(f"{each.folder}: {note}")
    embed_mb = EMBED_MB if options.embed_mb is None else options.embed_mb
    write_page("run.html.j2", out, run_page(runs, out, int(embed_mb * 1e6), known_posters(out)))
    return f"{'runs' if len(names) > 1 else 'run'} {', '.join(names)}"


def _write_gallery(
    folders: Sequence[Path],
    names: Sequence[str],
    out: Path,
    options: ReportOptions,
    console: Console,
) -> str:
    """Write the page about folders of clips; returns what it shows."""
    if len(folders) > _MOST_FOLDERS:
        raise ConfigError(
            f"{len(folders)} folders of clips: {', '.join(map(str, folders))}",
            hint=f"a page compares {_MOST_FOLDERS} of them",
        )
    found = [read_clips(folder) for folder in folders]
    findings = [findings_on(folder) for folder in folders]
    variables = gallery_page(found, findings, out, int((options.embed_mb or 0) * 1e6))
    for note in variables["notes"]:
        console.warning(note)
    write_page("gallery.html.j2", out, variables)
    counts = (f"{len(each.clips)} clips of {name}" for each, name in zip(found, names, strict=True))
    return ", ".join(counts)


def find_folder(name: str, runs_root: Path) -> Path:
    """The folder that a name stands for: of a run, or a path; of several stages, the last.

    Raises:
        DataError: if there is none.
    """
    path, run = last_stage(Path(name)), last_stage(runs_root / name)
    if Path(name).name == name and is_run_folder(run):
        return run
    if path.is_dir():
        return path
    if path.exists():
        raise DataError(f"{name}: a file, not a folder", hint="give runs, or folders of clips")
    known = sorted(each.name for each in runs_root.glob("*") if is_run_folder(last_stage(each)))
    raise DataError(
        f"{name}: neither a run in {runs_root} nor a folder",
        hint=f"runs there: {', '.join(known)}" if known else "`latte train` makes runs",
    )


def _default_page(folders: Sequence[Path], names: Sequence[str]) -> Path:
    if len(folders) == 1:
        return folders[0] / REPORT
    return folders[0].parent / f"{'-against-'.join(names)}.html"
