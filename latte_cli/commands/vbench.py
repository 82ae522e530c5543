"""`latte eval --vbench` and `--vbench-results`: a folder checked for VBench, its scores read.

VBench itself runs in an environment of its own (Huang et al. 2024).
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from latte_cli.evaluation.results.tables import Table
from latte_cli.runtime.errors import DataError
from latte_cli.text.vbench import (
    PROMPT_LIST,
    SUITE_OF_DIMENSION,
    SuiteCheck,
    check_folder,
    read_suites,
    require_complete,
    vbench_commands,
)

DIMENSIONS = tuple(SUITE_OF_DIMENSION)
_QUALITY = DIMENSIONS[:7]
_SEMANTIC = DIMENSIONS[7:]  # whether the video shows what the prompt says

# Least and largest score, by which VBench normalizes; [0, 1] for other dimensions.
_RANGES = {
    "subject_consistency": (0.1462, 1.0),
    "background_consistency": (0.2615, 1.0),
    "temporal_flickering": (0.6293, 1.0),
    "motion_smoothness": (0.706, 0.9975),
    "scene": (0.0, 0.8222),
    "appearance_style": (0.0009, 0.2855),
    "temporal_style": (0.0, 0.364),
    "overall_consistency": (0.0, 0.364),
}
_WEIGHTS = {"dynamic_degree": 0.5}
_QUALITY_WEIGHT, _SEMANTIC_WEIGHT = 4, 1

# Table 4 of arXiv 2401.03048v3, in percent, in the order of DIMENSIONS.
_TABLE_4 = {
    "ModelScope": "89.87 95.29 98.28 95.79 66.39 52.06 58.57 82.25 "
    "38.98 92.40 81.72 33.68 39.26 23.39 25.37 25.67",
    "VideoCrafter": "86.24 92.88 97.60 91.79 89.72 44.41 57.22 87.34 "
    "25.93 93.00 78.84 36.74 43.36 21.57 25.42 25.21",
    "CogVideo": "92.19 95.42 97.64 96.47 42.22 38.18 41.03 73.40 "
    "18.11 78.20 79.57 18.24 28.24 22.01 7.80 7.70",
    "HiGen": "90.07 93.99 93.24 96.69 99.17 57.30 63.92 86.06 "
    "22.39 86.20 86.22 22.43 44.88 24.54 25.14 27.14",
    "OpenSoraPlan": "97.27 96.24 99.12 99.17 35.28 59.10 65.73 61.53 "
    "24.91 58.20 90.90 49.64 17.28 20.04 19.14 20.39",
    "Latte": "88.88 95.40 98.89 94.63 68.89 61.59 61.92 86.53 "
    "34.53 90.00 85.31 41.53 36.26 23.74 24.76 27.33",
}
_RESULTS_HINT = "VBench writes *_eval_results.json"
_EXAMPLES = 3

Scores = Mapping[str, float]
"""By dimension, in [0, 1]."""


@dataclass(frozen=True)
class FolderOutcome:
    """The videos of a folder, suite by suite."""

    checks: tuple[SuiteCheck, ...]

    def tables(self) -> list[Table]:
        """One row per suite."""
        rows = [
            (c.suite, f"{c.complete} of {c.prompts}", str(len(c.missing)), str(len(c.wrong)))
            for c in self.checks
        ]
        return [Table(("suite", "complete prompts", "missing", "wrong names"), rows)]

    def facts(self) -> dict[str, Any]:
        """Examples of missing videos and of wrong names."""
        missing = [f"{c.suite}/{name}" for c in self.checks if c.present for name in c.missing]
        wrong = [f"{name}: {reason}" for c in self.checks for name, reason in c.wrong.items()]
        examples = {"missing": missing[:_EXAMPLES], "wrong names": wrong[:_EXAMPLES]}
        return {key: "\n".join(names) for key, names in examples.items() if names}

    def commands(self) -> list[str]:
        """The commands to run next, a line each."""
        return vbench_commands(self.checks)

    def as_values(self) -> Any:
        """All of it."""
        checks = [{**asdict(check), "folder": str(check.folder)} for check in self.checks]
        return {"suites": checks, "commands": self.commands()}

    def raise_if_wrong(self) -> None:
        """Raise DataError if VBench would skip videos."""
        require_complete(self.checks)


@dataclass(frozen=True)
class ScoresOutcome:
    """VBench's scores beside the paper's."""

    scores: Scores

    def tables(self) -> list[Table]:
        """One row per dimension, then the totals; in percent."""
        methods = {"this result": self.scores, **paper_scores()}
        columns = {method: {**scores, **totals(scores)} for method, scores in methods.items()}
        rows = [
            (
                name.replace("_", " "),
                *(f"{100 * c[name]:.2f}" if name in c else "-" for c in columns.values()),
            )
            for name in (*DIMENSIONS, "quality", "semantic", "total")
        ]
        return [Table(("", *columns), rows)]

    def facts(self) -> dict[str, Any]:
        """The source of the paper's scores, and missing dimensions."""
        missing = ", ".join(name for name in DIMENSIONS if name not in self.scores)
        paper = {"paper": "arXiv 2401.03048v3, Table 4"}
        return {**paper, "not measured": missing} if missing else paper

    def as_values(self) -> Any:
        """All of it."""
        return {"scores": dict(self.scores), **totals(self.scores), "paper": paper_scores()}


