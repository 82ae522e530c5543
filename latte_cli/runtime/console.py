"""What the user sees: progress and notes on stderr, results on stdout."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console as RichConsole
from rich.console import RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

PLAIN_EVERY_S = 10.0
"""Seconds between progress lines where there is no terminal."""


class Bar:
    """A running count of work; `advance` moves it, `note` puts words beside it."""

    def __init__(self, console: "Console", what: str, total: int, unit: str) -> None:
        self._console = console
        self._what, self._total, self._unit = what, total, unit
        self._started = self._last_line = time.monotonic()
        self._begun_at = self._done = 0
        self._note = ""
        self._live: Progress | None = None
        self._task: Any = None

    def start(self, done: int) -> None:
        """Begin at a count that an earlier run had reached, which the rate leaves out."""
        self._begun_at = self._done = done
        if self._live is not None:
            self._live.update(self._task, completed=done)

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """Count work done; with a note, say how it goes."""
        self._done += count
        self._note = self._note if note is None else note
        if self._live is not None:
            self._live.update(self._task, completed=self._done, note=self._note)
        elif time.monotonic() - self._last_line >= PLAIN_EVERY_S:
            self._print_line()

    def show_in(self, live: Progress) -> None:
        """Draw on a terminal from now on."""
        self._live = live
        self._task = live.add_task(self._what, total=self._total, note="", unit=self._unit)

    def _print_line(self) -> None:
        self._last_line = time.monotonic()
        spent = self._last_line - self._started
        rate = (self._done - self._begun_at) / spent
        left = format_duration((self._total - self._done) / rate) if rate else "?"
        note = f"  {self._note}" if self._note else ""
        self._console.info(
            f"{self._what}: {self._done}/{self._total} {self._unit}{note}"
            f"  {rate:.1f} {self._unit}/s, {left} left"
        )


class _Rate(ProgressColumn):
    """Work a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} {task.fields['unit']}/s" if speed else "")


@dataclass
class Console:
    """The one way to speak to the user.

    Attributes:
        quiet: nothing but results and errors.
        verbose: details, too.
        as_json: results as one JSON object instead of tables.
    """

    quiet: bool = False
    verbose: bool = False
    as_json: bool = False
    _err: RichConsole = field(default_factory=lambda: RichConsole(stderr=True, highlight=False))
    _out: RichConsole = field(default_factory=lambda: RichConsole(highlight=False))

    def info(self, text: str) -> None:
        """A note, unless quiet."""
        if not self.quiet:
            self._print(Text(text))

    def debug(self, text: str) -> None:
        """A note for those who asked for details."""
        if self.verbose:
            self.info(text)

    def warning(self, text: str) -> None:
        """A note that something is not as it should be, although the run goes on."""
        if not self.quiet:
            self._print(Text.assemble(("warning: ", "yellow"), text))

    def error(self, message: str, hint: str) -> None:
        """What is wrong, and what to do next."""
        self._print(Text.assemble(("error: ", "bold red"), message))
        if hint:
            self._print(Text.assemble(("hint: ", "cyan"), hint))

    def _print(self, text: Text) -> None:
        """Wrapped to a terminal's width, but never broken where a log file takes it."""
        self._err.print(text, soft_wrap=not self._err.is_terminal)

    @contextmanager
    def progress(self, what: str, total: int, unit: str) -> Iterator[Bar]:
        """A bar with rate and remaining time; a plain line once in a while without a terminal."""
        bar = Bar(self, what, total, unit)
        if self.quiet or not self._err.is_terminal:
            yield bar
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            _Rate(),
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=self._err, transient=False) as live:
            bar.show_in(live)
            yield bar

    @property
    def on_terminal(self) -> bool:
        """Whether what `live` is given is seen."""
        return self._err.is_terminal and not self.quiet

    @contextmanager
    def live(self, shown: RenderableType) -> Iterator[None]:
        """Keep something in sight on a terminal, drawn anew twice a second; nothing elsewhere."""
        if not self.on_terminal:
            yield
            return
        with Live(shown, console=self._err, refresh_per_second=2):
            yield

    def result(self, values: Mapping[str, Any]) -> None:
        """A command's result: a table of two columns, or one JSON object."""
        if self.as_json:
            self._print_json(values)
            return
        table = Table(show_header=False, box=None, pad_edge=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name, value in values.items():
            table.add_row(name.replace("_", " "), Text(_in_words(name, value)))
        self._out.print(table)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], values: Any) -> None:
        """A result of many rows; `values` is what JSON shows of it."""
        if self.as_json:
            self._print_json(values)
            return
        table = Table(*header, box=None, pad_edge=False)
        for row in rows:
            table.add_row(*[Text(cell) for cell in row])
        self._out.print(table)

    @staticmethod
    def _print_json(values: Any) -> None:
        print(json.dumps(values, ensure_ascii=False, default=str), flush=True)


def format_duration(seconds: float) -> str:
    """93 -> `01:33`."""
    from tqdm import tqdm

    return str(tqdm.format_interval(max(0, int(seconds))))


def format_bytes(count: float) -> str:
    """1500000 -> `1.50MB`."""
    from tqdm import tqdm

    return str(tqdm.format_sizeof(count, "B", 1000))


def _in_words(name: str, value: Any) -> str:
    """A value for people; its unit is in its name."""
    if value is None:
        return "-"
    if name == "bytes":
        return format_bytes(value)
    if name == "seconds":
        return format_duration(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        lines = (
            f"{n} x {what}" if isinstance(n, int) else f"{what} {n}" for what, n in value.items()
        )
        return "\n".join(lines) or "-"
    return str(value)
