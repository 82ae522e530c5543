"""A run's page, kept up to date by the commands that train, sample and evaluate."""

import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from latte_cli import __version__
from latte_cli.reporting.run_files import (
    ADDED,
    STARTS,
    read_lines,
    read_run,
    read_steps,
    run_of_clips,
)
from latte_cli.reporting.run_page import Posters, run_page
from latte_cli.reporting.writing import REPORT, data_of_page, write_page
from latte_cli.runtime.console import Console
from latte_cli.runtime.cpus import usable_cpus
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.files import json_lines, write_text

EMBED_MB = 3.0
"""Megabytes of clips in a page about runs: with its curves it stays below 8 MB."""

_MOST_SHARE = 0.02  # of a training's time that its page may take


def write_run_page(run: Path) -> Path:
    """Write the page of one run into its folder; pictures of the page before it are kept.

    Raises:
        DataError: if the folder is none of a run.
        OSError: if the page cannot be written.
    """
    page = run / REPORT
    variables = run_page([read_run(run)], page, int(EMBED_MB * 1e6), known_posters(page))
    write_page("run.html.j2", page, variables)
    return page


def known_posters(page: Path) -> Posters:
    """The pictures of preview clips in a page that was written before; none if there is no page."""
    found: Posters = {}
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        for run in data_of_page(page)["runs"]:
            for each in run["previews"]:
                found[f"preview {run['name']} {each['stamp']}"] = each["poster"]
    return found


class RunReport:
    """Keeps the page of a run that trains up to date; nothing that fails here ends the training.

    Every process of a run may have one; the main one writes.

    Args:
        run: its folder.
        console: shows a warning if the page cannot be written, once.
    """

    def __init__(self, run: Path, console: Console) -> None:
        self._run, self._console, self._writes = run, console, is_main()
        self._warned = False
        self._seconds, self._ended = 0.0, -float("inf")  # of the last refresh

    def record_start(self, step: int, facts: Mapping[str, Any]) -> None:
        """Record when and where the run starts or resumes; later starts that it undoes are dropped.

        Args:
            step: that it starts at.
            facts: device, number of devices, precision, and version of torch.
        """
        if not self._writes:
            return
        row = {
            "step": step,
            "time": datetime.now().astimezone().isoformat(" ", "minutes"),
            **facts,
            "system": f"{platform.system()} {platform.machine()}, {usable_cpus()} processors",
            "python": platform.python_version(),
            "latte": __version__,
        }
        path = self._run / STARTS
        with self._no_failure():
            kept = [each for each in read_steps(path) if step and each["step"] <= step]
            write_text(path, json_lines([*kept, row]))

    def refresh(self, *, last: bool = False) -> None:
        """Write the page, unless that would take more than 2 % of the training's time.

        Args:
            last: whether the run ends here: then it is written in any case.
        """
        started = time.monotonic()
        if not self._writes or (not last and started - self._ended < self._seconds / _MOST_SHARE):
            return
        with self._no_failure():
            write_run_page(self._run)
        self._ended = time.monotonic()
        self._seconds = self._ended - started

    @contextmanager
    def _no_failure(self) -> Iterator[None]:
        """Turn any error into a warning, once: a page is no reason to end a training of days."""
        try:
            yield
        except Exception as error:
            if not self._warned:
                self._console.warning(f"no report of this run, training goes on: {error}")
            self._warned = True


def add_to_report(
    kind: Literal["result", "samples"], made: Path, source: Path, console: Console
) -> Path | None:
    """Add what a command made from a run's checkpoint to the run's page.

    Args:
        kind: of what was made.
        made: a result file, or a folder or file of clips.
        source: the checkpoint, or the clips that were evaluated.
        console: shows a warning if the page cannot be written.

    Returns:
        The page; None if the source is of no run, or the page cannot be written.
    """
    found = run_of_clips(source)
    if found is None:
        return None
    run, step = found
    try:
        row = {kind: Path(os.path.relpath(made, run)).as_posix(), "step": step}
        if row not in read_lines(run / ADDED):
            with (run / ADDED).open("a", encoding="utf-8") as file:
                file.write(json_lines([row]))
    except (OSError, ValueError) as error:  # a read-only disk, or another drive of Windows
        console.warning(f"the report of {run} stays as it was: {error}")
        return None
    return refresh_report(run, console)


def refresh_report(run: Path, console: Console) -> Path | None:
    """Write a run's page; if that is not possible, warn and return None."""
    try:
        return write_run_page(run)
    except OSError as error:
        console.warning(f"the report of {run} stays as it was: {error}")
        return None
