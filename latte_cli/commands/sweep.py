"""`latte eval --sweep`: quality against seconds per clip, over ways to draw and checkpoints."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from latte_cli.evaluation.evaluating import EvalContext, Evaluation, FeatureExtractors
from latte_cli.evaluation.results.files import (
    Result,
    read_result,
    refuse_other_protocol,
    refuse_other_videos,
    write_result,
)
from latte_cli.evaluation.results.plots import Mark, Plot, Series, plot_metrics, save_figure
from latte_cli.evaluation.results.points import SweepPoint, common_protocol, in_words, result_names
from latte_cli.evaluation.results.tables import Table, shown
from latte_cli.evaluation.sources.clip_sets import ClipSet, real_content
from latte_cli.evaluation.sources.opening import open_source
from latte_cli.evaluation.sources.videos import Source
from latte_cli.runtime.console import Console
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.files import write_text


@dataclass(frozen=True)
class SweepOptions:
    """What the sweep was asked for.

    Attributes:
        real: a prepared data set, a folder, or an npz file.
        out: folder of the table, the picture and a result for each point.
        context: where features lie, and the like.
    """

    real: Path
    out: Path
    context: EvalContext


@dataclass(frozen=True)
class SweepOutcome:
    """What came of it.

    Attributes:
        metrics: in the order that they were asked for.
        points: each one's settings and result, in the order of the sweep.
        measured_now: how many points were not measured before.
        table: the file of all points.
        picture: quality against seconds per clip.
        seconds: that it took.
    """

    metrics: tuple[str, ...]
    points: tuple[tuple[Mapping[str, str], Result], ...]
    measured_now: int
    table: Path
    picture: Path
    seconds: float

    def tables(self) -> list[Table]:
        """A row a point."""
        settings = self.points[0][0]
        rows = [
            (
                str(number),
                *each.values(),
                *(shown(result.numbers[metric].value) for metric in self.metrics),
                shown(result.seconds_per_clip),
            )
            for number, (each, result) in enumerate(self.points, 1)
        ]
        return [Table(("", *settings, *self.metrics, "s per clip"), rows)]

    def facts(self) -> dict[str, Any]:
        """Where it lies."""
        protocol = self.points[0][1].protocol
        return {
            "protocol": f"{protocol.name} {protocol.hash}",
            "measured now": f"{self.measured_now} of {len(self.points)}",
            "table": self.table,
            "picture": self.picture,
            "seconds": self.seconds,
        }

    def as_values(self) -> dict[str, Any]:
        """For `--json`, and for the file."""
        first = self.points[0][1]
        return {
            "protocol": first.protocol.as_values(),
            "real": first.real.place,
            "points": [
                {
                    "settings": dict(settings),
                    "checkpoint": result.fake.place,
                    "seconds_per_clip": result.seconds_per_clip,
                    "metrics": {m: result.numbers[m].as_values() for m in self.metrics},
                }
                for settings, result in self.points
            ],
        }


def run(
    points: Sequence[SweepPoint], console: Console, options: SweepOptions
) -> SweepOutcome | None:
    """Measure every point that is not measured yet, then write the table and the picture.

    Returns:
        What came of it; None in every process of torchrun but the first.

    Raises:
        CheckpointError: if weights or a checkpoint are missing, or not the right ones.
        ConfigError: if points differ in how they are measured, or do not differ at all.
        DataError: if there are too few clips, or results of another protocol or other videos there.
    """
    started = time.monotonic()
    config, protocol = points[0].config, common_protocol(points)
    files = [options.out / "points" / f"{name}.json" for name in result_names(points)]
    real = open_source(options.real, protocol, config, options.context.seen, console)
    content = real_content(real, protocol, config.eval.draws)
    for file in files:
        refuse_other_protocol(file, protocol)
        refuse_other_videos(file, content, real.place)
    extractors = FeatureExtractors.open(config.eval.metrics, protocol, options.context, console.say)
    sweep = _Sweep(Evaluation(config, extractors, options.context, console), real)
    results = []
    for number, (point, file) in enumerate(zip(points, files, strict=True), 1):
        result = read_result(file) if file.is_file() else None
        if result is None or result.protocol != extractors.protocol:
            result = sweep.measure(point, f"{number} of {len(points)}")
            if result is not None:
                write_result(file, result)
        if result is not None:
            results.append((point.settings, result))
    if not is_main():
        return None
    table, picture = options.out / "sweep.json", options.out / "sweep.png"
    spent = time.monotonic() - started
    metrics = config.eval.metrics
    outcome = SweepOutcome(metrics, tuple(results), sweep.measured, table, picture, spent)
    write_text(table, json.dumps(outcome.as_values(), indent=2, ensure_ascii=False) + "\n")
    heading = f"{config.name}, protocol {protocol.name}"
    save_figure(plot_metrics(heading, _plots(outcome)), picture)
    return outcome


class _Sweep:
    """Measures points, one after the other; real clips are chosen when they are first needed.

    Attributes:
        measured: how many points.
    """

    def __init__(self, evaluation: Evaluation, real: Source) -> None:
        self._evaluation, self._source = evaluation, real
        self.measured = 0

    def measure(self, point: SweepPoint, number: str) -> Result | None:
        """One point; None in every process but the main one."""
        evaluation = self._evaluation
        if is_main():
            evaluation.console.say(f"{number}: {in_words(point.settings)}")
        self.measured += 1
        fake = self._open(point)
        notes = {"settings": dict(point.settings)}
        return evaluation.run(self._real, evaluation.clip_set("fake", fake), notes)

    @cached_property
    def _real(self) -> ClipSet:
        return self._evaluation.clip_set("real", self._source)

    def _open(self, point: SweepPoint) -> Source:
        evaluation = self._evaluation
        return open_source(
            point.checkpoint,
            evaluation.extractors.protocol,
            point.config,
            evaluation.context.seen,
            evaluation.console,
            point.cache,
        )


def _plots(outcome: SweepOutcome) -> list[Plot]:
    """One for each metric; points bear the numbers of the table's rows."""
    timed = [(n, each) for n, each in enumerate(outcome.points, 1) if each[1].seconds_per_clip]
    plots = []
    for metric in outcome.metrics:
        series = [
            Series(
                f"{number}: {in_words(settings)}",
                [_mark(result, metric, number)],
            )
            for number, (settings, result) in timed
        ]
        found = outcome.points[0][1].numbers[metric].real_vs_real
        real_vs_real = None if found is None else found.value
        plots.append(Plot(metric, "seconds per clip", series, real_vs_real, log_x=True))
    return plots


def _mark(result: Result, metric: str, number: int) -> Mark:
    found = result.numbers[metric]
    assert result.seconds_per_clip is not None
    return Mark(result.seconds_per_clip, found.value, found.interval, str(number))
