"""`latte eval --curve`: numbers against training step, over the checkpoints of runs."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latte_cli.checkpoints.names import run_name
from latte_cli.config import Config
from latte_cli.evaluation.checkpoints import (
    Measured,
    list_weights,
    measure_checkpoints,
    results_of,
)
from latte_cli.evaluation.evaluating import EvalContext, Evaluation
from latte_cli.evaluation.metric_table import check_unpaired
from latte_cli.evaluation.protocol import differences, protocol_from
from latte_cli.evaluation.results.plots import Mark, Plot, Series, plot_metrics, save_figure
from latte_cli.evaluation.results.tables import Table, format_value
from latte_cli.evaluation.sources.clip_sets import plan_source
from latte_cli.evaluation.sources.opening import open_source
from latte_cli.evaluation.sources.videos import Source
from latte_cli.reporting.run_report import refresh_report
from latte_cli.runtime.console import Console
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.errors import DataError
from latte_cli.sampling.existing import require_replaceable


@dataclass(frozen=True)
class CurveRun:
    """A run, its configuration, and the real videos to compare with."""

    folder: Path
    config: Config
    real: Path


@dataclass(frozen=True)
class CurveOutcome:
    """The results of each run by step, and the picture."""

    runs: Mapping[str, Sequence[Measured]]
    picture: Path
    seconds: float

    @property
    def metrics(self) -> list[str]:
        """Metrics of any run: each is measured by its own, unless the options name others."""
        results = [each.result for measured in self.runs.values() for each in measured]
        return list(dict.fromkeys(metric for result in results for metric in result.numbers))

    def tables(self) -> list[Table]:
        """One row per checkpoint; the best of each run is marked, by the run's first metric."""
        rows = []
        for name, measured in self.runs.items():
            for each in measured:
                numbers = [each.result.numbers.get(metric) for metric in self.metrics]
                values = [format_value(None if n is None else n.value) for n in numbers]
                rows.append((name, str(each.step), *values, "best" if each.best else ""))
        return [Table(("run", "step", *self.metrics, ""), rows)]

    def facts(self) -> dict[str, Any]:
        """The protocol, and the path of the picture."""
        protocols = [measured[0].result.protocol for measured in self.runs.values()]
        hashes = dict.fromkeys(protocol.hash for protocol in protocols)
        return {
            "protocol": f"{protocols[0].name} {' '.join(hashes)}",
            "picture": self.picture,
            "seconds": self.seconds,
        }

    def as_values(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "picture": str(self.picture),
            "runs": {
                name: [
                    {
                        "step": each.step,
                        "best": each.best,
                        "metrics": {n: v.as_values() for n, v in each.result.numbers.items()},
                    }
                    for each in measured
                ]
                for name, measured in self.runs.items()
            },
        }


def run(
    runs: Sequence[CurveRun],
    console: Console,
    context: EvalContext,
    out: Path | None,
    *,
    overwrite: bool = False,
) -> CurveOutcome | None:
    """Measure the checkpoints that are not measured yet, mark each run's best, draw the picture.

    Results of deleted checkpoints are part of the curve.

    Args:
        runs: with different names.
        console: shows the progress.
        context: folders of features and weights, and the like.
        out: the picture; None: quality.png in the first run's folder.
        overwrite: whether a picture that is not of these runs may be replaced.

    Returns:
        The outcome; None in all but the main process.

    Raises:
        CheckpointError: if weights are missing, or a checkpoint is broken.
        DataError: if a run has neither whole checkpoints nor results, or runs have different
            protocols or different real videos.
        ExistsError: if a picture that is not of these runs is there, and may not be replaced.
    """
    started = time.monotonic()
    title = f"latte eval --curve of {', '.join(run_name(each.folder) for each in runs)}"
    if out is not None and out.is_file() and title.encode() not in out.read_bytes():
        require_replaceable(out, "is not a curve of these runs", overwrite=overwrite)
    _check_same_protocol(runs)
    opened = [_open_real(each, context, console) for each in runs]
    _check_same_videos(runs, [content for _, content in opened])
    found: dict[str, Sequence[Measured]] = {}
    for each, (real, content) in zip(runs, opened, strict=True):
        evaluation = Evaluation.open(each.config, context, console)
        if not list_weights(each.folder) and not results_of(each.folder, evaluation, content):
            raise DataError(
                f"{each.folder}: no checkpoints, and no results", hint="`latte train` makes runs"
            )
        found[run_name(each.folder)] = measure_checkpoints(each.folder, evaluation, real, content)
    if not is_main():
        return None
    for each in runs:
        if not found[run_name(each.folder)]:
            raise DataError(
                f"{each.folder}: no whole checkpoints, and no results",
                hint="`latte train` makes them",
            )
    picture = out or runs[0].folder / "quality.png"
    outcome = CurveOutcome(found, picture, time.monotonic() - started)
    heading = f"{', '.join(found)}: protocol {runs[0].config.eval.protocol}"
    save_figure(plot_metrics(heading, _plots(outcome)), picture, title)
    for each in runs:
        refresh_report(each.folder, console)
    return outcome


def _open_real(run: CurveRun, context: EvalContext, console: Console) -> tuple[Source, str]:
    """The real videos of a run, and their checksum."""
    protocol = protocol_from(run.config)
    real = open_source(run.real, protocol, run.config, context.survey_cache, console)
    return real, plan_source("real", real, protocol, draws=1).content


def _check_same_protocol(runs: Sequence[CurveRun]) -> None:
    for each in runs:
        check_unpaired(each.config.eval.metrics)
    first = protocol_from(runs[0].config)
    for other in runs[1:]:
        if found := differences(first, protocol_from(other.config)):
            raise DataError(
                f"{runs[0].folder} and {other.folder} cannot be compared: {'; '.join(found)}",
                hint="give what differs, such as --interval, for both",
            )


def _check_same_videos(runs: Sequence[CurveRun], contents: Sequence[str]) -> None:
    for other, content in zip(runs[1:], contents[1:], strict=True):
        if content != contents[0]:
            raise DataError(
                f"{runs[0].folder} and {other.folder} cannot be compared, their real videos "
                f"differ: {runs[0].real} and {other.real}",
                hint="give --real, the same videos for both",
            )


def _plots(outcome: CurveOutcome) -> list[Plot]:
    """A plot per metric, with a line per run."""
    plots = []
    for metric in outcome.metrics:
        series, real_vs_real = [], []
        for name, measured in outcome.runs.items():
            found = [(m, n) for m in measured if (n := m.result.numbers.get(metric)) is not None]
            marks = [Mark(m.step, n.value, n.interval, best=m.best) for m, n in found]
            series.append(Series(name, marks))
            real_vs_real += [n.real_vs_real.value for _, n in found if n.real_vs_real is not None]
        line = real_vs_real[0] if real_vs_real else None
        plots.append(Plot(metric, "training step", series, line))
    return plots
