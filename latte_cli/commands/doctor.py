"""`latte doctor`: what this machine can do, what is missing, and what to do about it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from latte_cli.config.locations import Locations
from latte_cli.diagnosis import machine, presets, videos, weights
from latte_cli.diagnosis.finding import Finding, Status, run_check
from latte_cli.runtime.files import cache_folder


@dataclass(frozen=True)
class Diagnosis:
    """All findings, in the order of their parts."""

    findings: tuple[Finding, ...]

    def count(self, status: Status) -> int:
        """How many findings have a status."""
        return sum(finding.status == status for finding in self.findings)

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Status, what was checked, and what was found, with the mend below."""
        for finding in self.findings:
            mend = f"\n→ {finding.mend}" if finding.mend else ""
            yield finding.status, finding.what, f"{finding.found}{mend}"

    @property
    def verdict(self) -> str:
        """The result in a sentence."""
        errors, warnings = (
            _number(self.count("error"), "error"),
            _number(self.count("warning"), "warning"),
        )
        return f"{errors} and {warnings}; lines with an arrow say what to do."

    def as_values(self) -> dict[str, Any]:
        """All of it, for JSON."""
        found = [asdict(finding) for finding in self.findings]
        return {"errors": self.count("error"), "warnings": self.count("warning"), "findings": found}


def run(
    locations: Locations, given_weights: Path | None, on_check: Callable[[], None]
) -> Diagnosis:
    """Check the machine, videos, weights and presets; nothing is downloaded or left behind.

    Args:
        locations: of data, latents and runs.
        given_weights: a folder of the metrics' weights, beside the cache.
        on_check: called after each check.
    """
    found: list[Finding] = []
    for part, what, check in checks(locations, given_weights):
        found += run_check(part, what, check)
        on_check()
    return Diagnosis(tuple(found))


def checks(
    locations: Locations, given_weights: Path | None
) -> list[tuple[str, str, Callable[[], Iterable[Finding]]]]:
    """Every check with its part and its name, in order."""
    folders = {
        "data": locations.data_root,
        "latents": locations.latents_root,
        "runs": locations.runs_root,
        "the cache": cache_folder(),
    }
    return [
        (machine.PART, "Python", machine.check_python),
        (machine.PART, "device", machine.check_device),
        (machine.PART, "precision", machine.check_precision),
        (machine.PART, "threads and memory", machine.check_load),
        (machine.PART, "disk", partial(machine.check_disks, folders)),
        (videos.PART, "videos", videos.check_videos),
        (videos.PART, "archives", videos.check_archives),
        (weights.PART, "shipped weights", weights.check_shipped),
        (weights.PART, "metrics", partial(weights.check_metric_weights, given_weights)),
        (weights.PART, "hub", weights.check_hub),
        (weights.PART, "cache", weights.check_cache),
        (presets.PART, "presets", partial(presets.check_presets, locations)),
    ]


def _number(count: int, what: str) -> str:
    """1 -> `1 error`, 2 -> `2 errors`."""
    return f"{count} {what}{'' if count == 1 else 's'}"
