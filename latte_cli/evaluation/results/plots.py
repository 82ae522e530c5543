"""Plots of metrics, over training steps or over seconds per clip, as PNG and SVG."""

# matplotlib takes a while to import: only the functions that make a figure do so.

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from latte_cli.runtime.files import atomic_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL = (7.6, 4.2)  # inches
_LEGEND_ROW = 0.22  # inches
_DPI = 120


@dataclass(frozen=True)
class Mark:
    """A measured number.

    Attributes:
        x: step, or seconds.
        y: the number.
        interval: its 95 % confidence interval, where it is known.
        label: written beside it.
        best: gets a ring around it.
    """

    x: float
    y: float
    interval: tuple[float, float] | None = None
    label: str = ""
    best: bool = False


@dataclass(frozen=True)
class Series:
    """Marks of one color, joined by a line."""

    name: str
    marks: Sequence[Mark]


@dataclass(frozen=True)
class Plot:
    """One metric of several series.

    Attributes:
        metric: label of the vertical axis.
        x_label: label of the horizontal axis, with its unit.
        series: at least one mark in all.
        real_vs_real: the metric between two halves of the real videos; differences below this
            horizontal line are noise.
        log_x: use a logarithmic horizontal axis.
    """

    metric: str
    x_label: str
    series: Sequence[Series]
    real_vs_real: float | None = None
    log_x: bool = False


def plot_metrics(heading: str, plots: Sequence[Plot]) -> Figure:
    """Plots one below the other, with one legend for all."""
    from matplotlib.figure import Figure

    width, height = _PANEL
    names = list(dict.fromkeys(series.name for plot in plots for series in plot.series))
    legend_height = _LEGEND_ROW * (len(names) + 1)
    figure = Figure((width, height * len(plots) + legend_height), layout="constrained", dpi=_DPI)
    figure.suptitle(heading)
    for axes, plot in zip(figure.subplots(len(plots), squeeze=False)[:, 0], plots, strict=True):
        _plot(axes, plot, names)
    labeled = [axes.get_legend_handles_labels() for axes in figure.axes]
    by_name = {name: handle for pair in labeled for handle, name in zip(*pair, strict=True)}
    if by_name:
        figure.legend(by_name.values(), by_name, loc="outside lower left", frameon=False)
    return figure


TITLED = (".png", ".svg", ".pdf")
"""Suffixes of the figures that can have a title."""


def save_figure(figure: Figure, path: Path, title: str = "") -> None:
    """Write a figure to a path, and as an SVG of the same name beside it.

    Args:
        figure: to write.
        path: of the file.
        title: stored in the file's metadata.
    """
    with ExitStack() as stack:  # both are complete before either takes its name
        for file in dict.fromkeys((path, path.with_suffix(".svg"))):
            part = stack.enter_context(atomic_file(file))
            about = {"Title": title} if title and file.suffix in TITLED else None
            figure.savefig(part, format=file.suffix[1:] or "png", metadata=about)


def _plot(axes: Axes, plot: Plot, names: Sequence[str]) -> None:
    from matplotlib.ticker import LogLocator

    axes.set(xlabel=plot.x_label, ylabel=plot.metric)
    if plot.log_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    if plot.real_vs_real is not None:
        axes.axhline(plot.real_vs_real, color="0.5", linestyle="--", label="real vs real")
    for series in plot.series:
        marks = sorted(series.marks, key=lambda mark: mark.x)
        index = names.index(series.name)
        color, marker = f"C{index % 10}", "os^D"[index // 10 % 4]
        x, y = [mark.x for mark in marks], [mark.y for mark in marks]
        axes.plot(x, y, marker=marker, color=color, markersize=5, label=series.name)
        for mark in marks:
            if mark.interval is not None:
                axes.vlines(mark.x, *mark.interval, color=color, linewidth=1)
            if mark.best:
                axes.plot(mark.x, mark.y, "o", color="black", fillstyle="none", markersize=10)
            axes.annotate(
                mark.label,
                (mark.x, mark.y),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
                color=color,
            )
