"""Result files: numbers with the protocol they belong to; comparing those of one protocol only."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from latte_cli.evaluation.measuring import ALONE, BIASED
from latte_cli.evaluation.plan import ClipSetPlan
from latte_cli.evaluation.results.numbers import Number, RealVsReal
from latte_cli.evaluation.sources.videos import Source
from latte_cli.metrics.protocol import Protocol, differences, protocol_from_values
from latte_cli.runtime.errors import DataError
from latte_cli.runtime.files import write_text

_NAMES = 20  # of videos left out, in a result file


@dataclass(frozen=True)
class ClipSetFacts:
    """One side of a result.

    Attributes:
        place: where it lies.
        kind: of source.
        videos: that were measured or could have been.
        too_short: names of those left out as too short, the first of them.
        too_short_count: how many those are.
        unreadable: reasons of those that cannot be read, by name, the first of them.
        unreadable_count: how many those are.
        compression: what was done to the frames.
        content: checksum of the videos' names and lengths.
    """

    place: str
    kind: str
    videos: int
    too_short: tuple[str, ...] = ()
    too_short_count: int = 0
    unreadable: Mapping[str, str] = field(default_factory=dict)
    unreadable_count: int = 0
    compression: str = "none"
    content: str = ""

    @classmethod
    def of(cls, source: Source, plan: ClipSetPlan, compression: str) -> "ClipSetFacts":
        """Sum up a source and what was chosen of it."""
        return cls(
            place=source.place,
            kind=source.kind,
            videos=len(plan.videos),
            too_short=plan.too_short[:_NAMES],
            too_short_count=len(plan.too_short),
            unreadable=dict(list(source.unreadable.items())[:_NAMES]),
            unreadable_count=len(source.unreadable),
            compression=compression,
            content=content_of(plan),
        )


def content_of(plan: ClipSetPlan) -> str:
    """Checksum of the names and lengths of a side's videos."""
    text = json.dumps([(video.name, video.frames) for video in plan.videos])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


@dataclass(frozen=True)
class Result:
    """What an evaluation found.

    Attributes:
        protocol: with the weights of all networks.
        real: the real side.
        fake: the fake side.
        numbers: by metric.
        deviations: what keeps the numbers from the published ones, in words.
        seconds_per_clip: that drawing a clip took; None where clips were there.
        notes: of the run, such as the checkpoint's step.
    """

    protocol: Protocol
    real: ClipSetFacts
    fake: ClipSetFacts
    numbers: Mapping[str, Number]
    deviations: tuple[str, ...] = ()
    seconds_per_clip: float | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    def as_values(self) -> dict[str, Any]:
        """For a file, and for `--json`."""
        return {
            "protocol": self.protocol.as_values(),
            "deviations": list(self.deviations),
            "metrics": {name: number.as_values() for name, number in self.numbers.items()},
            "real": asdict(self.real),
            "fake": asdict(self.fake),
            "seconds_per_clip": self.seconds_per_clip,
            "notes": dict(self.notes),
        }

    def protocol_of(self, metric: str) -> Protocol:
        """The protocol with the weights of this metric's network alone."""
        network = self.numbers[metric].network
        weights = self.protocol.networks.get(network)
        return self.protocol.with_networks({} if weights is None else {network: weights})


def write_result(path: Path, result: Result) -> None:
    """Write a result file.

    Raises:
        DataError: if a result of another protocol, or against other real videos, lies there.
    """
    refuse_other_protocol(path, result.protocol)
    refuse_other_videos(path, result.real.content, result.real.place)
    text = json.dumps(result.as_values(), indent=2, ensure_ascii=False)
    write_text(path, text + "\n")


def refuse_other_protocol(path: Path, protocol: Protocol) -> None:
    """Never replace a result by one that cannot be compared with it.

    Args:
        path: where a result is to be written.
        protocol: of it; without networks, weights are not looked at.

    Raises:
        DataError: if a result of another protocol, or something else, lies there.
    """
    if not path.is_file():
        return
    theirs = read_result(path).protocol
    if not protocol.networks:
        theirs = theirs.with_networks({})
    shared = {name for name in theirs.networks if name in protocol.networks}
    ours = protocol.with_networks({name: protocol.networks[name] for name in shared})
    theirs = theirs.with_networks({name: theirs.networks[name] for name in shared})
    if found := differences(theirs, ours):
        raise DataError(
            f"{path} holds a result of another protocol ({'; '.join(found)})",
            hint="give another --out, or delete that file",
        )


