"""`train.tracker`: the rows of metrics.jsonl in TensorBoard, W&B or Trackio."""

import io
import json
import secrets
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path

from latte_cli.config import Config
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.errors import LatteWarning
from latte_cli.runtime.files import write_text
from latte_cli.training.monitoring.tracker_runs import OPEN, TrackerRun, check_library

Row = Mapping[str, float | None]
"""A line of metrics.jsonl."""

_RECORD = "tracker.json"  # the run's number in each tracker that it had


class Tracker:
    """Gives rows to `train.tracker`. If that fails, it warns once, and the run goes on without.

    Args:
        run: the run's folder.
        config: of the run.

    Raises:
        ConfigError: if the library cannot be imported.
    """

    def __init__(self, run: Path, config: Config) -> None:
        self._folder, self._config, self._name = run, config, config.train.tracker
        self._is_used = self._name != "none" and is_main()
        self._run: TrackerRun | None = None
        if self._is_used:
            check_library(self._name)

    def start_after(self, step: int, rows: Sequence[Row]) -> None:
        """Go on after a step; a tracker that is new to the run gets the rows up to it, too."""
        if self._is_used and (self._run is None or self._run.hides):
            self.close()
            self._guard(lambda: self._open(step, rows))

    def write(self, row: Row) -> None:
        """Add a row; values that are None are left out."""
        if (run := self._run) is not None:
            known = {key: value for key, value in row.items() if value is not None}
            self._guard(lambda: run.log(known))

    def close(self) -> None:
        """Write what is buffered."""
        if (run := self._run) is not None:
            self._guard(run.finish)

    def _guard(self, act: Callable[[], object]) -> None:
        try:
            with redirect_stdout(io.StringIO()):  # stdout is for results
                act()
        except Exception as error:  # of whatever kind: curves are not worth a run
            self._run, self._is_used = None, False
            text = f"{self._name} failed, and the run goes on without it: {error}"
            warnings.warn(LatteWarning(text), stacklevel=3)

    def _open(self, step: int, rows: Sequence[Row]) -> None:
        path, numbers = self._folder / _RECORD, {}
        with suppress(OSError, ValueError):
            numbers = dict(json.loads(path.read_text(encoding="utf-8")))
        is_new = self._name not in numbers and not (self._folder / self._name).is_dir()
        number = numbers.setdefault(self._name, secrets.token_hex(4))
        self._run = OPEN[self._name](self._folder, number, self._config, step)
        write_text(path, json.dumps(numbers) + "\n")
        for row in rows if is_new else ():
            self.write(row)
