"""Which charts a page shows: their titles, axes and lines, and what belongs into each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from latte_cli.evaluation.metric_table import METRICS
from latte_cli.evaluation.results.paper import DATASETS, dataset_of, paper_table
from latte_cli.reporting.curves import Curve
from latte_cli.reporting.run_files import MeasuredResult, RunFiles

EVALUATED = "eval_"  # prefix in metrics.jsonl
_QUARTERS = ("little noise", "second quarter", "third quarter", "much noise")
_PAPERS_OWN = ("Latte", "Latte+IMG")


@dataclass(frozen=True)
class Chart:
    """A chart of metrics.jsonl.

    Attributes:
        title: above it.
        unit: of the vertical axis.
        lines: keys of metrics.jsonl, and their names.
        log: whether it begins with a logarithmic axis.
    """

    title: str
    unit: str
    lines: Mapping[str, str]
    log: bool = False


def _by_quarter(key: str) -> dict[str, str]:
    return {f"{key}_q{number}": name for number, name in enumerate(_QUARTERS, 1)}


_CHARTS = (
    Chart("Training loss", "loss", {"loss": "loss"}),
    Chart("Held-out loss", "loss", {"val_loss": "held-out loss"}),
    Chart("Parts of the loss", "loss", {"mse": "squared error", "vlb": "variational bound"}, True),
    Chart("Training loss by noise level", "loss", _by_quarter("loss")),
    Chart("Held-out loss by noise level", "loss", _by_quarter("val_loss")),
    Chart("Gradient norm", "norm", {"grad_norm": "gradient norm"}, True),
    Chart("Learning rate", "learning rate", {"lr": "learning rate"}),
    Chart("Speed", "clips/s", {"clips_per_s": "clips/s"}),
    Chart("Share of the machine's peak", "share", {"peak_share": "share of peak"}),
    Chart("Peak memory", "GB", {"memory_gb": "memory"}),
)


def charts_for(curves: Iterable[Mapping[str, Curve]]) -> list[dict[str, Any]]:
    """The charts of which any run has a line; keys that no chart names get one of their own.

    Args:
        curves: of each run, see `curves_of`; evaluations are left to `evaluation_charts`.
    """
    keys = dict.fromkeys(key for each in curves for key in each)
    known = {key for chart in _CHARTS for key in chart.lines}
    charts = [chart for chart in _CHARTS if any(key in keys for key in chart.lines)]
    charts += [
        Chart(key.replace("_", " "), key, {key: key})
        for key in keys
        if key not in known and not key.startswith(EVALUATED)
    ]
    return [asdict(chart) for chart in charts]


Point = tuple[int, float, float | None, float | None]
"""A step, the value of a metric, and the ends of its 95 % interval where that is known."""


@dataclass
class _Line:
    """The results of one run by one protocol."""

    run: int
    protocol: str
    points: list[Point] = field(default_factory=list)


@dataclass
class _EvaluationChart:
    """A metric over training steps.

    Attributes:
        metric: its name.
        lines: by run and protocol.
        marks: names and values of horizontal lines.
    """

    metric: str
    lines: dict[tuple[int, str], _Line] = field(default_factory=dict)
    marks: dict[str, float] = field(default_factory=dict)

    def add(self, number: int, measured: MeasuredResult, dataset: str) -> None:
        """Add a result of a run."""
        value, protocol = measured.result.numbers[self.metric], measured.result.protocol
        line = self.lines.setdefault(
            (number, value.protocol_hash), _Line(number, f"{protocol.name} {protocol.hash[:6]}")
        )
        assert measured.step is not None  # as `evaluation_charts` checked
        line.points.append((measured.step, value.value, *(value.interval or (None, None))))
        if value.real_vs_real is not None:
            self.marks["real vs real"] = value.real_vs_real.value
        table = paper_table(self.metric, dataset, value.value)
        for name, values in table.rows if table else ():
            if name in _PAPERS_OWN and (known := values[DATASETS.index(dataset)]) is not None:
                self.marks[f"paper: {name}"] = known

    def as_values(self) -> dict[str, Any]:
        """For the page."""
        shown = self.metric.upper() if len(self.metric) <= 4 else self.metric
        rises = self.metric in METRICS and METRICS[self.metric].higher_is_better
        return {
            "title": f"{shown} by training step",
            "unit": f"{shown}, {'higher' if rises else 'lower'} is better",
            "lines": [
                {"run": line.run, "protocol": line.protocol, "points": sorted(line.points)}
                for line in self.lines.values()
            ],
            "marks": [{"name": name, "value": value} for name, value in self.marks.items()],
        }


def evaluation_charts(
    runs: Sequence[RunFiles], curves: Sequence[Mapping[str, Curve]]
) -> list[dict[str, Any]]:
    """A chart for each metric that was measured at known steps.

    A line holds the results of one run by one protocol, with their 95 % intervals; horizontal
    lines are the paper's values, and the metric between real clips and other real clips.

    Args:
        runs: whose results are shown.
        curves: of each run: numbers in metrics.jsonl stand in for results that were deleted.
    """
    found: dict[str, _EvaluationChart] = {}
    for number, (run, logged) in enumerate(zip(runs, curves, strict=True)):
        dataset = dataset_of(run.config.name, run.config.data.root or "") if run.config else ""
        for measured in (each for each in run.results if each.step is not None):
            for metric in measured.result.numbers:
                found.setdefault(metric, _EvaluationChart(metric)).add(number, measured, dataset)
        for key in (key for key in logged if key.startswith(EVALUATED)):
            metric = key.removeprefix(EVALUATED)
            chart = found.setdefault(metric, _EvaluationChart(metric))
            if not any(line.run == number for line in chart.lines.values()):
                points = zip(logged[key].steps, logged[key].values, strict=True)
                known: list[Point] = [(step, value, None, None) for step, value in points]
                chart.lines[number, ""] = _Line(number, "as logged", known)
    return [chart.as_values() for chart in found.values()]
