"""A run's checkpoints measured: results beside them, and the best one marked.

runs/NAME/eval/step-00010000-<hash>.json   a result a checkpoint
runs/NAME/best.json                        which is best, by which metric

The hash is that of the protocol, the metrics, draws and resamples, the way to draw and the real
videos: curves of two never mix.
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
    average_folder,
    checkpoint_folder,
    find_corruption,
    list_checkpoints,
    read_checkpoint_meta,
    step_of,
)
from latte_cli.evaluation.evaluating import Evaluation
from latte_cli.evaluation.results.files import Result, content_of, read_result, write_result
from latte_cli.evaluation.sources.clip_sets import ClipSet, real_content
from latte_cli.evaluation.sources.opening import open_source
from latte_cli.evaluation.sources.videos import Source
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.errors import CheckpointError
from latte_cli.runtime.files import write_text

_HIGHER_IS_BETTER = ("is", "direction", "psnr", "ssim")
_NAME = re.compile(r"step-(\d+)-[0-9a-f]+\.json")


@dataclass(frozen=True)
class Measured:
    """A checkpoint's result; `best` among those of its run, by the first metric.

    Attributes:
        step: of the checkpoint.
        result: of it.
        evaluation: hash of what the results of a curve have in common.
        best: whether none is better.
    """

    step: int
    result: Result
    evaluation: str
    best: bool = False

    @property
    def weights(self) -> str:
        """Checksum of the weights that were measured."""
        return str(self.result.notes["weights"])


def measure_checkpoints(run: Path, evaluation: Evaluation, real: Source) -> list[Measured]:
    """Measure a run's checkpoints that are not measured yet, and mark the best.

    A run that measures itself keeps its best checkpoint by best.json: what another evaluation finds
    best is not marked there.

    Args:
        run: its folder.
        evaluation: the protocol, and what to measure.
        real: the videos to compare with.

    Returns:
        All results of the protocol, also of checkpoints that are gone, by step; those of earlier
        runs alone in every process but the main one.
    """
    clip_set: ClipSet | None = None
    content = real_content(real, evaluation.extractors.protocol, evaluation.config.eval.draws)
    done = {(each.step, each.weights) for each in results_of(run, evaluation, content)}
    for checkpoint in to_draw_from(run):
        if (step_of(checkpoint), _weights(checkpoint)) in done:
            continue
        if broken := find_corruption(checkpoint, FOR_SAMPLING):
            evaluation.console.warn(f"{broken}; left out")
            continue
        clip_set = clip_set or evaluation.clip_set("real", real)
        measure_checkpoint(run, checkpoint, evaluation, clip_set)
    found = with_best(results_of(run, evaluation, content))
    if is_main() and evaluation.config.train.eval_every and _is_of_another(run, found):
        evaluation.console.warn(
            f"{run / BEST} names the best by another evaluation, by which the run keeps it: left "
            "as it is"
        )
    elif is_main():
        mark_best(run, found)
    return found


def measure_checkpoint(
    run: Path, checkpoint: Path, evaluation: Evaluation, real: ClipSet
) -> Result | None:
    """Measure one checkpoint of a run and keep the result; None in all but the main process."""
    protocol, console = evaluation.extractors.protocol, evaluation.console
    step = step_of(checkpoint)
    if is_main():
        console.say(f"measuring step {step}")
    fake = open_source(checkpoint, protocol, evaluation.config, evaluation.context.seen, console)
    notes = {"step": step, "weights": _weights(checkpoint)}
    result = evaluation.run(real, evaluation.clip_set("fake", fake), notes)
    if result is not None:
        name = f"step-{step:08d}-{_hash(evaluation, content_of(real.plan))}.json"
        write_result(run / "eval" / name, result)
    return result


def measured_before(
    run: Path, checkpoint: Path, evaluation: Evaluation, content: str
) -> Measured | None:
    """What these weights of a run were found to be; None if they are not measured yet."""
    key = (step_of(checkpoint), _weights(checkpoint))
    found = with_best(results_of(run, evaluation, content))
    return next((each for each in found if (each.step, each.weights) == key), None)


def results_of(run: Path, evaluation: Evaluation, content: str) -> list[Measured]:
    """A run's results of an evaluation against real videos of this content, by step."""
    common = _hash(evaluation, content)
    files = sorted((run / "eval").glob(f"step-*-{common}.json"))
    named = [(found, file) for file in files if (found := _NAME.fullmatch(file.name))]
    return [Measured(int(found[1]), read_result(file), common) for found, file in named]


def with_best(measured: Sequence[Measured]) -> list[Measured]:
    """The same, the best one marked."""
    if not measured:
        return []
    metric = next(iter(measured[0].result.numbers))
    sign = -1 if metric in _HIGHER_IS_BETTER else 1
    best = min(measured, key=lambda each: sign * each.result.numbers[metric].value)
    return [replace(each, best=each is best) for each in measured]


def mark_best(run: Path, measured: Sequence[Measured]) -> None:
    """Write best.json: a run's best checkpoint, its value, and what it was found by."""
    for each in measured:
        if each.best:
            metric, number = next(iter(each.result.numbers.items()))
            told = {
                "step": each.step,
                "checkpoint": str(_place(run, each.step)),
                "metric": metric,
                "value": number.value,
                "protocol_hash": number.protocol_hash,
                "evaluation": each.evaluation,
            }
            write_text(run / BEST, json.dumps(told, indent=2) + "\n")


def _is_of_another(run: Path, measured: Sequence[Measured]) -> bool:
    """Whether best.json names the best by another evaluation than that of these results."""
    try:
        told = json.loads((run / BEST).read_text(encoding="utf-8"))
        return any(each.evaluation != told.get("evaluation") for each in measured)
    except (OSError, ValueError, AttributeError):
        return False


def to_draw_from(run: Path) -> list[Path]:
    """Checkpoints, and averaged weights that were kept alone; of one step the checkpoint."""
    alone = {p.name: p for p in (run / "ema").glob("step-*") if p.name[5:].isdecimal()}
    found = {**alone, **{path.name: path for path in list_checkpoints(run)}}
    return [found[name] for name in sorted(found, key=lambda name: int(name[5:]))]


def _place(run: Path, step: int) -> PurePosixPath:
    """Where in a run's folder the weights of a step lie, or have lain."""
    places = (checkpoint_folder(run, step), average_folder(run, step))
    found = next((place for place in places if place.is_dir()), places[0])
    return PurePosixPath(found.relative_to(run))


def _weights(checkpoint: Path) -> str:
    """Checksum of the averaged weights; empty where it is not told."""
    try:
        return read_checkpoint_meta(checkpoint).files.get(FOR_SAMPLING[0], "")
    except CheckpointError:
        return ""


def _hash(evaluation: Evaluation, content: str) -> str:
    """Of all that a run's results have in common."""
    told = {
        "protocol": evaluation.extractors.protocol.hash,
        "metrics": evaluation.config.eval.metrics,
        "spread": [evaluation.config.eval.draws, evaluation.config.eval.resamples],
        "sample": evaluation.config.sample.model_dump(mode="json", exclude={"fps", "batch"}),
        "real": content,
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]