def check(folder: Path, prompts: Path | None = None) -> FolderOutcome:
    """Look for every video that VBench will look for.

    Args:
        folder: of the videos.
        prompts: VBench's list of prompts; None: the one that `latte t2v` puts into the folder.

    Raises:
        DataError: if there is no such folder or list, or the folder holds no videos.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder", hint="give the folder of VBench's videos")
    path = prompts or folder / PROMPT_LIST
    if prompts is None and not path.is_file():
        raise DataError(
            f"{folder}: holds no list of VBench's prompts, {PROMPT_LIST}",
            hint="--vbench-prompts names VBench_full_info.json of VBench's repository",
        )
    return FolderOutcome(tuple(check_folder(folder, read_suites(path))))


def read(paths: Sequence[Path]) -> ScoresOutcome:
    """Read VBench's `*_eval_results.json` files; each may hold any dimensions.

    Raises:
        DataError: if a file is missing, damaged, holds no scores or none that are numbers, or
            contradicts another one.
    """
    scores: dict[str, float] = {}
    for path in paths:
        for dimension, score in _read(path).items():
            if scores.setdefault(dimension, score) != score:
                raise DataError(
                    f"{path}: {dimension} is {score:.4f}, another file says "
                    f"{scores[dimension]:.4f}",
                    hint="give the files of one evaluation",
                )
    return ScoresOutcome({name: scores[name] for name in DIMENSIONS if name in scores})


def paper_scores() -> dict[str, Scores]:
    """Table 4: the scores of each method."""
    return {
        method: {name: float(x) / 100 for name, x in zip(DIMENSIONS, row.split(), strict=True)}
        for method, row in _TABLE_4.items()
    }


def totals(scores: Scores) -> dict[str, float]:
    """Quality, semantic and total score in [0, 1]; those for which no dimension is missing."""
    found = {}
    for total, dimensions in (("quality", _QUALITY), ("semantic", _SEMANTIC)):
        if all(name in scores for name in dimensions):
            weighted = weights = 0.0
            for name in dimensions:
                low, high = _RANGES.get(name, (0.0, 1.0))
                weight = _WEIGHTS.get(name, 1.0)
                weighted += weight * ((scores[name] - low) / (high - low))
                weights += weight
            found[total] = weighted / weights
    if len(found) == 2:
        parts = _QUALITY_WEIGHT * found["quality"] + _SEMANTIC_WEIGHT * found["semantic"]
        found["total"] = parts / (_QUALITY_WEIGHT + _SEMANTIC_WEIGHT)
    return found


def _read(path: Path) -> Scores:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        # VBench writes the score and then each video's, or the score alone.
        scores = {
            name: float(row[0] if isinstance(row, list) else row)
            for name, row in rows.items()
            if name in DIMENSIONS
        }
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file", hint=_RESULTS_HINT) from error
    except IsADirectoryError as error:
        raise DataError(f"{path}: a folder, not a result file", hint=_RESULTS_HINT) from error
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise DataError(f"{path}: no results of VBench, or damaged", hint=_RESULTS_HINT) from error
    for dimension, score in scores.items():
        if not math.isfinite(score):
            raise DataError(
                f"{path}: {dimension} is {score}, which is not a score",
                hint="let VBench measure this dimension again",
            )
    if not scores:
        raise DataError(f"{path}: holds the score of no dimension", hint=_RESULTS_HINT)
    return scores
