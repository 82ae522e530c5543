"""A training run while it runs: a panel on a terminal, a line for each logged step elsewhere."""

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
from latte_cli.training.monitoring.monitor import QUARTERS, Row
from latte_cli.training.monitoring.tensorboard import MEASURED

_LEVELS = "▁▂▃▄▅▆▇█"
_SPARKS = 28


class RunView:
    """What is known of a run, and how it is shown; to be drawn by `Console.live`.

    Args:
        console: where lines are said.
        name: of the run.
        total: steps in all.
        step: that the run is at.
        losses: of the steps logged before, oldest first.
        checkpoint: gone on from; None for a run that begins.
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
        self._step = self._begun_at = step
        self._losses = list(losses)
        self._checkpoint = checkpoint
        self._saved_at: float | None = None  # by this process
        self._started = time.monotonic()
        self._row: Row = {}
        self._held_out: float | None = None
        self._quality = ""  # by the last evaluation

    def advance(self) -> None:
        """Count a step."""
        self._step += 1

    def go_back(self, step: int) -> None:
        """Show that the run is at an earlier step."""
        self._step = step

    def show(self, row: Row) -> None:
        """Show a logged step, a line of metrics.jsonl."""
        self._row = row
        self._held_out = row.get("val_loss", self._held_out)
        if (loss := row["loss"]) is not None:
            self._losses.append(loss)
        if not self._console.on_terminal:
            self._console.say(self._line())

    def saved(self, checkpoint: Path) -> None:
        """Show that a checkpoint was written."""
        self._checkpoint, self._saved_at = checkpoint, time.monotonic()

    def measuring(self) -> None:
        """Show that the run is being evaluated."""
        self._quality = f"measuring step {self._step} …"

    def measured(self, row: Row, *, best: bool) -> None:
        """Show what an evaluation found, numbers by names such as `eval_fvd`."""
        told = [
            f"{name.removeprefix(MEASURED)} {'not finite' if value is None else f'{value:.4g}'}"
            for name, value in row.items()
        ]
        if told:
            self._quality = f"{'  '.join(told)}  at step {self._step}{', the best' if best else ''}"
            if not self._console.on_terminal:
                self._console.say(self._quality)
        else:
            self._quality = ""

    def __rich__(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        table.add_row("steps", self._steps())
        table.add_row("loss", self._loss())
        table.add_row("by noise", self._quarters())
        table.add_row("speed", "  ".join([*self._speed(), *self._memory()]) or "-")
        if self._quality:
            table.add_row("quality", self._quality)
        table.add_row("saved", self._saved())
        return Panel(table, title=f"training {self._name}", title_align="left", expand=True)

    def _steps(self) -> RenderableType:
        grid = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=self._total, completed=self._step, width=20)
        grid.add_row(bar, f"{self._step}/{self._total}", f"{self._left()} left")
        return grid

    def _loss(self) -> str:
        held_out = "" if self._held_out is None else f"  held-out {self._held_out:.4f}"
        now = f"{self._losses[-1]:.4f}" if self._losses else "-"
        curve = [math.log(loss) for loss in self._losses if loss > 0]  # it falls fast, then slowly
        return f"{now}  {spark_line(curve, _SPARKS)}{held_out}"

    def _quarters(self) -> str:
        """Losses from nearly clean clips to nearly pure noise."""
        losses = [self._row.get(f"loss_q{number}") for number in range(1, QUARTERS + 1)]
        told = "  ".join("-" if loss is None else f"{loss:.4f}" for loss in losses)
        return f"little {told} much"

    def _speed(self) -> list[str]:
        rate, share = self._row.get("clips_per_s"), self._row.get("peak_share")
        if rate is None or share is None:
            return []
        return [f"{_short(rate)} clips/s", f"{share:.0%} of peak"]

    def _memory(self) -> list[str]:
        memory = self._row.get("memory_gb")
        return [] if memory is None else [f"{memory:.1f} GB"]

    def _saved(self) -> str:
        if self._checkpoint is None:
            return "nothing yet"
        if self._saved_at is None:
            return f"{self._checkpoint.name}, gone on from"
        ago = format_duration(time.monotonic() - self._saved_at)
        return f"{self._checkpoint.name}, {ago} ago"

    def _left(self) -> str:
        done, spent = self._step - self._begun_at, time.monotonic() - self._started
        left = self._total - self._step
        return format_duration(left * spent / done) if done > 0 else "?" if left else "00:00"

    def _line(self) -> str:
        loss, held_out = self._row["loss"], self._row.get("val_loss")
        told = [f"step {self._step}/{self._total}"]
        told.append("loss not finite" if loss is None else f"loss {loss:.4f}")
        if held_out is not None:
            told.append(f"held-out {held_out:.4f}")
        return "  ".join([*told, *self._speed(), *self._memory(), f"{self._left()} left"])


def spark_line(values: Sequence[float], width: int) -> str:
    """A curve in a line of text: means of up to `width` stretches, from the lowest to the highest.

    Args:
        values: finite.
        width: the most characters.
    """
    count = min(width, len(values))
    edges = [number * len(values) // count for number in range(count + 1)] if count else []
    means = [sum(values[low:high]) / (high - low) for low, high in pairwise(edges)]
    lowest, span = min(means, default=0.0), max(means, default=0.0) - min(means, default=0.0)
    steps = len(_LEVELS) - 1
    return "".join(_LEVELS[round((m - lowest) / span * steps) if span else 0] for m in means)


def _short(rate: float) -> str:
    return f"{rate:.1f}" if rate >= 1 else f"{rate:.3f}"
