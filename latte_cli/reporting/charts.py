"""Which charts a page shows: their titles, axes and lines, and what belongs into each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
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
    found: dict[str, dict[str, Any]] = {}
    for number, (run, logged) in enumerate(zip(runs, curves, strict=True)):
        dataset = _dataset(run)
        for result in (each for each in run.results if each.step is not None):
            for metric, value in result.result.numbers.items():
                chart = found.setdefault(metric, _empty_chart(metric))
                key = (number, value.protocol_hash)
                line = chart["lines"].setdefault(key, _line(number, _protocol(result)))
                low, high = value.interval or (None, None)
                line["points"].append((result.step, value.value, low, high))
                if value.real_vs_real is not None:
                    chart["marks"]["real vs real"] = value.real_vs_real.value
                chart["marks"] |= _papers_own(metric, dataset, value.value)
        for name, curve in logged.items():
            metric = name.removeprefix(EVALUATED)
            if name == metric or any(n == number for n, _ in found.get(metric, _NO_LINES)["lines"]):
                continue
            points = zip(curve.steps, curve.values, strict=True)
            line = _line(number, "as logged")
            line["points"] = [(step, value, None, None) for step, value in points]
            found.setdefault(metric, _empty_chart(metric))["lines"][number, ""] = line
    return [_as_values(chart) for chart in found.values()]


_NO_LINES: dict[str, Any] = {"lines": {}}


def _empty_chart(metric: str) -> dict[str, Any]:
    better = "higher is better" if _is_better_high(metric) else "lower is better"
    return {"title": f"{_shown(metric)} by training step", "unit": f"{_shown(metric)}, {better}",
            "lines": {}, "marks": {}}  # fmt: skip


def _is_better_high(metric: str) -> bool:
    return metric in METRICS and METRICS[metric].higher_is_better


def _shown(metric: str) -> str:
    return metric.upper() if len(metric) <= 4 else metric


def _line(run: int, protocol: str) -> dict[str, Any]:
    return {"run": run, "protocol": protocol, "points": []}


def _protocol(each: MeasuredResult) -> str:
    protocol = each.result.protocol
    return f"{protocol.name} {protocol.hash[:6]}"


def _papers_own(metric: str, dataset: str, value: float) -> dict[str, float]:
    """The paper's values of its own networks."""
    table = paper_table(metric, dataset, value)
    if table is None:
        return {}
    rows = {name: dict(zip(DATASETS, values, strict=True)) for name, values in table.rows}
    own = {name: rows[name][dataset] for name in _PAPERS_OWN if name in rows}
    return {f"paper: {name}": known for name, known in own.items() if known is not None}


def _dataset(run: RunFiles) -> str:
    config = run.config
    return dataset_of(config.name, config.data.root or "") if config else ""


def _as_values(chart: dict[str, Any]) -> dict[str, Any]:
    lines = [{**line, "points": sorted(line["points"])} for line in chart["lines"].values()]
    marks = [{"name": name, "value": value} for name, value in chart["marks"].items()]
    return {**chart, "lines": lines, "marks": marks}
