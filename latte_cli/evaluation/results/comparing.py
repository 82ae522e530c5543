"""Results of one protocol side by side: `latte eval RESULT RESULT …`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latte_cli.evaluation.metric_table import METRICS, PAIRED
from latte_cli.evaluation.protocol import differences
from latte_cli.evaluation.results.result import Number, Result, read_result
from latte_cli.evaluation.results.tables import Row, Table, format_value, protocols_of
from latte_cli.runtime.errors import ConfigError, DataError


@dataclass(frozen=True)
class Comparison:
    """Results of one protocol.

    Attributes:
        names: of the results.
        results: in the same order.
        metrics: that all of them have.
    """

    names: Sequence[str]
    results: Sequence[Result]
    metrics: Sequence[str]

    def tables(self) -> list[Table]:
        """Two rows per metric: its values, and the numbers of real and fake clips."""
        rows: list[Row] = []
        for metric in self.metrics:
            numbers = [result.numbers[metric] for result in self.results]
            values = [
                format_value(number.value) + (f" ({verdict})" if verdict else "")
                for number, verdict in zip(numbers, _verdicts(numbers), strict=True)
            ]
            rows.append((metric, *values))
            rows.append(("  real, fake clips", *(f"{n.real or '-'}, {n.fake}" for n in numbers)))
        return [Table(("metric", *self.names), rows)]

    def facts(self) -> dict[str, Any]:
        """The protocol that all share."""
        return {"protocol": protocols_of(self.results[0], self.metrics)}

    def as_values(self) -> dict[str, Any]:
        """The same for `--json`."""
        found = []
        for metric in self.metrics:
            numbers = [result.numbers[metric] for result in self.results]
            named = list(zip(self.names, numbers, strict=True))
            verdicts = zip(self.names[1:], _verdicts(numbers)[1:], strict=True)
            found.append(
                {
                    "metric": metric,
                    "values": {name: number.value for name, number in named},
                    "real": {name: number.real for name, number in named},
                    "fake": {name: number.fake for name, number in named},
                    "verdicts": dict(verdicts),
                }
            )
        return {**self.facts(), "metrics": found}


def compare(paths: Sequence[Path]) -> Comparison:
    """Read results and check that they can be compared.

    Raises:
        ConfigError: if there are fewer than two.
        DataError: if one is not a result, or see `check_comparable`.
    """
    names, results = [str(path) for path in paths], [read_result(path) for path in paths]
    if len(paths) < 2:
        raise ConfigError("one result, nothing to compare it with", hint="give two result files")
    return Comparison(names, results, check_comparable(names, results))


def check_comparable(names: Sequence[str], results: Sequence[Result]) -> tuple[str, ...]:
    """The metrics that all results have, if those can be compared.

    Args:
        names: of the results, for the message.
        results: at least two.

    Raises:
        DataError: if they share no metric, or one of another protocol or of other weights; if the
            real videos differ, unless all shared metrics ignore them; if the number of clips
            differs, for a metric that depends on it.
    """
    first = results[0]
    shared = [
        name
        for name in first.numbers
        if name in METRICS and all(name in r.numbers for r in results)
    ]
    if not shared:
        raise DataError("these results share no metric", hint="evaluate the same --metrics")
    for name, other in zip(names[1:], results[1:], strict=True):
        found: list[str] = []
        for metric in shared:
            ours, theirs = first.numbers[metric], other.numbers[metric]
            if ours.protocol_hash != theirs.protocol_hash:
                found += differences(first.protocol_of(metric), other.protocol_of(metric))
                if metric in PAIRED:
                    found += _paired_differences(metric, first, other)
            if METRICS[metric].biased:
                counts = {"real": (ours.real, theirs.real), "fake": (ours.fake, theirs.fake)}
                found += [f"{key} clips: {a} and {b}" for key, (a, b) in counts.items() if a != b]
        uses_real = any(not METRICS[metric].fakes_only for metric in shared)
        if uses_real and first.real.content != other.real.content:
            found.append(f"real videos: {first.real.place} and {other.real.place}")
        if found:
            raise DataError(
                f"{names[0]} and {name} cannot be compared, they differ in "
                f"{'; '.join(dict.fromkeys(found))}",
                hint="evaluate both by one protocol, against the same videos, with as many clips "
                "(--clips)",
            )
    return tuple(shared)


def _paired_differences(metric: str, first: Result, other: Result) -> list[str]:
    """What the checksum of a paired metric differs by: frames, or how they were stored.

    Paired videos have the same names and lengths whatever they show.
    """
    found = []
    places = [result.real.place for result in (first, other)]
    stored = [result.fake.compression for result in (first, other)]
    if stored[0] != stored[1] and first.protocol.name == other.protocol.name:
        found.append(f"compression of fake frames: {stored[0]} and {stored[1]}")
    if not found or places[0] != places[1]:
        found.append(f"real frames of {metric}: {places[0]} and {places[1]}")
    return found


def _verdicts(numbers: Sequence[Number]) -> list[str]:
    """Whether each differs from the first, by their 95 % intervals or deviations over draws."""
    found = [""]
    for other in numbers[1:]:
        a, b = _half_interval(numbers[0]), _half_interval(other)
        if a is None or b is None:
            found.append("spread unknown")
        else:
            noise = (a**2 + b**2) ** 0.5
            beyond = abs(numbers[0].value - other.value) > noise
            found.append("beyond noise" if beyond else "within noise")
    return found


def _half_interval(number: Number) -> float | None:
    if number.interval is not None:
        return (number.interval[1] - number.interval[0]) / 2
    return None if number.std is None else 2 * number.std
