"""`latte eval`: how far fake videos are from real ones, by a protocol that has a name."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from latte_cli.config import Config
from latte_cli.evaluation.evaluating import (
    PAIRED,
    EvalContext,
    Evaluation,
    FeatureExtractors,
    refuse_paired,
)
from latte_cli.evaluation.paired import (
    COMPARED,
    PAIRED_PROTOCOL,
    Pairs,
    open_pairs,
    paired_protocol,
    protocols,
)
from latte_cli.evaluation.results.files import (
    Result,
    content_of,
    refuse_other_protocol,
    refuse_other_videos,
    write_result,
)
from latte_cli.evaluation.results.paper import PaperTable, dataset_of, paper_table
from latte_cli.evaluation.results.places import (
    RESULTS,
    default_place,
    refuse_lost_numbers,
    refuse_unwritable,
)
from latte_cli.evaluation.results.tables import Table, facts, numbers_table, paper_rows
from latte_cli.evaluation.sources.opening import is_checkpoint, open_source
from latte_cli.metrics.protocol import Protocol, protocol_from
from latte_cli.runtime.console import Console
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.errors import CheckpointError


@dataclass(frozen=True)
class EvalOptions:
    """What `latte eval` was asked for beside the configuration.

    Attributes:
        real: a prepared data set, a folder, or an npz file.
        fake: the same, or a checkpoint.
        context: where features lie, and the like.
        least: clips that there must be of each side.
        out: the result file; None: named after both sides, the protocol and the metrics.
    """

    real: Path
    fake: Path
    context: EvalContext
    least: int = 2
    out: Path | None = None


@dataclass(frozen=True)
class EvalOutcome:
    """What came of it."""

    result: Result
    out: Path
    paper: tuple[PaperTable, ...]
    seconds: float

    def tables(self) -> list[Table]:
        """The numbers, and the paper's tables with one's own row."""
        return [numbers_table(self.result), *map(paper_rows, self.paper)]

    def facts(self) -> dict[str, Any]:
        """What belongs to the numbers, and where they lie."""
        told = {**facts(self.result), "out": self.out, "seconds": self.seconds}
        if self.result.protocol.name == PAIRED_PROTOCOL:
            told["protocol"] = f"{protocols(self.result, list(self.result.numbers))}: {COMPARED}"
        return told

    def as_values(self) -> dict[str, Any]:
        """The result file, where it lies, and the place among the paper's numbers."""
        places = {table.metric: table.place for table in self.paper}
        written = self.result.as_values()
        return {"out": str(self.out), **written, "place": places, "seconds": self.seconds}


@dataclass(frozen=True)
class ProtocolShown:
    """A protocol, whole; `dataset` is the paper's that it is for, if it is for one."""

    protocol: Protocol
    missing: str = ""
    dataset: str = ""

    def tables(self) -> list[Table]:
        """Every field."""
        return [Table(("protocol", ""), self.protocol.rows())]

    def facts(self) -> dict[str, Any]:
        """What keeps its numbers from the published ones, and weights that are not there."""
        told = {"not as published": "\n".join(self._deviations()), "weights": self.missing}
        return {name: text for name, text in told.items() if text}

    def as_values(self) -> dict[str, Any]:
        """Every field, and the hash."""
        return {**self.protocol.as_values(), "deviations": self._deviations()}

    def _deviations(self) -> list[str]:
        return self.protocol.deviations(self.dataset)