def refuse_other_videos(path: Path, content: str, place: str) -> None:
    """Never take a result for one against other real videos, or replace it by one.

    Args:
        path: where a result may lie.
        content: checksum of the real videos; see `content_of`.
        place: where those lie.

    Raises:
        DataError: if a result against others, or something else, lies there.
    """
    if path.is_file() and (theirs := read_result(path).real).content != content:
        raise DataError(
            f"{path} holds a result against other real videos: {theirs.place}, not {place}",
            hint="give another --out, or delete that file",
        )


def read_result(path: Path) -> Result:
    """Read a result file.

    Raises:
        DataError: if it is missing, damaged, no result, or one of another version.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        protocol = protocol_from_values(values["protocol"], str(path))
        return Result(
            protocol=protocol,
            real=_side(values["real"]),
            fake=_side(values["fake"]),
            numbers={name: _number(name, each) for name, each in values["metrics"].items()},
            deviations=tuple(values["deviations"]),
            seconds_per_clip=values["seconds_per_clip"],
            notes=values["notes"],
        )
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file", hint="`latte eval` writes results") from error
    except (ValueError, TypeError, KeyError, AttributeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: no result of `latte eval`, or a damaged one", hint="evaluate again"
        ) from error


def _side(values: Mapping[str, Any]) -> ClipSetFacts:
    return ClipSetFacts(**{**values, "too_short": tuple(values["too_short"])})


def _number(metric: str, values: Mapping[str, Any]) -> Number:
    values = dict(values)
    if "floor" in values:  # its name in the results of version 0.1
        values["real_vs_real"] = values.pop("floor")
    real_vs_real, interval = values["real_vs_real"], values["interval"]
    lists = {
        "draws": tuple(values["draws"]),
        "real_vs_real": None if real_vs_real is None else RealVsReal(**real_vs_real),
        "interval": None if interval is None else tuple(interval),
    }
    return Number(metric=metric, **{**values, **lists})


def refuse_incomparable(names: Sequence[str], results: Sequence[Result]) -> tuple[str, ...]:
    """The metrics that all results have, if those can be compared.

    Args:
        names: of the results, for the message.
        results: at least two.

    Raises:
        DataError: if they share no metric, or one of another protocol or weights, of other real
            videos where it looks at those, or of another number of clips where its value depends
            on that.
    """
    first = results[0]
    shared = [name for name in first.numbers if all(name in r.numbers for r in results)]
    if not shared:
        raise DataError("these results share no metric", hint="evaluate the same --metrics")
    for name, other in zip(names[1:], results[1:], strict=True):
        found: list[str] = []
        for metric in shared:
            ours, theirs = first.numbers[metric], other.numbers[metric]
            if ours.protocol_hash != theirs.protocol_hash:
                found += differences(first.protocol_of(metric), other.protocol_of(metric))
            if metric in BIASED:
                found += _other_counts(ours, theirs)
        sees_real = any(metric not in ALONE for metric in shared)
        if sees_real and first.real.content != other.real.content:
            found.append(f"real videos: {first.real.place} and {other.real.place}")
        if found:
            told = "; ".join(dict.fromkeys(found))
            raise DataError(
                f"{names[0]} and {name} cannot be compared, they differ in {told}",
                hint="evaluate both by one protocol, against the same videos, with as many clips "
                "(--clips)",
            )
    return tuple(shared)


def _other_counts(ours: Number, theirs: Number) -> list[str]:
    """The numbers of clips that differ, in words."""
    clip_sets = {"real": (ours.real, theirs.real), "fake": (ours.fake, theirs.fake)}
    return [f"{clip_set} clips: {a} and {b}" for clip_set, (a, b) in clip_sets.items() if a != b]
