"""Evaluation of the EMA while training, by `eval.*`; the best checkpoint is marked.

The processes of a run divide the clips among them, as those of `latte eval` do. The main one
finishes the evaluation; the others poll for a file that says so, or that a process was asked to
stop: waiting inside torch.distributed would time out after minutes.
"""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from latte_cli.checkpoints.folder import step_of
from latte_cli.config import Config
from latte_cli.evaluation.checkpoints import (
    mark_best,
    measure_checkpoint,
    measured_before,
    results_of,
)
from latte_cli.evaluation.early_checks import check_metrics_of_run, naming_eval_every
from latte_cli.evaluation.evaluating import EvalContext, Evaluation
from latte_cli.evaluation.protocol import protocol_from
from latte_cli.evaluation.sources.clip_sets import ClipSet
from latte_cli.evaluation.sources.opening import open_source
from latte_cli.runtime.console import Console
from latte_cli.runtime.distributed import (
    all_reduce_max,
    broadcast_from_main,
    is_distributed,
    is_main,
    rank,
)
from latte_cli.runtime.errors import DataError, LatteError
from latte_cli.runtime.signals import SAVE, Interrupted, RunRequests
from latte_cli.training.monitoring.metrics_log import Row
from latte_cli.training.monitoring.tracker_runs import EVALUATED

_POLL_S = 0.2


class _Leave(Exception):
    """A stop was requested, or the main process is done."""


@dataclass(frozen=True)
class EvaluationOutcome:
    """Result of evaluating a step.

    Attributes:
        row: for metrics.jsonl, by names such as `eval_fvd`; empty if it was not finished.
        best: whether it is the run's best so far, by the first metric.
        requested: the largest request of any process meanwhile; see `RunRequests.poll`.
    """

    row: Row = field(default_factory=dict)
    best: bool = False
    requested: int = 0


class RunEvaluator:
    """Evaluates a run's EMA; every process of the run calls it at the same steps.

    Results are in eval/ of the run's folder, together with those of `latte eval --curve`.

    Args:
        run: the run's folder.
        evaluation: the protocol and the metrics.
        real: the videos to compare with.
        console: shows warnings.
    """

    def __init__(self, run: Path, evaluation: Evaluation, real: ClipSet, console: Console) -> None:
        self._run, self._evaluation, self._real = run, evaluation, real
        self._content = real.plan.content
        self._console, self._train = console, evaluation.config.train
        self._is_due = False

    def is_due(self, step: int) -> bool:
        """Whether an evaluation is due; it stays due until one is made."""
        every = self._train.eval_every
        assert every is not None
        self._is_due |= step > 0 and (step % every == 0 or step == self._train.steps)
        return self._is_due

    def evaluate(self, weights: Path, requests: RunRequests) -> EvaluationOutcome:
        """Evaluate a checkpoint, or a snapshot of the EMA, unless that was done before.

        If it fails the user is warned, and training goes on. Training's random state is untouched.

        Args:
            weights: of this run, whole on the main process.
            requests: polled all the time; features extracted before a stop are kept.
        """
        self._is_due = False
        finished = self._run / "eval" / f".over-{step_of(weights)}"
        if (before := broadcast_from_main(lambda: self._read_result(weights, finished))).row:
            return before
        requested = all_reduce_max(self._evaluate_share(weights, requests, finished))
        outcome = broadcast_from_main(lambda: self._read_result(weights, finished))
        return replace(outcome, requested=requested)

    def _read_result(self, weights: Path, finished: Path) -> EvaluationOutcome:
        """Read the result, if there is one, and mark the best; on the main process only."""
        finished.unlink(missing_ok=True)
        run, evaluation, content = self._run, self._evaluation, self._content
        try:
            mark_best(run, results_of(run, evaluation, content))
            measured = measured_before(run, weights, evaluation, content)
        except (LatteError, OSError) as error:
            self._console.warning(f"{error}; training goes on")
            return EvaluationOutcome()
        if measured is None:
            return EvaluationOutcome()
        numbers = measured.result.numbers
        row: Row = {f"{EVALUATED}{name}": number.value for name, number in numbers.items()}
        return EvaluationOutcome(row, measured.best)

    def _evaluate_share(self, weights: Path, requests: RunRequests, finished: Path) -> int:
        """Do this process's part; return what was requested of it meanwhile."""
        requested = 0

        def poll() -> None:
            nonlocal requested
            requested = max(requested, requests.pending())
            if requested > SAVE or finished.exists():
                raise _Leave

        try:
            poll()
            with requests.interruptible():
                self._measure(weights, replace(self._evaluation, on_progress=poll))
                while not is_main():
                    poll()
                    time.sleep(_POLL_S)
        except _Leave:
            pass
        except Interrupted:
            requested = max(requested, requests.pending())
        finally:
            if is_distributed() and (is_main() or requested > SAVE):
                finished.parent.mkdir(parents=True, exist_ok=True)
                finished.touch()
        return requested

    def _measure(self, weights: Path, evaluation: Evaluation) -> None:
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        try:
            with torch.random.fork_rng(devices):  # networks are made with random weights first
                measure_checkpoint(self._run, weights, evaluation, self._real)
        except (LatteError, OSError, torch.OutOfMemoryError) as error:  # no reason to end a run
            if torch.cuda.is_available():
                torch.cuda.empty_cache()  # of the metrics' networks
            if is_main():
                step = step_of(weights)
                self._console.warning(f"step {step} is not measured, training goes on: {error}")


def open_run_evaluator(
    config: Config, real: Path, run: Path, context: EvalContext, console: Console
) -> RunEvaluator | None:
    """Open all that `train.eval_every` needs; None if it is not set.

    Args:
        config: of the run.
        real: the videos to compare with: a prepared data set, or what else `latte eval` takes.
        run: the run's folder.
        context: where features and weights are kept.
        console: shows progress.

    Raises:
        LatteError: if videos or weights are missing, or a metric does not work for this network.
    """
    if config.train.eval_every is None:
        return None
    with naming_eval_every():
        _check_run_is_shared(run)
        check_metrics_of_run(config)
        protocol = protocol_from(config)
        source = open_source(real, protocol, config, context.survey_cache, console)
        evaluation = Evaluation.open(config, context, console)
        return RunEvaluator(run, evaluation, evaluation.clip_set("real", source), console)


def _check_run_is_shared(run: Path) -> None:
    """Raise if a process does not see the run's folder: they evaluate together through files."""
    broadcast_from_main(lambda: None)  # wait for the main process, which has made the folder
    if not run.is_dir():
        raise DataError(
            f"process {rank()} does not see {run}", hint="give a --runs-root that all nodes see"
        )
