"""What a run's folder holds, read so that a damaged or missing file is a note and no error."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from latte_cli.checkpoints.folder import (
    BEST,
    CheckpointMeta,
    list_checkpoints,
    read_checkpoint_meta,
)
from latte_cli.checkpoints.names import run_and_step, run_name
from latte_cli.config import Config, config_from_tree, read_tree
from latte_cli.evaluation.results.result import Result, read_result
from latte_cli.runtime.errors import DataError, LatteError
from latte_cli.runtime.files import read_json_lines

CONFIG, METRICS, BAD_STEPS, PREVIEWS = "config.yaml", "metrics.jsonl", "bad_steps.jsonl", "previews"
STARTS = "starts.jsonl"
"""A line for each time that the run was started or resumed: step, date, machine, versions."""
ADDED = "added.jsonl"
"""A line for each result and each folder of samples that other commands made from the run."""

_NAMED_CHECKPOINT = re.compile(r"step (\d+) of (.+)")  # in the settings of sampled clips
_PREVIEW = re.compile(r"step-(\d+)\.mp4")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Preview:
    """The preview clips of a step: one video of all of them."""

    step: int
    path: Path


@dataclass(frozen=True)
class MeasuredResult:
    """A result of `latte eval`, and the step that it is of, if that is known."""

    path: Path
    result: Result
    step: int | None


@dataclass(frozen=True)
class RunFiles:
    """Everything about a run that its report shows.

    Attributes:
        folder: of the run.
        config: as it was resolved; None if it is missing or damaged.
        rows: of metrics.jsonl, ascending by step.
        bad_steps: of bad_steps.jsonl: skipped steps, and returns to a checkpoint.
        starts: see `STARTS`.
        previews: ascending by step.
        results: of evaluations, by step.
        samples: folders of clips that were sampled from the run, the newest last.
        newest: of the newest checkpoint that can be read; None without one.
        best: best.json; empty without one.
        notes: what is missing or damaged, as messages.
    """

    folder: Path
    config: Config | None = None
    rows: Sequence[Row] = ()
    bad_steps: Sequence[Row] = ()
    starts: Sequence[Row] = ()
    previews: Sequence[Preview] = ()
    results: Sequence[MeasuredResult] = ()
    samples: Sequence[Path] = ()
    newest: CheckpointMeta | None = None
    best: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def name(self) -> str:
        """Of the run."""
        return run_name(self.folder)

    @property
    def step(self) -> int:
        """The last step that anything is known of."""
        logged = self.rows[-1]["step"] if self.rows else 0
        return max(logged, self.newest.step if self.newest else 0)

    @property
    def total(self) -> int | None:
        """Steps of the whole run; None if they are not known."""
        return self.config.train.steps if self.config else None


def is_run_folder(path: Path) -> bool:
    """Whether a folder is one of a training run, however little it has done."""
    if not path.is_dir() or (path / "ema.safetensors").exists():
        return False
    return any((path / name).exists() for name in (METRICS, CONFIG, "checkpoints"))


def run_of_clips(clips: Path) -> tuple[Path, int] | None:
    """The run and the step that clips are from; None if they are from none that is here.

    Args:
        clips: a checkpoint, or a folder of clips that `latte sample` made from one.
    """
    found = run_and_step(clips)
    with suppress(OSError, ValueError, AttributeError):
        settings = json.loads((clips / "settings.json").read_text(encoding="utf-8"))
        if named := _NAMED_CHECKPOINT.fullmatch(str(settings.get("checkpoint"))):
            found = Path(named[2]), int(named[1])
    return found if found is not None and is_run_folder(found[0]) else None


def read_run(folder: Path) -> RunFiles:
    """Read a run's folder.

    Raises:
        DataError: if it is none.
    """
    if not is_run_folder(folder):
        raise DataError(
            f"{folder}: not the folder of a run, which holds {CONFIG} and {METRICS}",
            hint="`latte train` makes runs; give one by name, or its folder",
        )
    notes: list[str] = []
    rows = read_steps(folder / METRICS)
    if not rows:
        notes.append("No step is logged yet, so there are no curves.")
    added = read_lines(folder / ADDED)
    return RunFiles(
        folder=folder,
        config=_config(folder / CONFIG, notes),
        rows=rows,
        bad_steps=read_steps(folder / BAD_STEPS),
        starts=read_steps(folder / STARTS),
        previews=_previews(folder / PREVIEWS),
        results=_results(folder, added, notes),
        samples=_paths(folder, added, "samples"),
        newest=_newest(folder),
        best=_best(folder / BEST),
        notes=notes,
    )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file that parse; none if there is no such file, or it cannot be read."""
    with suppress(OSError):
        return read_json_lines(path, skip_damaged=True) if path.is_file() else []
    return []


def read_steps(path: Path) -> list[dict[str, Any]]:
    """The lines of a file that have a step; of a run in training, the last may be cut off."""
    return [row for row in read_lines(path) if isinstance(row.get("step"), int)]


def _config(path: Path, notes: list[str]) -> Config | None:
    try:
        return config_from_tree(read_tree(path)) if path.is_file() else None
    except (LatteError, OSError) as error:
        notes.append(f"The settings cannot be shown: {error}.")
        return None


def _previews(folder: Path) -> list[Preview]:
    with suppress(OSError):
        found = [
            (name, path) for path in folder.iterdir() if (name := _PREVIEW.fullmatch(path.name))
        ]
        return sorted((Preview(int(n[1]), path) for n, path in found), key=lambda each: each.step)
    return []


def _results(folder: Path, added: Sequence[Row], notes: list[str]) -> list[MeasuredResult]:
    """Results that the run measured itself, and those that `latte eval` added."""
    paths = sorted((folder / "eval").glob("*.json")) + _paths(folder, added, "result")
    steps = {str(row.get("result")): row.get("step") for row in added}
    found = []
    for path in dict.fromkeys(paths):
        try:
            result = read_result(path)
        except (LatteError, OSError) as error:
            notes.append(f"A result is left out: {error}.")
            continue
        name = _relative(path, folder)
        step = result.notes.get("step", steps.get(name))
        found.append(MeasuredResult(path, result, step if isinstance(step, int) else None))
    return sorted(found, key=lambda each: (each.step is None, each.step or 0))


def _paths(folder: Path, added: Sequence[Row], kind: str) -> list[Path]:
    """What was added of a kind and still exists; what was added again counts once."""
    named = [row[kind] for row in added if isinstance(row.get(kind), str)]
    paths = [folder / name for name in reversed(list(dict.fromkeys(reversed(named))))]
    return [path for path in paths if path.exists()]


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _newest(folder: Path) -> CheckpointMeta | None:
    for checkpoint in reversed(list_checkpoints(folder)):
        with suppress(LatteError):
            return read_checkpoint_meta(checkpoint)
    return None


def _best(path: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        values = json.loads(path.read_text(encoding="utf-8"))
        return values if isinstance(values, dict) else {}
    return {}
