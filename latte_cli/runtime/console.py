"""What the user sees: progress and messages on stderr, results on stdout."""

import json
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from rich.cells import cell_len
from rich.console import Console as RichConsole
from rich.console import RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
)
from rich.table import Table
from rich.text import Text

from latte_cli.runtime.remote.urls import with_urls

PLAIN_EVERY_S = 10.0
"""Seconds between progress lines where there is no terminal."""
_UNITS_IN_NAMES = {"seconds": "time", "hours": "duration"}
"""Values of these names are shown as durations, under names without a unit."""
_WIDE = 60  # characters of a cell that widen its column where there is no terminal


class Bar:
    """A progress bar on a terminal; elsewhere a line of text every few seconds.

    Args:
        console: prints the lines of text.
        progress: shows the bar, unless it is disabled.
        what: name of the work.
        total: amount of work.
        unit: of the amount, in the plural.
    """

    def __init__(
        self, console: "Console", progress: Progress, what: str, total: int, unit: str
    ) -> None:
        self._console, self._progress, self._unit = console, progress, unit
        number = progress.add_task(what, total=total, note="", unit=unit)
        self._task = progress.tasks[number]
        self._started_at = 0.0
        self._last_line = time.monotonic()

    def start(self, done: int) -> None:
        """Start at a count reached by an earlier run, which the rate leaves out."""
        self._started_at = done
        self._progress.reset(self._task.id, completed=done)

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """Count work as done; with a note, show it beside the bar from now on."""
        note = self._task.fields["note"] if note is None else note
        self._progress.update(self._task.id, advance=count, note=note)
        if not self._progress.disable or time.monotonic() - self._last_line < PLAIN_EVERY_S:
            return
        self._last_line = time.monotonic()
        task, unit = self._task, self._unit
        rate = (task.completed - self._started_at) / (task.elapsed or 1e-9)
        left = format_duration((task.remaining or 0) / rate) if rate else "?"
        self._console.info(
            f"{task.description}: {task.completed:.0f}/{task.total:.0f} {unit}"
            f"{'  ' if note else ''}{note}  {rate:.1f} {unit}/s, {left} left"
        )


