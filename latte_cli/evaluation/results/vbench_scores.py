"""VBench's scores: out of its result files, normalised, summed up; the paper's Table 4."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latte_cli.runtime.errors import DataError
from latte_cli.text.vbench import SUITE_OF_DIMENSION

DIMENSIONS = tuple(SUITE_OF_DIMENSION)

QUALITY = DIMENSIONS[:7]
"""Dimensions of quality; the others tell whether the video shows what was asked for."""

# Least and largest score, by which VBench normalises.
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

_HINT = "VBench writes *_eval_results.json"

Scores = Mapping[str, float]
"""By dimension, in [0, 1]."""


def paper_scores() -> dict[str, Scores]:
    """Table 4: the scores of each method."""
    return {
        method: {
            dimension: float(text) / 100
            for dimension, text in zip(DIMENSIONS, row.split(), strict=True)
        }
        for method, row in _TABLE_4.items()
    }


def read_scores(paths: Sequence[Path]) -> Scores:
    """The scores in VBench's `*_eval_results.json` files; one may hold any dimensions.

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
    return {dimension: scores[dimension] for dimension in DIMENSIONS if dimension in scores}


def totals(scores: Scores) -> dict[str, float]:
    """Quality, semantic and total score in [0, 1]; those that all dimensions are there for."""
    semantic = [dimension for dimension in DIMENSIONS if dimension not in QUALITY]
    found = {}
    for name, dimensions in (("quality", QUALITY), ("semantic", semantic)):
        if all(dimension in scores for dimension in dimensions):
            found[name] = _weighted(scores, dimensions)
    if len(found) == 2:
        parts = _QUALITY_WEIGHT * found["quality"] + _SEMANTIC_WEIGHT * found["semantic"]
        found["total"] = parts / (_QUALITY_WEIGHT + _SEMANTIC_WEIGHT)
    return found


def _weighted(scores: Scores, dimensions: Sequence[str]) -> float:
    """Mean of the normalised scores; how much moves counts half."""
    weights = [_WEIGHTS.get(dimension, 1.0) for dimension in dimensions]
    values = []
    for dimension in dimensions:
        low, high = _RANGES.get(dimension, (0.0, 1.0))
        values.append((scores[dimension] - low) / (high - low))
    return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)


def _read(path: Path) -> dict[str, float]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        found = {name: _score(row) for name, row in rows.items() if name in DIMENSIONS}
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file", hint=_HINT) from error
    except IsADirectoryError as error:
        raise DataError(f"{path}: a folder, and no result file", hint=_HINT) from error
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise DataError(f"{path}: no results of VBench, or damaged", hint=_HINT) from error
    for dimension, score in found.items():
        if not math.isfinite(score):
            raise DataError(
                f"{path}: {dimension} is {score}, which is no score",
                hint="let VBench measure this dimension again",
            )
    if not found:
        raise DataError(f"{path}: holds the score of no dimension", hint=_HINT)
    return found


def _score(row: Any) -> float:
    """VBench writes the score and then each video's, or the score alone."""
    return float(row[0] if isinstance(row, list) else row)
