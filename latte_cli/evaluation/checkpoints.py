"""Evaluations of a run's checkpoints: a result file each, and a mark for the best one.

runs/NAME/eval/step-00010000-<hash>.json   result of a checkpoint
runs/NAME/best.json                        the best checkpoint, and by which metric

The hash covers the protocol, metrics, draws and resamples, the settings of sampling and the real
videos, so results of different evaluations never mix in a curve.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from latte_cli.checkpoints.folder import (
    BEST,
    FOR_SAMPLING,
    checkpoint_folder,
    ema_snapshot_folder,
    find_corruption,
    list_checkpoints,
    read_checkpoint_meta,
    step_of,
)
from latte_cli.evaluation.evaluating import Evaluation
from latte_cli.evaluation.metric_table import METRICS
from latte_cli.evaluation.results.result import Result, read_result
from latte_cli.evaluation.results.writing import write_result
from latte_cli.evaluation.sources.clip_sets import ClipSet
from latte_cli.evaluation.sources.opening import open_source
from latte_cli.evaluation.sources.videos import Source
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.errors import CheckpointError
from latte_cli.runtime.files import write_text

_NAME = re.compile(r"step-(\d+)-[0-9a-f]+\.json")


@dataclass(frozen=True)
class Measured:
    """The result of a checkpoint.

    Attributes:
        step: of the checkpoint.
        result: of its evaluation.
        evaluation: hash of what the results of a curve have in common.
        best: whether it is the best of its run, by the first metric.
    """

    step: int
    result: Result
    evaluation: str
    best: bool = False

    @property
    def weights(self) -> str:
        """Checksum of the measured weights."""
        return str(self.result.notes["weights"])


def measure_checkpoints(
    run: Path, evaluation: Evaluation, real: Source, content: str
) -> list[Measured]:
    """Measure a run's checkpoints that are not measured yet, and mark the best.

    If a run in training evaluates itself, it decides by best.json which checkpoint it keeps; that
    file is not replaced by the best of another evaluation.

    Args:
        run: its folder.
        evaluation: the protocol, and what to measure.
        real: the videos to compare with.
        content: checksum of those; see `ClipSetPlan.content`.

    Returns:
        All results of the evaluation by step, also of deleted checkpoints; in all but the main
        process only those of earlier runs.
    """
    clip_set: ClipSet | None = None
    done = {(each.step, each.weights) for each in results_of(run, evaluation, content)}
    for checkpoint in list_weights(run):
        if (step_of(checkpoint), _weights_checksum(checkpoint)) in done:
            continue
        if broken := find_corruption(checkpoint, FOR_SAMPLING):
            evaluation.console.warning(f"{broken}; left out")
            continue
        clip_set = clip_set or evaluation.clip_set("real", real)
        measure_checkpoint(run, checkpoint, evaluation, clip_set)
    found = results_of(run, evaluation, content)
    if is_main():
        if evaluation.config.train.eval_every and _is_of_another(run, found):
            evaluation.console.warning(
                f"{run / BEST} names the best checkpoint by another evaluation, which decides what "
                "the run keeps: it is not changed"
            )
        else:
            mark_best(run, found)
    return found


def measure_checkpoint(
    run: Path, checkpoint: Path, evaluation: Evaluation, real: ClipSet
) -> Result | None:
    """Measure one checkpoint of a run and write the result; None in all but the main process."""
    step, console = step_of(checkpoint), evaluation.console
    if is_main():
        console.info(f"measuring step {step}")
    fake = open_source(
        checkpoint,
        evaluation.protocol,
        evaluation.config,
        evaluation.context.survey_cache,
        console,
        captions=evaluation.context.captions(real.source, evaluation.config),
    )
    notes = {"step": step, "weights": _weights_checksum(checkpoint)}
    result = evaluation.run(real, evaluation.clip_set("fake", fake), notes)
    if result is not None:
        name = f"step-{step:08d}-{_hash(evaluation, real.plan.content)}.json"
        write_result(run / "eval" / name, result)
    return result


def measured_before(
    run: Path, checkpoint: Path, evaluation: Evaluation, content: str
) -> Measured | None:
    """The result of a checkpoint's weights; None if they are not measured yet."""
    key = (step_of(checkpoint), _weights_checksum(checkpoint))
    found = results_of(run, evaluation, content)
    return next((each for each in found if (each.step, each.weights) == key), None)


def results_of(run: Path, evaluation: Evaluation, content: str) -> list[Measured]:
    """A run's results of an evaluation against the real videos of a checksum, by step."""
    common = _hash(evaluation, content)
    files = sorted((run / "eval").glob(f"step-*-{common}.json"))
    measured = [
        Measured(int(name[1]), read_result(file), common)
        for file in files
        if (name := _NAME.fullmatch(file.name))
    ]
    if not measured:
        return []
    metric = next(iter(measured[0].result.numbers))
    sign = -1 if METRICS[metric].higher_is_better else 1
    best = min(measured, key=lambda each: sign * each.result.numbers[metric].value)
    return [replace(each, best=each is best) for each in measured]


def mark_best(run: Path, measured: Sequence[Measured]) -> None:
    """Write best.json: a run's best checkpoint, its value, and the evaluation."""
    for each in measured:
        if each.best:
            metric, number = next(iter(each.result.numbers.items()))
            values = {
                "step": each.step,
                "checkpoint": str(_relative_path(run, each.step)),
                "metric": metric,
                "value": number.value,
                "protocol_hash": number.protocol_hash,
                "evaluation": each.evaluation,
            }
            write_text(run / BEST, json.dumps(values, indent=2) + "\n")


def list_weights(run: Path) -> list[Path]:
    """A run's checkpoints, and averaged weights kept without one, by step."""
    averages = {p.name: p for p in (run / "ema").glob("step-*") if p.name[5:].isdecimal()}
    found = {**averages, **{path.name: path for path in list_checkpoints(run)}}
    return [found[name] for name in sorted(found, key=lambda name: int(name[5:]))]


def _is_of_another(run: Path, measured: Sequence[Measured]) -> bool:
    """Whether best.json is of another evaluation than these results."""
    try:
        best = json.loads((run / BEST).read_text(encoding="utf-8"))
        return any(each.evaluation != best.get("evaluation") for each in measured)
    except (OSError, ValueError, AttributeError):
        return False


def _relative_path(run: Path, step: int) -> PurePosixPath:
    """The path of a step's weights in a run's folder, even if they are deleted."""
    paths = (checkpoint_folder(run, step), ema_snapshot_folder(run, step))
    found = next((path for path in paths if path.is_dir()), paths[0])
    return PurePosixPath(found.relative_to(run))


def _weights_checksum(checkpoint: Path) -> str:
    """Checksum of the averaged weights; empty if the checkpoint has none on record."""
    try:
        return read_checkpoint_meta(checkpoint).files.get(FOR_SAMPLING[0], "")
    except CheckpointError:
        return ""


def _hash(evaluation: Evaluation, content: str) -> str:
    """Of all that a run's results have in common."""
    values = {
        "protocol": evaluation.protocol.hash,
        "metrics": evaluation.config.eval.metrics,
        "spread": [evaluation.config.eval.draws, evaluation.config.eval.resamples],
        "sample": evaluation.config.sample.model_dump(mode="json", exclude={"fps", "batch"}),
        "real": content,
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