class _Rate(ProgressColumn):
    """Work per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} {task.fields['unit']}/s" if speed else "")


class _TimeLeft(ProgressColumn):
    """The remaining time."""

    def render(self, task: Task) -> Text:
        left = task.time_remaining
        return Text("" if left is None else f"{format_duration(left)} left")


@dataclass
class Console:
    """Prints everything that the user sees.

    Attributes:
        quiet: print only results and errors.
        verbose: print details, too.
        as_json: print results as one JSON object instead of tables.
    """

    quiet: bool = False
    verbose: bool = False
    as_json: bool = False
    _err: RichConsole = field(default_factory=lambda: RichConsole(stderr=True, highlight=False))
    _out: RichConsole = field(default_factory=lambda: RichConsole(highlight=False))
    _has_result: bool = field(default=False, init=False)

    def info(self, text: str) -> None:
        """Print a message, unless quiet."""
        if not self.quiet:
            self._print(Text(text))

    def debug(self, text: str) -> None:
        """Print a message if verbose."""
        if self.verbose:
            self.info(text)

    def warning(self, text: str) -> None:
        """Print that something may be wrong, although the run continues."""
        if not self.quiet:
            self._print(Text.assemble(("warning: ", "yellow"), text))

    def error(self, message: str, hint: str, command: str = "") -> None:
        """Print what is wrong, and what to do next: perhaps a command, unwrapped for pasting.

        With JSON, a script finds the same as an object where the result would be.
        """
        if self.as_json and not self._has_result:
            self._print_json({"error": message, "hint": f"{hint} {command}".strip()})
        self._print(Text.assemble(("error: ", "bold red"), message))
        if hint:
            self._print(Text.assemble(("hint: ", "cyan"), hint))
        if command:
            self._err.print(Text(f"  {command}"), soft_wrap=True)

    def next_step(self, said: str, *commands: Sequence[str]) -> None:
        """Print what was made, where, and what to do next.

        Args:
            said: whole sentences; the last one introduces the commands.
            commands: their words without `latte`; each is printed unwrapped, for pasting.
        """
        if self.quiet:
            return
        self._print(Text(said))
        for words in commands:
            self._err.print(Text(f"  latte {with_urls(shlex.join(words))}"), soft_wrap=True)

    def _print(self, text: Text) -> None:
        text = text if (shown := with_urls(text.plain)) == text.plain else Text(shown)
        # Log files get unwrapped lines.
        self._err.print(text, soft_wrap=not self._err.is_terminal)

    @property
    def on_terminal(self) -> bool:
        """Whether progress and live displays are shown."""
        return self._err.is_terminal and not self.quiet

    @contextmanager
    def progress(self, what: str, total: int, unit: str) -> Iterator[Bar]:
        """A bar with rate and remaining time; without a terminal, a line now and then."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            _Rate(),
            _TimeLeft(),
        )
        with Progress(*columns, console=self._err, disable=not self.on_terminal) as progress:
            yield Bar(self, progress, what, total, unit)

    def live(self, shown: RenderableType) -> AbstractContextManager[object]:
        """Show something on a terminal, refreshed twice a second; nothing elsewhere."""
        if not self.on_terminal:
            return nullcontext()
        return Live(shown, console=self._err, refresh_per_second=2)

    def result(self, values: Mapping[str, Any]) -> None:
        """Print a command's result: a table of two columns, or one JSON object."""
        if self.as_json:
            self._print_json(values)
            return
        rows = [
            (_UNITS_IN_NAMES.get(name, name.replace("_", " ")), _format(name, value))
            for name, value in values.items()
        ]
        self._print_table(None, rows)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], values: Any) -> None:
        """Print a result of many rows; `values` is its JSON form."""
        if self.as_json:
            self._print_json(values)
        else:
            self._print_table(header, rows)

    def sentences(self, lines: Sequence[str], values: Mapping[str, Any]) -> None:
        """Print a result in sentences, each a paragraph; `values` is its JSON form."""
        if self.as_json:
            self._print_json(values)
            return
        for line in lines:
            self._out.print(Text(line), soft_wrap=not self._out.is_terminal)

    def _print_table(self, header: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> None:
        if not self._out.is_terminal:
            for line in _plain_lines([*([] if header is None else [header]), *rows]):
                print(line)
            sys.stdout.flush()
            return
        table = Table(show_header=header is not None, box=None, pad_edge=False)
        for number, title in enumerate(header or ("", "")):
            style = "bold" if header is None and not number else None
            table.add_column(title, style=style, overflow="fold")  # rather than cut off
        for row in rows:
            table.add_row(*[Text(cell) for cell in row])
        self._out.print(table)

    def settings(self, header: Sequence[str], rows: Sequence[Sequence[str]], values: Any) -> None:
        """Print settings with origin and meaning, on a terminal the meaning below each setting."""
        if self.as_json or not self._out.is_terminal:
            self.table(header, rows, values)
            return
        for key, value, origin, meaning in rows:
            space = " " * max(2, self._out.width - len(key) - len(value) - len(origin) - 3)
            setting = ((key, "bold"), f" = {value}", space, (origin, "dim"))
            self._out.print(Text.assemble(*setting), soft_wrap=True)
            self._out.print(Padding(Text(meaning, "dim"), (0, 0, 0, 4)))

    def _print_json(self, values: Any) -> None:
        self._has_result = True
        print(with_urls(json.dumps(values, ensure_ascii=False, default=str)), flush=True)


def _plain_lines(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table for pipes and files: columns one below the other, and no value folded.

    Cells of many characters do not widen their column, so that the others stay readable.
    """
    cells = [[cell.split("\n") for cell in row] for row in rows]
    widths = [
        max((n for lines in column for text in lines if (n := cell_len(text)) <= _WIDE), default=0)
        for column in zip(*cells, strict=True)
    ]
    for row in cells:
        for texts in zip_longest(*row, fillvalue=""):
            padded = (t + " " * (w - cell_len(t)) for t, w in zip(texts, widths, strict=True))
            yield "  ".join(padded).rstrip()


def format_duration(seconds: float) -> str:
    """0.42 -> `0.4 s`; 93 -> `1 min 33 s`; 12000 -> `3 h 20 min`; 324000 -> `3 d 18 h`."""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    if (count := round(seconds)) < 3600:
        large, small, ratio = "min", "s", 60
    elif (count := round(seconds / 60)) < 600:
        large, small, ratio = "h", "min", 60
    else:
        count, large, small, ratio = round(seconds / 3600), "d", "h", 24
    parts = zip(divmod(count, ratio), (large, small), strict=True)
    return " ".join(f"{number:,} {unit}" for number, unit in parts if number)


def format_bytes(count: float) -> str:
    """1500000 -> `1.50MB`."""
    from tqdm import tqdm

    return str(tqdm.format_sizeof(count, "B", 1000))


def format_flop(count: float) -> str:
    """1500000000 -> `1.5 GFLOP`."""
    for name, size in (("P", 1e15), ("T", 1e12), ("G", 1e9)):
        if count >= size:
            return f"{count / size:.1f} {name}FLOP"
    return f"{count / 1e6:.1f} MFLOP"


def _format(name: str, value: Any) -> str:
    """A value as readable text; its unit is in its name."""
    if value is None:
        return "-"
    if name == "bytes" or name.endswith("_bytes"):
        return format_bytes(value)
    if name in ("seconds", "hours"):
        return format_duration(value if name == "seconds" else 3600 * value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        lines = (
            f"{n} x {what}" if isinstance(n, int) else f"{what} {n}" for what, n in value.items()
        )
        return "\n".join(lines) or "-"
    if isinstance(value, tuple | list):
        return with_urls(", ".join(map(str, value))) or "-"
    return with_urls(str(value))
