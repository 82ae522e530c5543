"""What evaluations found of a folder of clips: their numbers, and the verdict on each clip."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from latte_cli.evaluation.results.result import BY_CLIP, Result, read_result
from latte_cli.evaluation.results.tables import numbers_table
from latte_cli.evaluation.results.writing import RESULTS
from latte_cli.reporting.run_files import read_run, run_of_clips
from latte_cli.runtime.errors import LatteError


@dataclass(frozen=True)
class Findings:
    """What evaluations found.

    Attributes:
        numbers: names of metrics, and values with their spread.
        verdicts: on clips, by their names; what several metrics found is joined.
    """

    numbers: Sequence[tuple[str, str]]
    verdicts: Mapping[str, str]


def findings_on(clips: Path) -> Findings:
    """What `latte eval` found of a folder of clips; the newest result counts for each metric."""
    numbers: dict[str, str] = {}
    verdicts: dict[str, dict[str, str]] = {}
    for result in _results_on(clips):
        for row in numbers_table(result).rows:
            metric, value, spread = row[:3]
            numbers[metric] = value if spread == "-" else f"{value} {spread}"
        for metric, number in result.numbers.items():
            found = number.details.get(BY_CLIP)
            for name, verdict in (found if isinstance(found, dict) else {}).items():
                verdicts.setdefault(name, {})[metric] = str(verdict)
    joined = {name: ", ".join(each.values()) for name, each in verdicts.items()}
    return Findings(list(numbers.items()), joined)


def _results_on(clips: Path) -> Iterator[Result]:
    """Results of these clips, the oldest first: in `results/`, and those that a run knows."""
    paths = list(RESULTS.glob("*.json"))
    if (found := run_of_clips(clips)) is not None:
        with suppress(LatteError):
            paths += [each.path for each in read_run(found[0]).results]
    for path in sorted({path.resolve() for path in paths}, key=lambda each: each.stat().st_mtime):
        with suppress(LatteError, OSError):
            result = read_result(path)
            if Path(result.fake.place).resolve() == clips.resolve():
                yield result
