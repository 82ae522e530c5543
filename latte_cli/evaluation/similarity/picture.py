"""The picture of how alike frames are, block by block."""

from collections.abc import Callable, Iterator, Sequence
from math import floor, log10

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latte_cli.evaluation.similarity.charts import GREY, INK, Canvas, Curve, Panel
from latte_cli.evaluation.similarity.measures import (
    PLACES,
    BlockSimilarity,
    Place,
    Similarity,
    SimilarityAt,
    off_diagonal,
)

_COLUMNS = 7
_CELL = (190, 222)  # a matrix, and the words above it
_MATRIX = 156
_MARGIN = 16
_WIDTH = _COLUMNS * _CELL[0] + 2 * _MARGIN
_PANEL_HEIGHT = 250
_CROWDED = 28  # more ranges than this take half of the width

_BLUE, _ORANGE, _GREEN = "#1f77b4", "#e6780a", "#2a9d4a"
_SHOWN: dict[Place, tuple[str, str]] = {
    "output": ("Output of each block", INK),
    "space": ("Spatial attention alone", _BLUE),
    "time": ("Temporal attention alone", _ORANGE),
    "mutual": ("Frame of spatial attention (row) with frame of temporal attention", _GREEN),
}
"""Each place of a block that is looked at: its title, and its colour in charts."""

_LEGEND = (
    "Rows and columns of a matrix are frames, the first at its upper left corner. Numbers and "
    "colours are of pairs of different frames."
)


def plot_similarity(heading: str, measured: Sequence[SimilarityAt]) -> Image.Image:
    """Draw the matrices of every block, and curves of their numbers over the blocks.

    Args:
        heading: what was looked at, one line.
        measured: at one or several timesteps; they stand one below another.
    """
    parts = [part for at in measured for part in _section(heading, at)]
    picture = Image.new("RGB", (_WIDTH, sum(part.height for part in parts)), "white")
    top = 0
    for part in parts:
        picture.paste(part, (0, top))
        top += part.height
    return picture


def _section(heading: str, measured: SimilarityAt) -> Iterator[Image.Image]:
    """All that is drawn of one timestep, from top to bottom."""
    canvas = Canvas(_WIDTH, 76)
    canvas.text((_MARGIN, 14), f"Similarity of frames at timestep {measured.timestep}", 20)
    canvas.text((_MARGIN, 40), heading, 13, GREY)
    canvas.text((_MARGIN, 58), _LEGEND, 13, GREY)
    yield canvas.finished()
    yield _panels(measured.blocks)
    for place in PLACES:
        if any(block.at(place) for block in measured.blocks):
            yield _matrices(place, measured.blocks)


def _matrices(place: Place, blocks: Sequence[BlockSimilarity]) -> Image.Image:
    """A place's matrices in a grid, in one scale of colours, which the legend shows."""
    shown = [(block, found) for block in blocks if (found := block.at(place))]
    rows = -(-len(shown) // _COLUMNS)
    canvas = Canvas(_WIDTH, 40 + rows * _CELL[1])
    # Frames are like themselves: the scale is that of different ones, or all would look alike.
    values = [_pairs(found) for _, found in shown]
    low, high = min(v.min() for v in values), max(v.max() for v in values)
    canvas.text((_MARGIN, 14), _SHOWN[place][0], 16)
    digits = _digits(float(low), float(high))
    _legend(canvas, f"{low:.{digits}f}", f"{high:.{digits}f}")
    for number, (block, found) in enumerate(shown):
        left = _MARGIN + number % _COLUMNS * _CELL[0]
        top = 40 + number // _COLUMNS * _CELL[1]
        count = found.inverted
        canvas.text((left, top), f"block {block.number}: {block.attention}", 13)
        canvas.text(
            (left, top + 17), f"mean {found.mean:.{digits}f}  var {found.variance:.2g}", 11, GREY
        )
        canvas.text((left, top + 31), f"inverted {count.count} of {count.triples}", 11, GREY)
        canvas.heat((left, top + 48), (_MATRIX, _MATRIX), found.matrix.numpy(), low, high)
    return canvas.finished()


def _legend(canvas: Canvas, low: str, high: str) -> None:
    """The scale of colours, in the upper right corner."""
    right, top = _WIDTH - _MARGIN - 60, 14
    canvas.heat((right - 120, top), (120, 14), np.linspace(0, 1, 120)[None], 0, 1)
    canvas.text((right - 126, top + 7), low, 11, GREY, "rm")
    canvas.text((right + 6, top + 7), high, 11, GREY, "lm")


def _digits(low: float, high: float) -> int:
    """Decimal places that tell two numbers apart: three to eight."""
    return min(8, max(3, 1 - floor(log10(max(high - low, 1e-8)))))


def _panels(blocks: Sequence[BlockSimilarity]) -> Image.Image:
    """Mean, variance, inversions and spread of the pairs over the blocks."""
    places = [place for place in PLACES if any(block.at(place) for block in blocks)]

    def curves(numbers: Callable[[Similarity], list[float]]) -> list[Curve]:
        return [_curve(place, blocks, numbers, alone=len(places) == 1) for place in places]

    panels = [
        Panel("mean", curves(lambda s: [s.mean])),
        Panel("variance", curves(lambda s: [s.variance]), from_zero=True),
        Panel("inverted triples, %", curves(_percent_inverted), from_zero=True),
        Panel("spread over pairs of frames", curves(lambda s: _pairs(s).tolist()), "range"),
    ]
    columns = 4 if len(blocks) * len(places) <= _CROWDED else 2
    canvas = Canvas(_WIDTH, 30 + len(panels) // columns * _PANEL_HEIGHT)
    width = (_WIDTH - 2 * _MARGIN) / columns
    for number, panel in enumerate(panels):
        left, top = _MARGIN + number % columns * width, 34 + number // columns * _PANEL_HEIGHT
        panel.draw(canvas, (left, top), (left + width - 10, top + _PANEL_HEIGHT - 10), "block")
    _name_curves(canvas, places)
    return canvas.finished()


def _name_curves(canvas: Canvas, places: Sequence[Place]) -> None:
    """What the colours stand for, in one line."""
    named = {"blocks along space": _BLUE, "blocks along time": _ORANGE}
    if len(places) > 1:
        short = {"output": "block", "space": "spatial attention", "time": "temporal attention"}
        named = {short.get(place, "spatial with temporal"): _SHOWN[place][1] for place in places}
    left = float(_MARGIN)
    for name, ink in named.items():
        canvas.dot((left + 6, 14), ink, 4)
        canvas.text((left + 16, 14), name, 13, INK, "lm")
        left += 36 + 7.0 * len(name)


def _curve(
    place: Place,
    blocks: Sequence[BlockSimilarity],
    numbers: Callable[[Similarity], list[float]],
    *,
    alone: bool,
) -> Curve:
    """One place's numbers over the blocks; alone, its dots tell the axis of attention."""
    found = [similarity for block in blocks if (similarity := block.at(place))]
    dots = [_BLUE if block.axes == (("space",),) else _ORANGE for block in blocks] if alone else ()
    ink = "#bbbbbb" if alone else _SHOWN[place][1]
    return Curve(ink, [numbers(similarity) for similarity in found], dots)


def _percent_inverted(similarity: Similarity) -> list[float]:
    return [100 * similarity.inverted.count / max(1, similarity.inverted.triples)]


def _pairs(similarity: Similarity) -> NDArray[np.float64]:
    pairs: NDArray[np.float64] = off_diagonal(similarity.matrix).numpy()
    return pairs
