"""`latte eval --sweep`: quality against seconds per clip, over settings and checkpoints."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from latte_cli.caching import NO_CACHE, CacheOptions, policy_name
from latte_cli.checkpoints.averages import save_reconstructed
from latte_cli.checkpoints.folder import FOR_SAMPLING
from latte_cli.checkpoints.names import folder_name
from latte_cli.config import Config
from latte_cli.evaluation.evaluating import EvalContext, Evaluation
from latte_cli.evaluation.metric_table import check_unpaired
from latte_cli.evaluation.protocol import Protocol, differences, protocol_from
from latte_cli.evaluation.results.plots import Mark, Plot, Series, plot_metrics, save_figure
from latte_cli.evaluation.results.result import Result, read_result
from latte_cli.evaluation.results.tables import Table, format_value
from latte_cli.evaluation.results.writing import (
    check_same_points,
    check_same_protocol,
    check_same_videos,
    write_result,
)
from latte_cli.evaluation.sources.clip_sets import ClipSet, plan_source
from latte_cli.evaluation.sources.generated import cache_policy
from latte_cli.evaluation.sources.opening import open_source
from latte_cli.runtime.console import Console
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.errors import ConfigError
from latte_cli.runtime.files import write_text
from latte_cli.sampling.sample_requests import routed_blocks

_TABLE = "sweep.json"
_OF_REAL = ("real_compression",)  # depends on the files of the real videos


@dataclass(frozen=True)
class SweepPoint:
    """One combination of the swept settings.

    Attributes:
        settings: the swept keys, and their values here.
        config: the whole configuration.
        checkpoint: to sample from.
        cache: what is reused between denoising steps.
        ema: relative width of the average to reconstruct for it; None: the checkpoint's own.
    """

    settings: Mapping[str, str]
    config: Config
    checkpoint: Path
    cache: CacheOptions = NO_CACHE
    ema: float | None = None


@dataclass(frozen=True)
class SweepOutcome:
    """Result of a sweep.

    Attributes:
        metrics: in the order in which they were given.
        points: settings and result of each, in the order of the sweep.
        measured_now: number of points that were not measured before.
        table: the file of all points.
        picture: quality against seconds per clip.
        seconds: the sweep took.
    """

    metrics: tuple[str, ...]
    points: tuple[tuple[Mapping[str, str], Result], ...]
    measured_now: int
    table: Path
    picture: Path
    seconds: float

    def tables(self) -> list[Table]:
        """One row per point."""
        settings = self.points[0][0]
        rows = [
            (
                str(number),
                *each.values(),
                *(format_value(result.numbers[metric].value) for metric in self.metrics),
                format_value(result.seconds_per_clip),
            )
            for number, (each, result) in enumerate(self.points, 1)
        ]
        return [Table(("", *settings, *self.metrics, "s per clip"), rows)]

    def facts(self) -> dict[str, Any]:
        """The protocol, and the paths of the files."""
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
    points: Sequence[SweepPoint],
    console: Console,
    context: EvalContext,
    real: Path,
    out: Path | None = None,
    *,
    overwrite: bool = False,
) -> SweepOutcome | None:
    """Measure every point that is not measured yet, then write the table and the picture.

    Args:
        points: of the sweep.
        console: shows the progress.
        context: folders of features and weights, and the like.
        real: a prepared data set, a folder, or an npz file.
        out: folder of the table, the picture and a result for each point; None: one in `sweeps`
            for the checkpoint, or for the preset if there are several checkpoints.
        overwrite: whether the table of another sweep, and points measured otherwise, may be
            replaced.

    Returns:
        The outcome; None in all but the main process.

    Raises:
        CheckpointError: if weights, a checkpoint or snapshots are missing, or not the right ones.
        ConfigError: if points differ in how they are measured, or do not differ at all.
        DataError: if there are too few clips.
        ExistsError: if there is the table of a sweep with other points, or existing results are of
            another protocol or against other videos, and may not be replaced.
    """
    started = time.monotonic()
    config, protocol = points[0].config, _common_protocol(points)
    out, points = out or _default_folder(points), [_with_average(each) for each in points]
    names = _result_names(points)
    if not overwrite:
        check_same_points(out, _TABLE, [each.settings for each in points], config.eval.metrics)
    files = [out / "points" / f"{name}.json" for name in names]
    source = open_source(real, protocol, config, context.survey_cache, console)
    content = plan_source("real", source, protocol, draws=1).content
    for file in files:
        if overwrite and file.is_file() and read_result(file).real.content != content:
            file.unlink()
        elif not overwrite:
            check_same_protocol(file, protocol, ignore=_OF_REAL, out=out)
            check_same_videos(file, content, source.place, out=out)
    evaluation = Evaluation.open(config, context, console)
    real_clips: ClipSet | None = None  # selected once a point needs them
    results: list[tuple[Mapping[str, str], Result]] = []
    measured_now = 0
    for number, (point, file) in enumerate(zip(points, files, strict=True), 1):
        result = read_result(file) if file.is_file() else None
        if result is None or differences(result.protocol, evaluation.protocol, _OF_REAL):
            if is_main():
                console.info(f"{number} of {len(points)}: {_format(point.settings)}")
            measured_now += 1
            real_clips = real_clips or evaluation.clip_set("real", source)
            result = _measure(point, evaluation, real_clips)
            if result is not None:
                write_result(file, result, overwrite=overwrite)
        if result is not None:
            results.append((point.settings, result))
    if not is_main():
        return None
    table, picture = out / _TABLE, out / "sweep.png"
    seconds = time.monotonic() - started
    outcome = SweepOutcome(
        config.eval.metrics, tuple(results), measured_now, table, picture, seconds
    )
    write_text(table, json.dumps(outcome.as_values(), indent=2, ensure_ascii=False) + "\n")
    heading = f"{config.name}, protocol {protocol.name}"
    save_figure(plot_metrics(heading, _plots(outcome)), picture)
    return outcome


def _measure(point: SweepPoint, evaluation: Evaluation, real: ClipSet) -> Result | None:
    """Measure one point; None in all but the main process."""
    fake = open_source(
        point.checkpoint,
        evaluation.protocol,
        point.config,
        evaluation.context.survey_cache,
        evaluation.console,
        point.cache,
        evaluation.context.captions(real.source, point.config),
    )
    notes = {"settings": dict(point.settings)}
    return evaluation.run(real, evaluation.clip_set("fake", fake), notes)


def _with_average(point: SweepPoint) -> SweepPoint:
    """The point with the checkpoint of its reconstructed average."""
    if point.ema is None:
        return point
    return replace(point, checkpoint=save_reconstructed(point.checkpoint, point.ema))


def _default_folder(points: Sequence[SweepPoint]) -> Path:
    folders = {folder_name(point.checkpoint) for point in points}
    return Path("sweeps") / (folders.pop() if len(folders) == 1 else points[0].config.name)


def _common_protocol(points: Sequence[SweepPoint]) -> Protocol:
    """The protocol of all points: numbers of different protocols do not belong in one table.

    Raises:
        ConfigError: if the protocol or `eval` differs between points; on metrics of paired videos.
    """
    first = points[0].config
    check_unpaired(first.eval.metrics)
    protocol = protocol_from(first)
    for point in points[1:]:
        if found := differences(protocol, protocol_from(point.config)):
            raise ConfigError(
                f"a sweep over what belongs to the protocol ({'; '.join(found)})",
                hint="evaluate these apart, by `latte eval`",
            )
        ours, theirs = first.eval.model_dump(), point.config.eval.model_dump()
        if keys := [f"eval.{key}" for key in ours if ours[key] != theirs[key]]:
            raise ConfigError(
                f"a sweep over how clips are measured ({', '.join(keys)})",
                hint=f"set it for all points, -o {keys[0]}=VALUE, and sweep over how clips are "
                "sampled",
            )
    return protocol


def _result_names(points: Sequence[SweepPoint]) -> list[str]:
    """The file name of each point's result, without the suffix.

    Raises:
        ConfigError: if two points would have the same result.
    """
    found: dict[str, SweepPoint] = {}
    for point in points:
        before = found.setdefault(_result_name(point), point)
        if before is not point:
            a, b = (_format(each.settings) for each in (before, point))
            raise ConfigError(
                f"the sweep asks for the same clips by {a} " + ("twice" if a == b else f"and {b}"),
                hint="sweep over what clips depend on, such as steps or cache, each value once",
            )
    return list(found)


def _result_name(point: SweepPoint) -> str:
    """Hash of all that a point's clips depend on, and of what is measured."""
    weights, config = point.checkpoint, point.config
    stat = (weights / FOR_SAMPLING[0] if weights.is_dir() else weights).stat()
    values = {
        "checkpoint": [str(weights.resolve()), stat.st_size, stat.st_mtime_ns],
        "network": config.model_dump(mode="json", include={"vae", "model", "diffusion"}),
        "sample": config.sample.model_dump(mode="json", exclude={"fps"}) | routed_blocks(config),
        "cache": policy_name(cache_policy(weights, config, point.cache)),
        "metrics": sorted(config.eval.metrics),
        "spread": [config.eval.draws, config.eval.resamples],
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _format(settings: Mapping[str, str]) -> str:
    """Settings for people: `steps 10, guidance 4`."""
    return ", ".join(f"{key} {value}" for key, value in settings.items())


def _plots(outcome: SweepOutcome) -> list[Plot]:
    """A plot per metric; marks bear the numbers of the table's rows."""
    plots = []
    for metric in outcome.metrics:
        series = []
        for row, (settings, result) in enumerate(outcome.points, 1):
            if result.seconds_per_clip:
                number = result.numbers[metric]
                mark = Mark(result.seconds_per_clip, number.value, number.interval, str(row))
                series.append(Series(f"{row}: {_format(settings)}", [mark]))
        real_vs_real = outcome.points[0][1].numbers[metric].real_vs_real
        line = None if real_vs_real is None else real_vs_real.value
        plots.append(Plot(metric, "seconds per clip", series, line, log_x=True))
    return plots