def run(config: Config, console: Console, options: EvalOptions) -> EvalOutcome | None:
    """Describe the clips that are not described yet, measure, write the result.

    Returns:
        What came of it; None in every process of torchrun but the first.

    Raises:
        CheckpointError: if weights or a checkpoint are missing, or not the right ones.
        ConfigError: if clips are too short for a metric, or drawn for one of paired videos.
        DataError: if there are too few clips, fakes are of several sizes, videos are no pairs, or
            the result file cannot be written, or is one of another protocol, against other videos
            or with more metrics.
        VideoError: if a video cannot be read any more.
    """
    started = time.monotonic()
    metrics = config.eval.metrics
    paired = [metric for metric in metrics if metric in PAIRED]
    protocol = protocol_from(config)
    if len(paired) == len(metrics):
        protocol = paired_protocol(protocol)
    _refuse(options, protocol, metrics)
    if is_main() and _same(options.real, options.fake):
        console.warn(f"{options.fake} is given as real and as fake: it is compared with itself")
    pairs = _open_pairs(paired, console, options) if paired and is_main() else None
    result = None
    if len(paired) < len(metrics):
        result = _measure(config, protocol, console, options)
    elif pairs is not None:
        result = _of_pairs(protocol, pairs, options.out)
    if result is None:  # in every process but the main one
        return None
    if pairs is not None:
        result = replace(result, numbers={**result.numbers, **pairs.measure(console)})
    out = options.out or default_place(options.real, options.fake, result)
    write_result(out, result)
    return EvalOutcome(
        result, out, paper_tables(result, config, options.real), time.monotonic() - started
    )


def show_protocol(config: Config, context: EvalContext) -> ProtocolShown:
    """The configured protocol, with the checksums of the weights that are on this machine."""
    protocol = protocol_from(config)
    metrics = tuple(metric for metric in config.eval.metrics if metric not in PAIRED)
    dataset = dataset_of(config.name, config.data.root or "")
    try:
        extractors = FeatureExtractors.open(metrics, protocol, replace(context, download=False))
        return ProtocolShown(extractors.protocol, dataset=dataset)
    except CheckpointError as error:
        missing = f"their checksums belong to the hash, but {error}"
        return ProtocolShown(protocol, missing, dataset)


def _measure(
    config: Config, protocol: Protocol, console: Console, options: EvalOptions
) -> Result | None:
    """All but the paired metrics."""
    context = options.context
    metrics = tuple(metric for metric in config.eval.metrics if metric not in PAIRED)
    real, fake = [
        open_source(path, protocol, config, context.seen, console)
        for path in (options.real, options.fake)
    ]
    extractors = FeatureExtractors.open(
        metrics, protocol, context, console.say
    )  # may fetch weights
    evaluation = Evaluation(config, extractors, context, console)
    reals = evaluation.clip_set("real", real, options.least)
    if options.out is not None:
        refuse_other_videos(options.out, content_of(reals.plan), real.place)
    notes = {"first_clip": fake.videos[0].key} if is_checkpoint(options.fake) else {}
    return evaluation.run(reals, evaluation.clip_set("fake", fake, options.least), notes)


def _open_pairs(metrics: Sequence[str], console: Console, options: EvalOptions) -> Pairs:
    """The paired metrics' videos and networks; what does not fit is told before hours are spent."""
    context = options.context
    return open_pairs(metrics, options.real, options.fake, context.seen, context.weights, console)


def _of_pairs(protocol: Protocol, pairs: Pairs, out: Path | None) -> Result:
    """A result without clips that are drawn, still without numbers."""
    real, fake = pairs.clip_sets()
    if out is not None:
        refuse_other_videos(out, real.content, real.place)
    return Result(protocol, real, fake, {})


def _refuse(options: EvalOptions, protocol: Protocol, metrics: Sequence[str]) -> None:
    """Refuse what cannot end well, before anything is opened."""
    if is_checkpoint(options.real) or is_checkpoint(options.fake):
        refuse_paired(metrics)
    if options.out is not None:
        refuse_other_protocol(options.out, protocol)
        refuse_lost_numbers(options.out, metrics)
    if is_main():
        refuse_unwritable(options.out or RESULTS / "result.json")


def paper_tables(result: Result, config: Config, real: Path) -> tuple[PaperTable, ...]:
    """The paper's tables for the data set, by the preset's name or that of the real videos."""
    dataset = dataset_of(config.name, real)
    tables = (paper_table(n.metric, dataset, n.value) for n in result.numbers.values())
    return tuple(table for table in tables if table is not None)


def _same(real: Path, fake: Path) -> bool:
    if not real.exists() or not fake.exists():
        return False
    return real.samefile(fake)
