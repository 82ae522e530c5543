"""Numbers as tables for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from latte_cli.evaluation.results.files import ClipSetFacts, Result
from latte_cli.evaluation.results.numbers import Number, RealVsReal
from latte_cli.evaluation.results.paper import DATASETS, YOURS, PaperTable

Row = Sequence[str]


@dataclass(frozen=True)
class Table:
    """Rows under their header."""

    header: Row
    rows: Sequence[Row]


class Shown(Protocol):
    """What any way to evaluate found, ready to be printed."""

    def tables(self) -> list[Table]:
        """For people, one below the other; at least one."""

    def facts(self) -> Mapping[str, Any]:
        """For people, below the tables."""

    def as_values(self) -> Any:
        """All of it, for `--json`."""


def numbers_table(result: Result) -> Table:
    """A row a metric."""
    rows = [
        (
            name,
            shown(number.value),
            _draws(number),
            _interval(number.interval),
            _real_vs_real(number.real_vs_real),
            str(number.real or "-"),
            str(number.fake),
        )
        for name, number in result.numbers.items()
    ]
    return Table(("metric", "value", "spread", "95 %", "real vs real", "real", "fake"), rows)


def facts(result: Result) -> dict[str, Any]:
    """What belongs to the numbers: protocol, sources, and what was left out."""
    protocol = result.protocol
    told: dict[str, Any] = {
        "protocol": f"{protocol.name} {protocol.hash}: {protocol.frames} frames of "
        f"{protocol.size} px, real at interval {protocol.real_interval}, fake at "
        f"{protocol.fake_interval}",
        "real": _side(result.real),
        "fake": _side(result.fake),
    }
    notes = [f"{name}: {number.note}" for name, number in result.numbers.items() if number.note]
    if result.deviations:
        told["not as published"] = "\n".join(result.deviations)
    if notes:
        told["mind"] = "\n".join(notes)
    if result.seconds_per_clip is not None:
        told["seconds per clip"] = result.seconds_per_clip
    return told


def paper_rows(table: PaperTable) -> Table:
    """A table of the paper; one's own row is marked."""
    rows = [
        (
            f"> {name}" if name == YOURS else name,
            *("-" if value is None else f"{value:g}" for value in values),
        )
        for name, values in table.rows
    ]
    return Table((f"{table.metric}, the paper's", *DATASETS), rows)


def comparison(
    names: Sequence[str], results: Sequence[Result], metrics: Sequence[str]
) -> tuple[Table, list[dict[str, Any]]]:
    """Each metric of several results, and whether each differs from the first beyond its spread.

    Below it is told of how many real and fake clips it is.
    """
    rows: list[Row] = []
    values: list[dict[str, Any]] = []
    for metric in metrics:
        numbers = [result.numbers[metric] for result in results]
        verdicts = ["", *(_verdict(numbers[0], other) for other in numbers[1:])]
        cells = [
            shown(number.value) + (f" {verdict}" if verdict else "")
            for number, verdict in zip(numbers, verdicts, strict=True)
        ]
        rows.append((metric, *cells))
        rows.append(("  real, fake clips", *(f"{n.real or '-'}, {n.fake}" for n in numbers)))
        values.append(
            {
                "metric": metric,
                "values": {n: number.value for n, number in zip(names, numbers, strict=True)},
                "real": {n: number.real for n, number in zip(names, numbers, strict=True)},
                "fake": {n: number.fake for n, number in zip(names, numbers, strict=True)},
                "verdicts": {n: v.strip("()") for n, v in zip(names, verdicts, strict=True) if v},
            }
        )
    return Table(("metric", *names), rows), values


def shown(value: float | None) -> str:
    """A value in six digits at most."""
    return "-" if value is None else f"{value:.6g}"


def _verdict(first: Number, other: Number) -> str:
    """In words, by the two 95 % intervals, or by the spreads over draws."""
    halves = [_half(first), _half(other)]
    if None in halves:
        return "(spread unknown)"
    room = sum(half**2 for half in halves if half is not None) ** 0.5
    return "(within noise)" if abs(first.value - other.value) <= room else "(beyond noise)"


def _half(number: Number) -> float | None:
    if number.interval is not None:
        return (number.interval[1] - number.interval[0]) / 2
    return None if number.std is None else 2 * number.std


def _draws(number: Number) -> str:
    if number.std is not None:
        return f"± {number.std:.3g} of {len(number.draws)}"
    if number.parts_std is not None:
        return f"± {number.parts_std:.3g} of its parts"
    return "same clips" if len(number.draws) > 1 else "-"


def _interval(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.5g} to {interval[1]:.5g}"


def _real_vs_real(real_vs_real: RealVsReal | None) -> str:
    if real_vs_real is None:
        return "-"
    return shown(real_vs_real.value) + (
        "" if real_vs_real.same_size else f" at {real_vs_real.videos}"
    )


def _side(clip_set: ClipSetFacts) -> str:
    left = {"too short": clip_set.too_short_count, "unreadable": clip_set.unreadable_count}
    told = [clip_set.kind, f"{clip_set.videos} videos", f"compression {clip_set.compression}"]
    told += [f"{count} {why}" for why, count in left.items() if count]
    return f"{clip_set.place} ({', '.join(told)})"
