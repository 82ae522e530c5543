"""The tables of a run's page: settings, events, evaluations and the paper's tables."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latte_cli.config import Config, flatten, load_config, to_yaml
from latte_cli.evaluation.metric_table import METRICS
from latte_cli.evaluation.results.paper import DATASETS, YOURS, dataset_of, paper_table
from latte_cli.evaluation.results.result import Number
from latte_cli.evaluation.results.tables import numbers_table, result_facts
from latte_cli.reporting.run_files import MeasuredResult, Row, RunFiles
from latte_cli.runtime.errors import LatteError
from latte_cli.training.planning.released import compare_with_released


@dataclass(frozen=True)
class Setting:
    """A value of the configuration beside its preset's and the paper's; None: the same."""

    key: str
    value: str
    preset: str | None
    paper: str | None


def settings_of(config: Config | None) -> tuple[list[Setting], str]:
    """Every value beside those of the preset and of the paper, and which of the paper's those are.

    What differs from neither comes last, in the schema's order, as the rest does.
    """
    if config is None:
        return [], ""
    ours = flatten(config.model_dump())
    preset: Mapping[str, Any] = ours
    paper: Mapping[str, tuple[Any, Any]] = {}
    compared_with = ""
    with suppress(LatteError):  # a preset of the user's own may be anywhere
        preset = flatten(load_config(config.name).model_dump())
    data_set = Path(config.data.root).name if config.data.root else config.name
    with suppress(LatteError):  # a design that was not released
        comparison = compare_with_released(config, data_set)
        paper, compared_with = comparison.differs, comparison.with_settings
    found = [
        Setting(
            key,
            to_yaml(value),
            None if preset.get(key, value) == value else to_yaml(preset[key]),
            to_yaml(paper[key][1]) if key in paper else None,
        )
        for key, value in ours.items()
        if key not in ("name", "description")
    ]
    return sorted(found, key=lambda each: each.preset is None and each.paper is None), compared_with


def events_of(run: RunFiles) -> Iterator[dict[str, Any]]:
    """Skipped steps, returns to a checkpoint, and restarts, by step."""
    found = []
    for row in run.bad_steps:
        if "back_to" in row:
            words = f"back to step {row['back_to']}, too many steps in a row were skipped"
            found.append({"step": row["step"], "kind": "return", "words": words})
        else:
            words = f"skipped: {row.get('why', 'loss or gradients were not finite')}"
            found.append({"step": row["step"], "kind": "spike", "words": words})
    for row in run.starts:
        if row["step"]:
            when = row.get("time", "")
            found.append({"step": row["step"], "kind": "restart", "words": f"resumed {when}"})
    yield from sorted(found, key=lambda event: event["step"])


def start_of(row: Row) -> tuple[str, ...]:
    """Time, step, device, precision, system and versions of a start."""
    count = row.get("devices")
    device = str(row.get("device", ""))
    versions = ", ".join(f"{key} {row[key]}" for key in ("latte", "torch", "python") if key in row)
    return (
        str(row.get("time", "")),
        grouped(row["step"]),
        f"{count} x {device}" if isinstance(count, int) and count > 1 else device,
        str(row.get("precision", "")),
        str(row.get("system", "")),
        versions,
    )


def result_of(each: MeasuredResult) -> dict[str, Any]:
    """A result in full: its table and what belongs to it."""
    return {
        "step": None if each.step is None else grouped(each.step),
        "path": os.path.normpath(each.path),
        "table": numbers_table(each.result),
        "facts": {name: str(value) for name, value in result_facts(each.result).items()},
    }


def papers_tables(runs: Sequence[RunFiles]) -> list[dict[str, Any]]:
    """The paper's tables, with the newest number of each run among the published ones."""
    newest: dict[tuple[str, str], dict[str, Number]] = {}  # by metric and data set
    steps: dict[str, str] = {}
    for run in runs:
        for each in run.results:
            dataset = dataset_of(run.config.name if run.config else "", each.result.real.place)
            own = run.name if each.step is None else f"{run.name}, step {grouped(each.step)}"
            for metric, number in each.result.numbers.items():
                newest.setdefault((metric, dataset), {})[run.name] = number
                steps[f"{run.name} {metric}"] = own
    return [
        table
        for (metric, dataset), numbers in newest.items()
        if (table := _papers_table(metric, dataset, numbers, steps)) is not None
    ]


def _papers_table(
    metric: str, dataset: str, numbers: Mapping[str, Number], steps: Mapping[str, str]
) -> dict[str, Any] | None:
    """One of the paper's tables with numbers of runs; None if it has none for the data set."""
    rows: dict[str, tuple[float | None, tuple[str, ...]]] = {}  # value to sort by, and cells
    own = []
    for run, number in numbers.items():
        table = paper_table(metric, dataset, number.value)
        if table is None:
            return None
        column = DATASETS.index(dataset)
        for name, values in table.rows:
            cells = tuple(map(digits, values))
            shown = name
            if name == YOURS:
                shown = steps[f"{run} {metric}"]
                spread = "" if number.std is None else f" ± {number.std:.3g}"
                cells = (*cells[:column], cells[column] + spread, *cells[column + 1 :])
                own.append(shown)
            rows[shown] = (values[column], (shown, *cells))
    sign = -1 if METRICS[metric].higher_is_better else 1
    ordered = sorted(rows.values(), key=lambda row: (row[0] is None, sign * (row[0] or 0)))
    return {
        "metric": metric.upper(),
        "header": ("method", *DATASETS),
        "rows": [cells for _, cells in ordered],
        "own": [place for place, (_, cells) in enumerate(ordered) if cells[0] in own],
    }


def grouped(number: int) -> str:
    """A whole number, its digits in groups of three."""
    return f"{number:,}".replace(",", "\u202f")


def digits(value: Any) -> str:
    """A number as it is shown in tables; a dash for none."""
    if isinstance(value, int):
        return grouped(value)
    return f"{value:.5g}" if isinstance(value, float) else "-"
