"""`latte eval --vbench` and `--vbench-results`: a folder checked, commands to run, scores read."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from latte_cli.evaluation.results.tables import Table
from latte_cli.evaluation.results.vbench_scores import (
    DIMENSIONS,
    Scores,
    paper_scores,
    read_scores,
    totals,
)
from latte_cli.runtime.errors import DataError
from latte_cli.text.vbench import (
    PROMPT_LIST,
    SuiteCheck,
    check_folder,
    commands,
    read_suites,
    require_complete,
)

_SHOWN = 3


@dataclass(frozen=True)
class FolderChecked:
    """What a folder holds of VBench's videos, and what to run on it."""

    checks: tuple[SuiteCheck, ...]

    def tables(self) -> list[Table]:
        """A row a suite."""
        rows = [
            (
                check.suite,
                f"{check.complete} of {check.prompts}",
                str(len(check.missing)),
                str(len(check.wrong)),
            )
            for check in self.checks
        ]
        return [Table(("suite", "prompts whole", "missing", "wrong names"), rows)]

    def facts(self) -> dict[str, Any]:
        """Examples of what is not as it should be."""
        told: dict[str, Any] = {}
        missing = [f"{c.suite}/{name}" for c in self.checks if c.is_there for name in c.missing]
        wrong = [f"{name}: {why}" for c in self.checks for name, why in c.wrong.items()]
        if missing:
            told["missing"] = "\n".join(missing[:_SHOWN])
        if wrong:
            told["wrong names"] = "\n".join(wrong[:_SHOWN])
        return told

    def commands(self) -> list[str]:
        """What to run then, a line each."""
        return commands(self.checks)

    def as_values(self) -> Any:
        """All of it."""
        checks = [{**asdict(check), "folder": str(check.folder)} for check in self.checks]
        return {"suites": checks, "commands": self.commands()}

    def raise_if_wrong(self) -> None:
        """Raise DataError if VBench would measure something else than it says."""
        require_complete(self.checks)


@dataclass(frozen=True)
class ScoresRead:
    """VBench's scores beside the paper's."""

    scores: Scores
    sums: dict[str, float]

    def tables(self) -> list[Table]:
        """A row a dimension, then the sums; in percent."""
        paper = {"this result": self.scores, **paper_scores()}
        everything = {method: {**each, **totals(each)} for method, each in paper.items()}
        rows = [
            (name.replace("_", " "), *(_percent(each.get(name)) for each in everything.values()))
            for name in (*DIMENSIONS, "quality", "semantic", "total")
        ]
        return [Table(("", *everything), rows)]

    def facts(self) -> dict[str, Any]:
        """What is missing."""
        missing = [name for name in DIMENSIONS if name not in self.scores]
        return {"paper": "arXiv 2401.03048v3, Table 4"} | (
            {"not measured": ", ".join(missing)} if missing else {}
        )

    def as_values(self) -> Any:
        """All of it."""
        return {"scores": dict(self.scores), **self.sums, "paper": paper_scores()}


def check(folder: Path, prompts: Path | None = None) -> FolderChecked:
    """Look for every video that VBench will look for.

    Args:
        folder: of the videos.
        prompts: VBench's list of prompts; None: the one in the folder, where `latte t2v` puts it.

    Raises:
        DataError: if there is no such folder or list, or the folder holds no videos.
    """
    if prompts is None and folder.is_dir() and not (folder / PROMPT_LIST).is_file():
        raise DataError(
            f"{folder}: holds no list of VBench's prompts, {PROMPT_LIST}",
            hint="--vbench-prompts names VBench_full_info.json of VBench's repository",
        )
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder", hint="give the folder of VBench's videos")
    return FolderChecked(tuple(check_folder(folder, read_suites(prompts or folder / PROMPT_LIST))))


def read(paths: Sequence[Path]) -> ScoresRead:
    """Read VBench's result files.

    Raises:
        DataError: if one is missing, damaged, or contradicts another.
    """
    scores = read_scores(paths)
    return ScoresRead(scores, totals(scores))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
