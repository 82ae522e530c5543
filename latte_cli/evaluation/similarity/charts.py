"""Small charts drawn with Pillow: matrices of colours, curves, ranges."""

# Axes: r rows, c columns.

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil, floor, log10
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Point = tuple[float, float]

INK = "#222222"
FAINT = "#dddddd"
GREY = "#666666"

_FINER = 2  # drawn larger, then made smaller: smooth lines
_VIRIDIS = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)])


class Canvas:
    """A white picture; all measures are in pixels of the finished one."""

    def __init__(self, width: int, height: int) -> None:
        self._image = Image.new("RGB", (width * _FINER, height * _FINER), "white")
        self._draw = ImageDraw.Draw(self._image)

    def text(
        self, at: Point, words: str, size: int = 12, ink: str = INK, anchor: str = "la"
    ) -> None:
        """Words in one line; the anchor is Pillow's, `la` their upper left corner."""
        self._draw.text(_finer(at), words, ink, _font(size * _FINER), anchor)

    def line(self, points: Sequence[Point], ink: str, width: float = 1) -> None:
        """A line through points."""
        self._draw.line(
            [_finer(p) for p in points], ink, max(1, round(width * _FINER)), joint="curve"
        )

    def box(self, low: Point, high: Point, fill: str) -> None:
        """A filled rectangle."""
        self._draw.rectangle([_finer(low), _finer(high)], fill)

    def dot(self, at: Point, ink: str, radius: float = 3) -> None:
        """A filled circle."""
        x, y = at
        corners = [_finer((x - radius, y - radius)), _finer((x + radius, y + radius))]
        self._draw.ellipse(corners, ink)

    def heat(
        self, at: Point, size: Point, values: NDArray[np.float64], low: float, high: float
    ) -> None:
        """A matrix (r, c) as coloured cells, from the upper left corner; dark is low."""
        fine = Image.fromarray(_colours(values, low, high))
        wide, tall = (round(side) for side in _finer(size))
        place = tuple(round(side) for side in _finer(at))
        self._image.paste(fine.resize((wide, tall), Image.Resampling.NEAREST), (place[0], place[1]))

    def finished(self) -> Image.Image:
        """The picture in its size."""
        return self._image.reduce(_FINER)


@dataclass(frozen=True)
class Curve:
    """Numbers at 0, 1, 2 and so on.

    Attributes:
        ink: of the line.
        values: a number each, or several, of which the spread is shown.
        dots: another colour for each point; none by default.
    """

    ink: str
    values: Sequence[Sequence[float]]
    dots: Sequence[str] = ()


@dataclass(frozen=True)
class Panel:
    """Curves over one axis.

    Attributes:
        title: what is shown.
        curves: all in one scale.
        style: `line` joins the numbers; `range` draws their least to largest, a bar over the
            middle half, and a gap at the median.
        from_zero: let the scale begin at 0.
    """

    title: str
    curves: Sequence[Curve]
    style: Literal["line", "range"] = "line"
    from_zero: bool = False

    def draw(self, canvas: Canvas, low: Point, high: Point, under: str) -> None:
        """Draw between two corners, ticks and words included; `under` names the axis."""
        left, top, right, bottom = low[0] + 52, low[1] + 24, high[0] - 8, high[1] - 34
        count = max(len(curve.values) for curve in self.curves)
        numbers = [v for curve in self.curves for values in curve.values for v in values]
        ticks = nice_ticks(0 if self.from_zero else min(numbers), max(numbers))
        step, unit = (right - left) / count, (bottom - top) / (ticks[-1] - ticks[0])

        def place(index: float, value: float) -> Point:
            return left + (index + 0.5) * step, bottom - (value - ticks[0]) * unit

        canvas.text(low, self.title, 14)
        for tick in ticks:
            y = place(0, tick)[1]
            canvas.line([(left, y), (right, y)], FAINT)
            canvas.text((left - 6, y), f"{tick:.8g}", 11, GREY, "rm")
        for index in range(0, count, ceil(count / 14)):
            canvas.text((place(index, 0)[0], bottom + 5), str(index), 11, GREY, "ma")
        canvas.text(((left + right) / 2, bottom + 19), under, 11, GREY, "ma")
        for order, curve in enumerate(self.curves):
            if self.style == "line":
                _draw_line(canvas, [place(n, v[0]) for n, v in enumerate(curve.values)], curve)
            else:
                self._draw_ranges(canvas, order, place, min(step, 30))

    def _draw_ranges(
        self, canvas: Canvas, order: int, place: Callable[[float, float], Point], room: float
    ) -> None:
        """A curve's ranges, beside those of the others."""
        curve, share = self.curves[order], room / (len(self.curves) + 1)
        aside = (order - (len(self.curves) - 1) / 2) * share
        for index, values in enumerate(curve.values):
            spread = [place(index, q) for q in np.quantile(values, [0, 0.25, 0.5, 0.75, 1])]
            ink = curve.dots[index] if curve.dots else curve.ink
            _draw_range(canvas, [(x + aside, y) for x, y in spread], ink, share)


def nice_ticks(low: float, high: float) -> list[float]:
    """Round numbers, evenly spaced, from not above `low` to not below `high`: two to seven."""
    if high - low < 1e-12:  # all the same number: room around it, or above a zero
        low, high = (low - abs(low) / 2, high + abs(high) / 2) if high else (0, 1)
    power = 10.0 ** floor(log10((high - low) / 4))
    step = next(power * f for f in (1, 2, 2.5, 5, 10) if (high - low) / (power * f) <= 5)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _draw_line(canvas: Canvas, points: Sequence[Point], curve: Curve) -> None:
    if len(points) > 1:
        canvas.line(points, curve.ink, 1.5)
    for index, point in enumerate(points):
        canvas.dot(point, curve.dots[index] if curve.dots else curve.ink)


def _draw_range(canvas: Canvas, spread: Sequence[Point], ink: str, room: float) -> None:
    """A range of five points, from the least number to the largest."""
    least, lower, middle, upper, largest = spread
    half = max(1.5, min(4, room / 3))
    (x, top), bottom = upper, max(lower[1], upper[1] + 1)
    canvas.line([least, largest], ink, 1)
    canvas.box((x - half, top), (x + half, bottom), ink)
    if bottom - top > 4:  # else the gap would be all that is seen
        canvas.line([(x - half, middle[1]), (x + half, middle[1])], "white", 1.5)


def _colours(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    """(r, c) numbers to (r, c, 3) uint8, values outside low to high as the ends."""
    share = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    anchors = np.linspace(0, 1, len(_VIRIDIS))
    channels = [np.interp(share, anchors, channel) for channel in _VIRIDIS.T]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def _finer(at: Point) -> Point:
    return at[0] * _FINER, at[1] * _FINER


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
