"""Progress of a training run: a panel on a terminal, otherwise a line for each logged step."""

import math
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from rich.console import RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table

from latte_cli.runtime.console import Console, format_duration
from latte_cli.training.monitoring.metrics_log import QUARTERS, Row
from latte_cli.training.monitoring.tracker_runs import EVALUATED

_LEVELS = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 28


class TrainingPanel:
    """The state of a run for people; a Rich renderable for `Console.live`.

    Args:
        console: where lines are printed.
        name: of the run.
        total: steps in all.
        step: the step that the run is at.
        losses: of the steps logged before, oldest first.
        checkpoint: that the run resumes from; None for a new run.
    """

    def __init__(
        self,
        console: Console,
        name: str,
        total: int,
        step: int,
        losses: Sequence[float],
        checkpoint: Path | None,
    ) -> None:
        self._console = console
        self._name, self._total = name, total
        self._step = self._first_step = step
        self._losses = list(losses)
        self._checkpoint = checkpoint
        self._saved_at: float | None = None  # by this process
        self._started = time.monotonic()
        self._row: Row = {}
        self._held_out: float | None = None
        self._evaluation = ""

    def advance(self) -> None:
        """Count a step."""
        self._step += 1

    def roll_back(self, step: int) -> None:
        """Show that the run is at an earlier step."""
        self._step = step

    def show(self, row: Row) -> None:
        """Show a logged step, a line of metrics.jsonl."""
        self._row = row
        self._held_out = row.get("val_loss", self._held_out)
        if (loss := row["loss"]) is not None:
            self._losses.append(loss)
        if not self._console.on_terminal:
            self._console.info(self._line())

    def show_saved(self, checkpoint: Path) -> None:
        """Show that a checkpoint was saved."""
        self._checkpoint, self._saved_at = checkpoint, time.monotonic()

    def start_evaluation(self) -> None:
        """Show that the run is being evaluated."""
        self._evaluation = f"measuring step {self._step} …"

    def show_evaluation(self, row: Row, *, best: bool) -> None:
        """Show the metrics of an evaluation, by names such as `eval_fvd`; none if it failed."""
        self._evaluation = "  ".join(
            f"{name.removeprefix(EVALUATED)} {'not finite' if value is None else f'{value:.4g}'}"
            for name, value in row.items()
        )
        if row:
            self._evaluation += f"  at step {self._step}{', the best' if best else ''}"
            if not self._console.on_terminal:
                self._console.info(self._evaluation)

    def __rich__(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        table.add_row("steps", self._steps())
        table.add_row("loss", self._loss())
        quarters = [self._row.get(f"loss_q{number}") for number in range(1, QUARTERS + 1)]
        losses = "  ".join("-" if loss is None else f"{loss:.4f}" for loss in quarters)
        table.add_row("by noise", f"little {losses} much")
        table.add_row("speed", "  ".join(self._speed()) or "-")
        if self._evaluation:
            table.add_row("quality", self._evaluation)
        table.add_row("saved", self._saved())
        return Panel(table, title=f"training {self._name}", title_align="left", expand=True)

    def _steps(self) -> RenderableType:
        grid = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=self._total, completed=self._step, width=20)
        grid.add_row(bar, f"{self._step}/{self._total}", f"{self._time_left()} left")
        return grid

    def _loss(self) -> str:
        held_out = "" if self._held_out is None else f"  held-out {self._held_out:.4f}"
        now = f"{self._losses[-1]:.4f}" if self._losses else "-"
        curve = [math.log(loss) for loss in self._losses if loss > 0]  # it falls fast, then slowly
        return f"{now}  {spark_line(curve, _SPARK_WIDTH)}{held_out}"

    def _speed(self) -> list[str]:
        """Clips a second, share of the device's peak, and memory, as far as they are known."""
        rate, share, memory = map(self._row.get, ("clips_per_s", "peak_share", "memory_gb"))
        shown = []
        if rate is not None and share is not None:
            digits = 1 if rate >= 1 else 3
            shown += [f"{rate:.{digits}f} clips/s", f"{share:.0%} of peak"]
        if memory is not None:
            shown.append(f"{memory:.1f} GB")
        return shown

    def _saved(self) -> str:
        if self._checkpoint is None:
            return "nothing yet"
        if self._saved_at is None:
            return f"{self._checkpoint.name}, resumed from"
        ago = format_duration(time.monotonic() - self._saved_at)
        return f"{self._checkpoint.name}, {ago} ago"

    def _time_left(self) -> str:
        done, seconds = self._step - self._first_step, time.monotonic() - self._started
        left = self._total - self._step
        return "?" if left and done <= 0 else format_duration(left * seconds / max(done, 1))

    def _line(self) -> str:
        loss, held_out = self._row["loss"], self._row.get("val_loss")
        shown = [f"step {self._step}/{self._total}"]
        shown.append("loss not finite" if loss is None else f"loss {loss:.4f}")
        if held_out is not None:
            shown.append(f"held-out {held_out:.4f}")
        return "  ".join([*shown, *self._speed(), f"{self._time_left()} left"])


def spark_line(values: Sequence[float], width: int) -> str:
    """A curve as text: one character for the mean of each chunk, scaled between the extremes.

    Args:
        values: finite.
        width: the most characters.
    """
    count = min(width, len(values))
    edges = [number * len(values) // count for number in range(count + 1)] if count else []
    means = [sum(values[low:high]) / (high - low) for low, high in pairwise(edges)]
    lowest, span = min(means, default=0.0), max(means, default=0.0) - min(means, default=0.0)
    top = len(_LEVELS) - 1
    return "".join(_LEVELS[round((m - lowest) / span * top) if span else 0] for m in means)
