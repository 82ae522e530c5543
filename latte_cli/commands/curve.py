"""`latte eval --curve`: a number against training step, over the checkpoints of runs."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latte_cli.config import Config
from latte_cli.evaluation.checkpoints import (
    Measured,
    measure_checkpoints,
    results_of,
    to_draw_from,
)
from latte_cli.evaluation.evaluating import (
    EvalContext,
    Evaluation,
    FeatureExtractors,
    refuse_paired,
)
from latte_cli.evaluation.results.plots import Mark, Plot, Series, plot_metrics, save_figure
from latte_cli.evaluation.results.tables import Table, shown
from latte_cli.evaluation.sources.clip_sets import real_content
from latte_cli.evaluation.sources.opening import open_source
from latte_cli.evaluation.sources.videos import Source
from latte_cli.metrics.protocol import differences, protocol_from
from latte_cli.runtime.console import Console
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.errors import DataError


@dataclass(frozen=True)
class CurveOptions:
    """What the curve was asked for.

    Attributes:
        out: the picture; None: quality.png in the first run's folder.
        context: where features lie, and the like.
    """

    out: Path | None
    context: EvalContext


@dataclass(frozen=True)
class CurveRun:
    """A run, how it is evaluated, and against what."""

    folder: Path
    config: Config
    real: Path


@dataclass(frozen=True)
class CurveOutcome:
    """What came of it: the results of each run, by step."""

    runs: Mapping[str, Sequence[Measured]]
    picture: Path
    seconds: float

    def tables(self) -> list[Table]:
        """A row a checkpoint; the best of each run is marked, by the run's first metric."""
        metrics = _metrics(self.runs)
        rows = [
            (
                name,
                str(each.step),
                *(_cell(each, metric) for metric in metrics),
                "best" if each.best else "",
            )
            for name, measured in self.runs.items()
            for each in measured
        ]
        return [Table(("run", "step", *metrics, ""), rows)]

    def facts(self) -> dict[str, Any]:
        """Where it lies."""
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


def run(runs: Sequence[CurveRun], console: Console, options: CurveOptions) -> CurveOutcome | None:
    """Measure the checkpoints that are not measured yet, mark each run's best, draw the picture.

    Results of checkpoints that are deleted by now are part of the curve.

    Returns:
        What came of it; None in every process of torchrun but the first.

    Raises:
        CheckpointError: if weights are missing, or a checkpoint is broken.
        DataError: if a run has neither whole checkpoints nor results, or runs are of two protocols,
            or against different videos.
    """
    started = time.monotonic()
    _refuse_two_protocols(runs)
    reals = [_open_real(each, options.context, console) for each in runs]
    _refuse_other_videos(runs, [content for _, content in reals])
    found: dict[str, Sequence[Measured]] = {}
    for each, (real, content) in zip(runs, reals, strict=True):
        protocol = protocol_from(each.config)
        extractors = FeatureExtractors.open(
            each.config.eval.metrics, protocol, options.context, console.say
        )
        evaluation = Evaluation(each.config, extractors, options.context, console)
        if not to_draw_from(each.folder) and not results_of(each.folder, evaluation, content):
            raise DataError(
                f"{each.folder}: no checkpoints, and no results", hint="`latte train` makes runs"
            )
        found[each.folder.name] = measure_checkpoints(each.folder, evaluation, real)
    if not is_main():
        return None
    for each in runs:
        if not found[each.folder.name]:
            raise DataError(
                f"{each.folder}: no whole checkpoints, and no results",
                hint="`latte train` makes them",
            )
    picture = options.out or runs[0].folder / "quality.png"
    outcome = CurveOutcome(found, picture, time.monotonic() - started)
    heading = f"{', '.join(found)}: protocol {protocol.name}"
    save_figure(plot_metrics(heading, _plots(found)), picture)
    return outcome


def _open_real(run: CurveRun, context: EvalContext, console: Console) -> tuple[Source, str]:
    """The videos that a run is measured against, and their content."""
    protocol = protocol_from(run.config)
    real = open_source(run.real, protocol, run.config, context.seen, console)
    return real, real_content(real, protocol, run.config.eval.draws)


def _refuse_other_videos(runs: Sequence[CurveRun], contents: Sequence[str]) -> None:
    for other, content in zip(runs[1:], contents[1:], strict=True):
        if content != contents[0]:
            raise DataError(
                f"{runs[0].folder} and {other.folder} cannot be compared, their real videos are "
                f"others: {runs[0].real} and {other.real}",
                hint="give --real, the same videos for both",
            )


def _refuse_two_protocols(runs: Sequence[CurveRun]) -> None:
    for each in runs:
        refuse_paired(each.config.eval.metrics)
    first = protocol_from(runs[0].config)
    for other in runs[1:]:
        if told := differences(first, protocol_from(other.config)):
            raise DataError(
                f"{runs[0].folder} and {other.folder} cannot be compared: {'; '.join(told)}",
                hint="give what differs, such as --interval, for both",
            )


def _metrics(runs: Mapping[str, Sequence[Measured]]) -> list[str]:
    """Those of any run: each is measured by its own, unless others are asked for."""
    results = [each.result for measured in runs.values() for each in measured]
    return list(dict.fromkeys(metric for result in results for metric in result.numbers))


def _cell(measured: Measured, metric: str) -> str:
    number = measured.result.numbers.get(metric)
    return shown(None if number is None else number.value)


def _plots(runs: Mapping[str, Sequence[Measured]]) -> list[Plot]:
    plots = []
    for metric in _metrics(runs):
        found = {
            name: [
                (each, number)
                for each in measured
                if (number := each.result.numbers.get(metric)) is not None
            ]
            for name, measured in runs.items()
        }
        series = [
            Series(name, [Mark(m.step, n.value, n.interval, best=m.best) for m, n in each])
            for name, each in found.items()
        ]
        real_vs_real_values = [
            n.real_vs_real.value
            for each in found.values()
            for _, n in each
            if n.real_vs_real is not None
        ]
        plots.append(
            Plot(
                metric,
                "training step",
                series,
                real_vs_real_values[0] if real_vs_real_values else None,
            )
        )
    return plots
