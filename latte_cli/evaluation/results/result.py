"""Results: numbers with their protocol and clips, in memory and as JSON files."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from latte_cli.evaluation.plan import ClipSetPlan
from latte_cli.evaluation.protocol import Protocol, protocol_from_values
from latte_cli.evaluation.sources.videos import Source
from latte_cli.runtime.errors import DataError
from latte_cli.runtime.records import record_from

BY_CLIP = "by clip"
"""Among a number's details: what was found of each clip of the first draw, by the clip's name."""

_NAMES = 20  # of excluded videos in a result file


@dataclass(frozen=True)
class RealVsReal:
    """The metric between real clips and other real clips: smaller differences are noise.

    Attributes:
        value: of the metric.
        videos: in each of the two sets.
        same_size: whether each set is as large as a draw; if there are too few videos, each has
            half of a draw's, which makes the value larger.
    """

    value: float
    videos: int
    same_size: bool


@dataclass(frozen=True)
class Number:
    """A metric's value, and how far to trust it.

    Attributes:
        metric: its name.
        value: the mean over draws.
        real: videos in a draw; 0 if the metric ignores real clips.
        fake: videos in a draw.
        draws: the value of each draw.
        std: sample standard deviation over draws; None for one draw, and if every draw selects the
            same clips.
        interval: 95 % interval of the first draw: by bootstrap over clips, or Wilson's for a share.
        resamples: of the bootstrap.
        parts_std: standard deviation over the parts that the metric itself averages: splits of the
            Inception Score, subsets of KVD and KID, videos of PSNR, SSIM and LPIPS.
        real_vs_real: of distances.
        network: feature extractor.
        protocol_hash: of the protocol with this network's weights; for paired metrics, which take
            frames unchanged, a checksum of the real frames and of how fake ones are stored.
        note: what the number must not be mistaken for.
        details: further values of the same clips, by name.
    """

    metric: str
    value: float
    real: int
    fake: int
    draws: tuple[float, ...] = ()
    std: float | None = None
    interval: tuple[float, float] | None = None
    resamples: int = 0
    parts_std: float | None = None
    real_vs_real: RealVsReal | None = None
    network: str = ""
    protocol_hash: str = ""
    note: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_values(self) -> dict[str, Any]:
        """For a result file."""
        return {key: value for key, value in asdict(self).items() if key != "metric"}


@dataclass(frozen=True)
class ClipSetFacts:
    """The real or the fake videos of a result.

    Attributes:
        place: path of the source.
        kind: of source.
        videos: that are long enough.
        too_short: names of the first videos excluded as too short.
        too_short_count: number of all of those.
        unreadable: reasons by name of the first videos that cannot be read.
        unreadable_count: number of all of those.
        compression: that the frames have been through, as far as their files tell.
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
        """Summarize a source and the clips selected from it."""
        return cls(
            place=source.place,
            kind=source.kind,
            videos=len(plan.videos),
            too_short=plan.too_short[:_NAMES],
            too_short_count=len(plan.too_short),
            unreadable=dict(list(source.unreadable.items())[:_NAMES]),
            unreadable_count=len(source.unreadable),
            compression=compression,
            content=plan.content,
        )


@dataclass(frozen=True)
class Result:
    """The result of an evaluation.

    Attributes:
        protocol: with the weights of all networks.
        real: the real videos.
        fake: the fake videos.
        numbers: by metric.
        deviations: differences from the published protocol, as messages.
        seconds_per_clip: time to generate a clip; None for clips read from files.
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


def read_result(path: Path) -> Result:
    """Read a result file, of this version or of version 0.1.

    Raises:
        DataError: if it is missing, damaged, not a result, or of an unknown version.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        seconds = values["seconds_per_clip"]
        return Result(
            protocol=protocol_from_values(values["protocol"], str(path)),
            real=record_from(ClipSetFacts, values["real"]),
            fake=record_from(ClipSetFacts, values["fake"]),
            numbers={name: _number(name, each) for name, each in values["metrics"].items()},
            deviations=tuple(map(str, values["deviations"])),
            seconds_per_clip=None if seconds is None else float(seconds),
            notes=dict(values["notes"]),
        )
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file", hint="`latte eval` writes results") from error
    except IsADirectoryError as error:
        raise DataError(
            f"{path}: a folder, not a result file",
            hint=f"give result files, or --fake {path} to evaluate the clips in it",
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: not a result of `latte eval`, or damaged",
            hint="give a result that `latte eval` wrote, or measure again",
        ) from error


def _number(metric: str, values: Mapping[str, Any]) -> Number:
    values = dict(values)
    if "floor" in values:  # its name in the results of version 0.1
        values["real_vs_real"] = values.pop("floor")
    return record_from(Number, {"metric": metric, **values})
