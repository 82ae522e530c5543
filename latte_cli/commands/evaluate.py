"""`latte eval`: how far fake videos are from real ones, by a named protocol."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from latte_cli.checkpoints.folder import is_checkpoint
from latte_cli.config import Config
from latte_cli.evaluation.early_checks import check_conditions
from latte_cli.evaluation.evaluating import EvalContext, Evaluation
from latte_cli.evaluation.metric_table import PAIRED, check_unpaired
from latte_cli.evaluation.paired import Pairs, open_pairs, paired_protocol
from latte_cli.evaluation.protocol import Protocol, protocol_from
from latte_cli.evaluation.results.paper import PaperTable, dataset_of, paper_table
from latte_cli.evaluation.results.result import Result
from latte_cli.evaluation.results.tables import Table, numbers_table, paper_rows, result_facts
from latte_cli.evaluation.results.writing import (
    RESULTS,
    check_same_fakes,
    check_same_protocol,
    check_same_videos,
    check_writable,
    default_path,
    write_result,
)
from latte_cli.evaluation.sources.opening import open_source
from latte_cli.reporting.run_report import add_to_report
from latte_cli.runtime.console import Console
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.errors import CheckpointError

_OF_FILES = ("real_compression", "fake_compression")  # known once the files are open


@dataclass(frozen=True)
class EvalOptions:
    """Options of `latte eval` beside the configuration.

    Attributes:
        real: a prepared data set, a folder, or an npz file.
        fake: the same, or a checkpoint.
        context: folders of features and weights, and the like.
        least: clips that each source must have.
        out: the result file; None: named after both sources, the protocol and the metrics.
        overwrite: whether the result of another evaluation may be replaced.
    """

    real: Path
    fake: Path
    context: EvalContext
    least: int = 2
    out: Path | None = None
    overwrite: bool = False

    @property
    def kept(self) -> Path | None:
        """The result file, if the result of another evaluation in it is kept."""
        return None if self.overwrite else self.out


@dataclass(frozen=True)
class EvalOutcome:
    """A result, where it was written, and the paper's tables with its numbers among them.

    `report` is the page of the run that the clips are from; None if they are from no run.
    """

    result: Result
    out: Path
    paper: tuple[PaperTable, ...]
    seconds: float
    report: Path | None = None

    def tables(self) -> list[Table]:
        """The numbers, and the paper's tables."""
        return [numbers_table(self.result), *map(paper_rows, self.paper)]

    def facts(self) -> dict[str, Any]:
        """What belongs to the numbers, and the path of their file."""
        facts = {**result_facts(self.result), "out": self.out, "seconds": self.seconds}
        return facts if self.report is None else {**facts, "report": self.report}

    def as_values(self) -> dict[str, Any]:
        """The result file, its path, and the rank among the paper's numbers."""
        ranks = {table.metric: table.place for table in self.paper}
        written = self.result.as_values()
        return {"out": str(self.out), **written, "place": ranks, "seconds": self.seconds}


@dataclass(frozen=True)
class ProtocolOutcome:
    """A whole protocol.

    Attributes:
        protocol: with the checksums of the weights that are on this machine.
        missing: why checksums are missing; empty if none are.
        dataset: data set of the paper that the protocol is for; empty if none.
    """

    protocol: Protocol
    missing: str
    dataset: str

    def tables(self) -> list[Table]:
        """Every field."""
        return [Table(("protocol", ""), self.protocol.rows())]

    def facts(self) -> dict[str, Any]:
        """Differences from the published protocol, and missing weights."""
        deviations = "\n".join(self.protocol.deviations(self.dataset))
        facts = {"not as published": deviations, "weights": self.missing}
        return {name: text for name, text in facts.items() if text}

    def as_values(self) -> dict[str, Any]:
        """Every field, and the hash."""
        deviations = self.protocol.deviations(self.dataset)
        return {**self.protocol.as_values(), "deviations": deviations}


