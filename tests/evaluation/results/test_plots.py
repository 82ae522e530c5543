"""Plots of metrics: what their axes hold, and the files they are written to."""

import numpy as np
import pytest
from PIL import Image

from latte_cli.evaluation.results.plots import Mark, Plot, Series, plot_metrics, save_figure

MARKS = [Mark(1000.0 * n, 100 / n, (90 / n, 110 / n), best=n == 4) for n in range(1, 5)]
SERIES = [Series("run a", MARKS), Series("run b", MARKS[1:])]


def lines(axes):
    """Labeled lines of axes, by label."""
    return {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_plot_has_a_line_per_series_and_an_interval_per_mark():
    figure = plot_metrics("FVD", [Plot("fvd", "training step", SERIES)])
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("training step", "fvd")
    assert set(lines(axes)) == {"run a", "run b"}
    np.testing.assert_array_equal(lines(axes)["run b"].get_xdata(), [2000, 3000, 4000])
    np.testing.assert_array_equal(lines(axes)["run b"].get_ydata(), [50, 100 / 3, 25])
    ends = [tuple(segment[:, 1]) for c in axes.collections for segment in c.get_segments()]
    assert ends == [mark.interval for series in SERIES for mark in series.marks]
    assert figure.get_suptitle() == "FVD"
    assert legend(figure) == ["run a", "run b"]


def test_real_vs_real_is_a_horizontal_line():
    plots = [Plot("fvd", "step", SERIES, real_vs_real=20.0), Plot("fid", "step", SERIES)]
    figure = plot_metrics("both", plots)
    first, second = figure.axes
    assert set(lines(first)["real vs real"].get_ydata()) == {20.0}
    assert "real vs real" not in lines(second)
    assert legend(figure) == ["real vs real", "run a", "run b"], "one legend for all"


@pytest.mark.parametrize("xs", [(0.1, 1.0, 10.0), (3.0, 3.1)])
def test_a_logarithmic_axis_has_plain_numbers(xs):
    series = [Series(str(x), [Mark(x, 1.0, label="1")]) for x in xs]
    figure = plot_metrics("s", [Plot("m", "seconds per clip", series, log_x=True)])
    figure.draw_without_rendering()
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    low, high = axes.get_xlim()
    ticks = [t for t in axes.xaxis.get_major_ticks() if low <= t.get_loc() <= high]
    assert len(ticks) > 1
    for tick in ticks:
        assert float(tick.label1.get_text()) == pytest.approx(tick.get_loc(), rel=1e-5)


def test_a_figure_is_written_as_png_and_svg(tmp_path):
    figure = plot_metrics("one", [Plot("m", "step", [Series("a", [Mark(5, 5)])])])
    save_figure(figure, tmp_path / "new" / "one.png")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["one.png", "one.svg"]
    with Image.open(tmp_path / "new" / "one.png") as picture:
        assert picture.width > 500
    assert "</svg>" in (tmp_path / "new" / "one.svg").read_text()


def test_neither_file_appears_if_one_cannot_be_written(tmp_path, monkeypatch):
    figure = plot_metrics("one", [Plot("m", "step", SERIES)])
    write = figure.savefig

    def fail_at_svg(path, **options):
        if path.suffix == ".svg":
            raise OSError("no space left")
        write(path, **options)

    monkeypatch.setattr(figure, "savefig", fail_at_svg)
    with pytest.raises(OSError, match="no space left"):
        save_figure(figure, tmp_path / "one.png")
    assert not list(tmp_path.iterdir())
