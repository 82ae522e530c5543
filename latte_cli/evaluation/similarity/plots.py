"""The figure of frame similarities, block by block (as figures 6 and 8 of the paper)."""

# matplotlib takes a while to import: only the functions that make a figure do so.

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from latte_cli.evaluation.similarity.measures import (
    PLACES,
    BlockSimilarity,
    Place,
    Similarity,
    SimilarityAt,
    off_diagonal,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

_COLUMNS = 7
_WIDTH = 14.0  # inches
_LEFT, _RIGHT = 0.05, 0.93  # of the width
_TITLE, _ROW, _STATISTICS = 0.6, 2.3, 3.2  # heights in inches
_CROWDED = 28  # boxes: more take half of the width
_GAPS = {"hspace": 0.35, "wspace": 0.22}
_DPI = 100

_BLUE, _ORANGE, _GREEN = "tab:blue", "tab:orange", "tab:green"
_PLACES: dict[Place, tuple[str, str]] = {
    "output": ("Block output", "black"),
    "space": ("Spatial attention", _BLUE),
    "time": ("Temporal attention", _ORANGE),
    "mutual": ("Spatial (rows) with temporal attention (columns)", _GREEN),
}


def plot_similarity(heading: str, measured: Sequence[SimilarityAt]) -> Figure:
    """Plot the matrices of every block, and curves of their statistics over the blocks.

    Args:
        heading: network and clips, one line.
        measured: at one or several timesteps; they stand one below another.
    """
    from matplotlib.figure import Figure

    blocks = measured[0].blocks
    places = [place for place in PLACES if any(block.at(place) for block in blocks)]
    rows = -(-len(blocks) // _COLUMNS)
    columns = 4 if len(blocks) * len(places) <= _CROWDED else 2
    statistics = 4 // columns * _STATISTICS
    heights = [_TITLE, statistics, *[_TITLE + rows * _ROW] * len(places)] * len(measured)
    figure = Figure((_WIDTH, sum(heights)), dpi=_DPI)
    rows_of_figure = figure.subfigures(len(heights), height_ratios=heights, hspace=0, squeeze=False)
    parts = iter(rows_of_figure.flat)
    for at in measured:
        title = f"Cosine similarity of frames at timestep {at.timestep}\n{heading}"
        next(parts).text(0.5, 0.4, title, ha="center", va="center", fontsize=13)
        _plot_statistics(next(parts), places, at.blocks, columns)
        for place in places:
            _plot_matrices(next(parts), place, at.blocks, rows)
    return figure


def _plot_matrices(
    figure: SubFigure, place: Place, blocks: Sequence[BlockSimilarity], rows: int
) -> None:
    """One matrix per block, in one scale of colors."""
    height = _TITLE + rows * _ROW
    top, bottom = 1 - 1.0 / height, 0.5 / height
    space = {"left": _LEFT, "right": _RIGHT, "top": top, "bottom": bottom, "hspace": 0.5}
    grid = figure.subplots(rows, _COLUMNS, squeeze=False, gridspec_kw=space)
    for axes in grid.flat[len(blocks) :]:
        axes.set_axis_off()
    found = [(block, similarity) for block in blocks if (similarity := block.at(place))]
    # The diagonal is 1: the scale is that of different frames, or all would look alike.
    values = np.concatenate([_pairs(similarity) for _, similarity in found])
    for axes, (block, similarity) in zip(grid.flat, found, strict=False):
        matrix, inverted = similarity.matrix.numpy(), similarity.inverted
        image = axes.imshow(matrix, vmin=values.min(), vmax=max(values.max(), values.min() + 1e-8))
        axes.set_title(
            f"block {block.number}: {block.attention}\n"
            f"mean {similarity.mean:.4f}, var {similarity.variance:.2g}\n"
            f"inverted {inverted.count} of {inverted.triples}",
            fontsize=8,
        )
        axes.set(xticks=[0, len(matrix) - 1], yticks=[0, len(matrix) - 1])
        axes.tick_params(labelsize=8)
    figure.suptitle(_PLACES[place][0], fontsize=12, y=1 - 0.1 / height)
    figure.supxlabel("frame", fontsize=9)
    figure.supylabel("frame", fontsize=9)
    scale = figure.add_axes((_RIGHT + 0.01, bottom, 0.008, top - bottom))
    figure.colorbar(image, cax=scale, label="cosine similarity")


@dataclass(frozen=True)
class _Group:
    """Similarities by the number of their block, in one color."""

    label: str
    color: str
    found: Mapping[int, Similarity]


def _groups(places: Sequence[Place], blocks: Sequence[BlockSimilarity]) -> list[_Group]:
    """A group for each place; blocks by the axis they attend along if outputs are all there is."""
    if len(places) > 1:
        found = {p: {b.number: s for b in blocks if (s := b.at(p))} for p in places}
        return [_Group(*_PLACES[place], found[place]) for place in places]
    colors = dict(zip(dict.fromkeys(b.attention for b in blocks), (_BLUE, _ORANGE), strict=False))
    return [
        _Group(f"blocks along {a}", c, {b.number: b.output for b in blocks if b.attention == a})
        for a, c in colors.items()
    ]


def _plot_statistics(
    figure: SubFigure, places: Sequence[Place], blocks: Sequence[BlockSimilarity], columns: int
) -> None:
    """Mean, variance, inversions and distribution of the pairs over the blocks."""
    statistics: list[tuple[str, Callable[[Similarity], float]]] = [
        ("mean similarity", lambda s: s.mean),
        ("variance", lambda s: s.variance),
        ("inverted triples, %", lambda s: 100 * s.inverted.count / max(1, s.inverted.triples)),
    ]
    height = 4 // columns * _STATISTICS
    space = {"left": _LEFT, "right": 0.99, "top": 1 - 0.6 / height, "bottom": 0.5 / height}
    *curves, spread = figure.subplots(4 // columns, columns, gridspec_kw=space | _GAPS).flat
    groups = _groups(places, blocks)
    for axes, (label, statistic) in zip(curves, statistics, strict=True):
        axes.set_title(label, fontsize=10)
        if len(places) == 1:
            axes.plot([b.number for b in blocks], [statistic(b.output) for b in blocks], "0.7")
        for group in groups:
            values = [statistic(similarity) for similarity in group.found.values()]
            style = "o" if len(places) == 1 else "o-"
            axes.plot(list(group.found), values, style, color=group.color, label=group.label)
        if statistic is not statistics[0][1]:
            axes.set_ylim(0, 1.1 * axes.get_ylim()[1])
    _plot_spread(spread, groups, len(places))
    for axes in (*curves, spread):
        axes.set_xlabel("block")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(color="0.9")
        axes.set_axisbelow(True)
    handles, labels = curves[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper left", ncols=len(labels), frameon=False)


def _plot_spread(axes: Axes, groups: Sequence[_Group], side_by_side: int) -> None:
    """Boxes from quartile to quartile, whiskers from the least to the largest similarity."""
    width = 0.8 / side_by_side
    for number, group in enumerate(groups):
        aside = (number - (side_by_side - 1) / 2) * width if side_by_side > 1 else 0
        line = {"color": group.color}
        axes.boxplot(
            [_pairs(similarity) for similarity in group.found.values()],
            positions=[block + aside for block in group.found],
            widths=0.8 * width,
            whis=(0, 100),
            manage_ticks=False,
            patch_artist=True,
            boxprops={**line, "facecolor": group.color},
            medianprops={"color": "white"},
            whiskerprops=line,
            capprops=line,
        )
    axes.set_title("similarity of pairs of frames", fontsize=10)


def _pairs(similarity: Similarity) -> NDArray[np.float64]:
    pairs: NDArray[np.float64] = off_diagonal(similarity.matrix).numpy()
    return pairs
