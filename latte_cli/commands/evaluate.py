"""`latte eval`: how far fake videos are from real ones, by a protocol that has a name."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from latte_cli.config import Config
from latte_cli.console import Console
from latte_cli.distributed import is_main
from latte_cli.errors import CheckpointError, ConfigError
from latte_cli.evaluation.evaluating import PAIRED, Evaluation, Judges, Means
from latte_cli.evaluation.paired import measure_pairs
from latte_cli.evaluation.paper import DATASETS, PaperTable, paper_table
from latte_cli.evaluation.results import (
    Result,
    SideFacts,
    content_of,
    read_result,
    refuse_incomparable,
    refuse_other_protocol,
    refuse_other_videos,
    write_result,
)
from latte_cli.evaluation.sources import open_source
from latte_cli.evaluation.tables import Table, comparison, facts, numbers_table, paper_rows
from latte_cli.metrics.protocol import Protocol, protocol_from


@dataclass(frozen=True)
class EvalOptions:
    """What `latte eval` was asked for beside the configuration.

    Attributes:
        real: a prepared data set, a folder, or an npz file.
        fake: the same, or a checkpoint.
        means: where features lie, and the like.
        least: clips that there must be of each side.
        out: the result file; None: named after both sides and the protocol.
    """

    real: Path
    fake: Path
    means: Means
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
        return {**facts(self.result), "out": self.out, "seconds": self.seconds}

    def as_values(self) -> dict[str, Any]:
        """The result file, where it lies, and the place among the paper's numbers."""
        places = {table.metric: table.place for table in self.paper}
        written = self.result.as_values()
        return {"out": str(self.out), **written, "place": places, "seconds": self.seconds}


@dataclass(frozen=True)
class ProtocolShown:
    """A protocol, whole."""

    protocol: Protocol
    missing: str = ""

    def tables(self) -> list[Table]:
        """Every field."""
        return [Table(("protocol", ""), self.protocol.rows())]

    def facts(self) -> dict[str, Any]:
        """What keeps its numbers from the published ones, and weights that are not there."""
        told = {"not as published": "\n".join(self.protocol.deviations()), "weights": self.missing}
        return {name: text for name, text in told.items() if text}

    def as_values(self) -> dict[str, Any]:
        """Every field, and the hash."""
        return {**self.protocol.as_values(), "deviations": self.protocol.deviations()}


@dataclass(frozen=True)
class Comparison:
    """Results of one protocol, side by side."""

    table: Table
    values: list[dict[str, Any]]
    protocol: str

    def tables(self) -> list[Table]:
        """A row a metric."""
        return [self.table]

    def facts(self) -> dict[str, Any]:
        """The protocol that all share."""
        return {"protocol": self.protocol}

    def as_values(self) -> dict[str, Any]:
        """The same for `--json`."""
        return {"protocol": self.protocol, "metrics": self.values}


def run(config: Config, console: Console, options: EvalOptions) -> EvalOutcome | None:
    """Describe the clips that are not described yet, measure, write the result.

    Returns:
        What came of it; None in every process of torchrun but the first.

    Raises:
        CheckpointError: if weights or a checkpoint are missing, or not the right ones.
        ConfigError: if clips are too short for a metric.
        DataError: if there are too few clips, fakes are of several sizes, or the result file is one
            of another protocol or against other videos.
        VideoError: if a video cannot be read any more.
    """
    started = time.monotonic()
    protocol = protocol_from(config)
    if options.out is not None:
        refuse_other_protocol(options.out, protocol)
    if is_main() and _same(options.real, options.fake):
        console.warn(f"{options.fake} is given as real and as fake: it is compared with itself")
    pairs = [metric for metric in config.eval.metrics if metric in PAIRED]
    result = None
    if len(pairs) < len(config.eval.metrics):
        result = _measure(config, protocol, console, options)
    if not is_main():
        return None
    if pairs:
        means = options.means
        paired = measure_pairs(
            pairs, options.real, options.fake, means.seen, means.weights, console
        )
        before = {} if result is None else result.numbers
        result = result or _of_pairs(protocol, options, len(paired))
        result = replace(result, numbers={**before, **paired})
    assert result is not None  # some metric is asked for
    out = options.out or _default_out(options, result.protocol)
    write_result(out, result)
    return EvalOutcome(
        result, out, paper_tables(result, config, options.real), time.monotonic() - started
    )


def show_protocol(config: Config, means: Means) -> ProtocolShown:
    """The configured protocol, with the checksums of weights where those can be had."""
    protocol = protocol_from(config)
    metrics = tuple(metric for metric in config.eval.metrics if metric not in PAIRED)
    try:
        return ProtocolShown(Judges.open(metrics, protocol, means).protocol)
    except CheckpointError as error:
        return ProtocolShown(protocol, f"their checksums belong to the hash, but {error}")


def compare(paths: Sequence[Path]) -> Comparison:
    """Result files side by side, if they are of one protocol.

    Raises:
        ConfigError: if there is but one.
        DataError: if one is no result, or of another protocol.
    """
    if len(paths) < 2:
        raise ConfigError("one result, nothing to compare it with", hint="give two result files")
    names, results = [str(path) for path in paths], [read_result(path) for path in paths]
    metrics = refuse_incomparable(names, results)
    table, values = comparison(names, results, metrics)
    hashes = dict.fromkeys(results[0].numbers[metric].protocol_hash for metric in metrics)
    return Comparison(table, values, f"{results[0].protocol.name} {' '.join(hashes)}")


def _measure(
    config: Config, protocol: Protocol, console: Console, options: EvalOptions
) -> Result | None:
    """All but the paired metrics."""
    means = options.means
    metrics = tuple(metric for metric in config.eval.metrics if metric not in PAIRED)
    real, fake = [
        open_source(path, protocol, config, means.seen, console)
        for path in (options.real, options.fake)
    ]
    judges = Judges.open(metrics, protocol, means, console.say)  # may fetch weights
    evaluation = Evaluation(config, judges, means, console)
    reals = evaluation.side("real", real, options.least)
    if options.out is not None:
        refuse_other_videos(options.out, content_of(reals.plan), real.place)
    return evaluation.run(reals, evaluation.side("fake", fake, options.least))


def _of_pairs(protocol: Protocol, options: EvalOptions, count: int) -> Result:
    """A result without clips that were drawn."""
    sides = [SideFacts(str(path), "paired", count) for path in (options.real, options.fake)]
    return Result(protocol, sides[0], sides[1], {})


def paper_tables(result: Result, config: Config, real: Path) -> tuple[PaperTable, ...]:
    """The paper's tables for the data set, by the preset's name or that of the real videos."""
    dataset = next((name for name in (config.name, real.name) if name in DATASETS), "")
    tables = (paper_table(n.metric, dataset, n.value) for n in result.numbers.values())
    return tuple(table for table in tables if table is not None)


def _same(real: Path, fake: Path) -> bool:
    if not real.exists() or not fake.exists():
        return False
    return real.samefile(fake)


def _default_out(options: EvalOptions, protocol: Protocol) -> Path:
    fake, real = options.fake.stem or "fake", options.real.stem or "real"
    return Path("results") / f"{fake}-against-{real}-{protocol.hash}.json"
