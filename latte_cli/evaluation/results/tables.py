"""Tables for people: the numbers of a result, and the paper's with the user's among them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from latte_cli.evaluation.metric_table import PAIRED, PAIRED_PROTOCOL
from latte_cli.evaluation.results.paper import DATASETS, YOURS, PaperTable
from latte_cli.evaluation.results.result import BY_CLIP, ClipSetFacts, Number, Result

Row = Sequence[str]


@dataclass(frozen=True)
class Table:
    """Rows under their header."""

    header: Row
    rows: Sequence[Row]


class Outcome(Protocol):
    """The outcome of any mode of `latte eval`, ready to be printed."""

    def tables(self) -> list[Table]:
        """For people, one below the other; at least one."""

    def facts(self) -> Mapping[str, Any]:
        """For people, below the tables."""

    def as_values(self) -> Any:
        """All of it, for `--json`."""


def numbers_table(result: Result) -> Table:
    """One row per metric."""
    rows = [
        (
            name,
            format_value(number.value),
            _spread(number),
            "-" if (ends := number.interval) is None else f"{ends[0]:.5g} to {ends[1]:.5g}",
            _real_vs_real(number),
            str(number.real or "-"),
            str(number.fake),
        )
        for name, number in result.numbers.items()
    ]
    return Table(("metric", "value", "spread", "95 %", "real vs real", "real", "fake"), rows)


def result_facts(result: Result) -> dict[str, Any]:
    """What belongs to the numbers: protocol, sources, and what was excluded."""
    protocol = result.protocol
    if protocol.name == PAIRED_PROTOCOL:
        conditions = f"{protocols_of(result, list(result.numbers))}: all frames, as they are"
    else:
        conditions = (
            f"{protocol.name} {protocol.hash}: {protocol.frames} frames of {protocol.size} px, "
            f"real at interval {protocol.real_interval}, fake at {protocol.fake_interval}"
        )
    facts: dict[str, Any] = {
        "protocol": conditions,
        "real": _clip_set(result.real),
        "fake": _clip_set(result.fake),
    }
    notes = [f"{name}: {number.note}" for name, number in result.numbers.items() if number.note]
    for name, number in result.numbers.items():
        if number.details:
            facts[name] = "\n".join(_details(number.details))
    if result.deviations:
        facts["not as published"] = "\n".join(result.deviations)
    if notes:
        facts["note"] = "\n".join(notes)
    if result.seconds_per_clip is not None:
        facts["seconds per clip"] = result.seconds_per_clip
    return facts


def protocols_of(result: Result, metrics: Sequence[str]) -> str:
    """Names and hashes of the protocols of some numbers of a result."""
    hashes: dict[str, dict[str, None]] = {}
    for metric in metrics:
        name = PAIRED_PROTOCOL if metric in PAIRED else result.protocol.name
        hashes.setdefault(name, {})[result.numbers[metric].protocol_hash] = None
    return ", ".join(f"{name} {' '.join(each)}" for name, each in hashes.items())


def paper_rows(table: PaperTable) -> Table:
    """A table of the paper; the user's row is marked."""
    rows = [
        (
            f"> {name}" if name == YOURS else name,
            *("-" if value is None else f"{value:g}" for value in values),
        )
        for name, values in table.rows
    ]
    return Table((f"{table.metric}, the paper's", *DATASETS), rows)


def format_value(value: float | None) -> str:
    """A value in at most six digits."""
    return "-" if value is None else f"{value:.6g}"


def _details(details: Mapping[str, Any]) -> list[str]:
    """A line for each detail that is there to tell."""
    shown = {
        key: ", ".join(map(str, value)) if isinstance(value, list) else value
        for key, value in details.items()
        if value not in (0, []) and key != BY_CLIP
    }
    return [
        f"{key} {format_value(value) if isinstance(value, float) else value}"
        for key, value in shown.items()
    ]


def _spread(number: Number) -> str:
    if number.std is not None:
        return f"± {number.std:.3g} of {len(number.draws)}"
    if number.parts_std is not None:
        return f"± {number.parts_std:.3g} of its parts"
    return "same clips" if len(number.draws) > 1 else "-"


def _real_vs_real(number: Number) -> str:
    if (found := number.real_vs_real) is None:
        return "-"
    return format_value(found.value) + ("" if found.same_size else f" at {found.videos}")


def _clip_set(clip_set: ClipSetFacts) -> str:
    excluded = {"too short": clip_set.too_short_count, "unreadable": clip_set.unreadable_count}
    parts = [clip_set.kind, f"{clip_set.videos} videos", f"compression {clip_set.compression}"]
    parts += [f"{count} {reason}" for reason, count in excluded.items() if count]
    return f"{clip_set.place} ({', '.join(parts)})"