def run(config: Config, console: Console, options: EvalOptions) -> EvalOutcome | None:
    """Extract the features that are missing, measure, and write the result.

    Returns:
        The outcome; None in all but the main process.

    Raises:
        CheckpointError: if weights or a checkpoint are missing, or not the right ones.
        ConfigError: if clips are too short for a metric, or a checkpoint's clips are to be measured
            by metrics of paired videos.
        DataError: if there are too few clips, fakes have several sizes, videos are not paired, or
            the result file cannot be written, or holds a result of another protocol, against other
            videos or with more metrics.
        VideoError: if a video cannot be read any more.
    """
    started = time.monotonic()
    metrics, context = config.eval.metrics, options.context
    paired = [metric for metric in metrics if metric in PAIRED]
    protocol = protocol_from(config)
    if len(paired) == len(metrics):
        protocol = paired_protocol(protocol)
    if is_checkpoint(options.real) or is_checkpoint(options.fake):
        check_unpaired(metrics)
    if is_checkpoint(options.fake):
        check_conditions(config)
    if options.kept is not None:
        check_same_protocol(options.kept, protocol, metrics, ignore=_OF_FILES)
    pairs = None
    if is_main():
        check_writable(options.out or RESULTS / "result.json")
        if _same_path(options.real, options.fake):
            console.warning(
                f"{options.fake} is given as real and as fake: it is compared with itself"
            )
        if paired:
            pairs = open_pairs(paired, options.real, options.fake, context, console)
    if len(paired) < len(metrics):
        result = _measure(config, console, options)
    else:
        result = None if pairs is None else _empty_result(protocol, pairs, options.kept)
    if result is None:  # in all but the main process
        return None
    if pairs is not None:
        result = replace(result, numbers={**result.numbers, **pairs.measure(console)})
    out = options.out or default_path(options.real, options.fake, result)
    write_result(out, result, overwrite=options.overwrite)
    paper = _paper_tables(result, dataset_of(config.name, options.real))
    report = add_to_report("result", out, options.fake, console)
    return EvalOutcome(result, out, paper, time.monotonic() - started, report)


def show_protocol(config: Config, console: Console, context: EvalContext) -> ProtocolOutcome:
    """The configured protocol, with the checksums of the weights that are on this machine."""
    protocol, missing = protocol_from(config), ""
    try:
        protocol = Evaluation.open(config, context, console).protocol
    except CheckpointError as error:
        missing = f"their checksums belong to the hash, but {error}"
    return ProtocolOutcome(protocol, missing, dataset_of(config.name, config.data.root or ""))


def _measure(config: Config, console: Console, options: EvalOptions) -> Result | None:
    """Measure the metrics that are not paired."""
    protocol, context = protocol_from(config), options.context
    real = open_source(options.real, protocol, config, context.survey_cache, console)
    captions = context.captions(real, config)
    fake = open_source(
        options.fake, protocol, config, context.survey_cache, console, captions=captions
    )
    evaluation = Evaluation.open(config, context, console)
    real_clips = evaluation.clip_set("real", real, options.least)
    kept = options.kept
    if kept is not None:
        check_same_videos(kept, real_clips.plan.content, real.place)
    fake_clips = evaluation.clip_set("fake", fake, options.least)
    notes = {"first_clip": fake.videos[0].key} if is_checkpoint(options.fake) else {}
    if kept is not None:
        check_same_protocol(kept, evaluation.protocol_of(real_clips, fake_clips))
        check_same_fakes(kept, fake_clips.plan.content, fake.place, notes)
    return evaluation.run(real_clips, fake_clips, notes)


def _empty_result(protocol: Protocol, pairs: Pairs, out: Path | None) -> Result:
    """The result of paired metrics alone, still without numbers."""
    real, fake = pairs.clip_sets()
    if out is not None:
        check_same_videos(out, real.content, real.place)
        check_same_fakes(out, fake.content, fake.place, {})
    return Result(protocol, real, fake, {})


def _paper_tables(result: Result, dataset: str) -> tuple[PaperTable, ...]:
    tables = [paper_table(n.metric, dataset, n.value) for n in result.numbers.values()]
    return tuple(table for table in tables if table is not None)


def _same_path(real: Path, fake: Path) -> bool:
    return real.exists() and fake.exists() and real.samefile(fake)
