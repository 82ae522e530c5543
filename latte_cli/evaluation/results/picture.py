"""Pictures of evaluations: a number over training steps, or over the seconds that a clip takes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from math import ceil, floor, log10

from PIL import Image

from latte_cli.evaluation.similarity.charts import FAINT, GREY, INK, Canvas, Point, nice_ticks

_Placing = Callable[[float, float], Point]
"""Where a pair of numbers lies."""

_INKS = ("#1f77b4", "#e6780a", "#2a9d4a", "#c0392b", "#8e5bb5", "#7a5230", "#d56fae", "#5b6770")
_PANEL = (760, 420)
_LEGEND_ROW = 18


@dataclass(frozen=True)
class Mark:
    """A measured number.

    Attributes:
        x: step, or seconds.
        y: the number.
        interval: its 95 %, where it is known.
        words: written beside it.
        best: drawn with a ring.
    """

    x: float
    y: float
    interval: tuple[float, float] | None = None
    words: str = ""
    best: bool = False


@dataclass(frozen=True)
class Series:
    """Marks of one colour; joined by a line, or not."""

    name: str
    marks: Sequence[Mark]
    joined: bool = True


@dataclass(frozen=True)
class Plot:
    """One number of several series.

    Attributes:
        title: what is shown.
        under: what the axis to the right is.
        series: at least one mark in all.
        real_vs_real: a line below which all is noise.
        log_x: whether equal ratios take equal room to the right.
    """

    title: str
    under: str
    series: Sequence[Series]
    real_vs_real: float | None = None
    log_x: bool = False

    def draw(self, canvas: Canvas, low: Point, high: Point) -> None:
        """Draw between two corners."""
        left, top, right, bottom = low[0] + 70, low[1] + 30, high[0] - 24, high[1] - 44
        marks = list(chain.from_iterable(s.marks for s in self.series))
        heights = [v for m in marks for v in (m.interval or (m.y,))] + [m.y for m in marks]
        ticks = nice_ticks(
            min([*heights, *([] if self.real_vs_real is None else [self.real_vs_real])]),
            max(heights),
        )
        across = self._ticks_across([mark.x for mark in marks])
        first, last = self._place(across[0]), self._place(across[-1])

        def at(x: float, y: float) -> Point:
            return (
                left + (self._place(x) - first) / (last - first) * (right - left),
                bottom - (y - ticks[0]) / (ticks[-1] - ticks[0]) * (bottom - top),
            )

        canvas.text(low, self.title, 15)
        for tick in ticks:
            y = at(across[0], tick)[1]
            canvas.line([(left, y), (right, y)], FAINT)
            canvas.text((left - 6, y), f"{tick:.8g}", 11, GREY, "rm")
        for tick in across:
            x = at(tick, ticks[0])[0]
            canvas.line([(x, bottom), (x, bottom + 4)], GREY)
            canvas.text((x, bottom + 7), f"{tick:.8g}", 11, GREY, "ma")
        canvas.text(((left + right) / 2, bottom + 25), self.under, 12, GREY, "ma")
        if self.real_vs_real is not None:
            y = at(across[0], self.real_vs_real)[1]
            canvas.line([(left, y), (right, y)], "#999999", 1.5)
            canvas.text((right, y - 3), "real against real", 11, GREY, "rd")
        for number, series in enumerate(self.series):
            _draw_series(canvas, series, _INKS[number % len(_INKS)], at)

    def _place(self, x: float) -> float:
        return log10(x) if self.log_x else x

    def _ticks_across(self, values: Sequence[float]) -> list[float]:
        if not self.log_x:
            return nice_ticks(min(values), max(values))
        low, high = floor(log10(min(values))), ceil(log10(max(values)) + 1e-9)
        every = [m * 10.0**power for power in range(low, max(high, low + 1) + 1) for m in (1, 2, 5)]
        inside = [t for t in every if min(values) / 2.5 <= t <= max(values) * 2.5]
        return inside if len(inside) > 1 else every


def save_plots(heading: str, plots: Sequence[Plot]) -> Image.Image:
    """Plots one below the other, with one legend for all."""
    names = list(dict.fromkeys(series.name for plot in plots for series in plot.series))
    named = len(names) > 1 or any(names)
    legend = _LEGEND_ROW * len(names) + 10 if named else 0
    width, height = _PANEL
    canvas = Canvas(width, 40 + legend + height * len(plots))
    canvas.text((16, 12), heading, 16)
    for number, name in enumerate(names if named else ()):
        y = 44 + number * _LEGEND_ROW
        canvas.dot((24, y), _INKS[number % len(_INKS)], 4)
        canvas.text((36, y), name, 12, INK, "lm")
    for number, plot in enumerate(plots):
        top = 40 + legend + number * height
        plot.draw(canvas, (16, top), (width, top + height))
    return canvas.finished()


def _draw_series(canvas: Canvas, series: Series, ink: str, at: _Placing) -> None:
    marks = sorted(series.marks, key=lambda mark: mark.x)
    if series.joined and len(marks) > 1:
        canvas.line([at(mark.x, mark.y) for mark in marks], ink, 1.5)
    for mark in marks:
        if mark.interval is not None:
            canvas.line([at(mark.x, y) for y in mark.interval], ink, 1)
        place = at(mark.x, mark.y)
        if mark.best:
            canvas.dot(place, INK, 6)
            canvas.dot(place, "white", 4.5)
        canvas.dot(place, ink, 3.5)
        if mark.words:
            canvas.text((place[0] + 7, place[1]), mark.words, 11, ink, "lm")
