"""A run that measures itself: `eval.*` on its averaged weights at an interval, the best one marked.

The processes of a run share the clips out as those of `latte eval` do. The main one is at it to the
end; the others wait for it, or leave when one is asked to stop, by a file that all of them see:
waiting inside torch.distributed would end after minutes.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from latte_cli.checkpoints.folder import step_of
from latte_cli.config import Config
from latte_cli.evaluation.checkpoints import (
    Measured,
    mark_best,
    measure_checkpoint,
    measured_before,
    results_of,
    with_best,
)
from latte_cli.evaluation.evaluating import EvalContext, Evaluation
from latte_cli.evaluation.metric_table import METRICS, check_unpaired
from latte_cli.evaluation.sources.clip_sets import ClipSet
from latte_cli.evaluation.sources.opening import open_source
from latte_cli.metrics.protocol import protocol_from
from latte_cli.runtime.console import Console
from latte_cli.runtime.distributed import (
    all_reduce_max,
    broadcast_from_main,
    is_distributed,
    is_main,
    rank,
)
from latte_cli.runtime.errors import ConfigError, DataError, LatteError
from latte_cli.runtime.signals import SAVE, StopRequest
from latte_cli.training.monitoring.monitor import Row
from latte_cli.training.monitoring.tensorboard import MEASURED

_LOOK_AGAIN_S = 0.2


class _Leave(Exception):
    """A process was asked to stop, or the main one is done."""


@dataclass(frozen=True)
class Evaluated:
    """What came of measuring.

    Attributes:
        row: for metrics.jsonl, by names such as `eval_fvd`; empty if it was not brought to its end.
        best: whether it is the run's best so far, by the first metric.
        asked: what any process was asked to do meanwhile; see `StopRequest.asked`.
    """

    row: Row = field(default_factory=dict)
    best: bool = False
    asked: int = 0


class Evaluating:
    """Measures a run's averaged weights; every process of the run calls it at the same steps.

    Results lie in eval/ of the run's folder, those of `latte eval --curve` among them.

    Args:
        run: the run's folder.
        evaluation: the protocol, and what to measure.
        real: the videos to compare with.
        console: told what cannot be measured.
    """

    def __init__(self, run: Path, evaluation: Evaluation, real: ClipSet, console: Console) -> None:
        self._run, self._evaluation, self._real = run, evaluation, real
        self._content = real.plan.content
        self._console, self._train = console, evaluation.config.train
        self._over = run / "eval" / ".over"
        self._owed = False

    def owes(self, step: int) -> bool:
        """Whether a step is to be measured, or one was that is not saved."""
        every = self._train.eval_every
        assert every is not None
        self._owed |= step > 0 and (step % every == 0 or step == self._train.steps)
        return self._owed

    def measure(self, weights: Path, request: StopRequest) -> Evaluated:
        """Measure a checkpoint, or a snapshot of the average, unless that was done before.

        Where it cannot be done the user is told, and the run goes on. Random numbers of the
        training are left as they are.

        Args:
            weights: of this run, whole on the main process.
            request: looked at all along; what was described until then is kept.
        """
        self._owed, self._over = False, self._over.with_name(f".over-{step_of(weights)}")
        if (before := broadcast_from_main(lambda: self._known(weights))).row:
            return before
        asked = all_reduce_max(self._share(weights, request))
        return replace(broadcast_from_main(lambda: self._known(weights)), asked=asked)

    def _known(self, weights: Path) -> Evaluated:
        """What the results say, by the main process, while nobody is at it; the best is marked."""
        self._over.unlink(missing_ok=True)
        try:
            evaluation, content = self._evaluation, self._content
            mark_best(self._run, with_best(results_of(self._run, evaluation, content)))
            return _evaluated(measured_before(self._run, weights, evaluation, content))
        except (LatteError, OSError) as error:
            self._console.warn(f"{error}; the run goes on")
            return Evaluated()

    def _share(self, weights: Path, request: StopRequest) -> int:
        """This process's part; what it was asked to do meanwhile."""
        asked = 0

        def look() -> None:
            nonlocal asked
            asked = max(asked, request.pending())
            if asked > SAVE or self._over.exists():
                raise _Leave

        try:
            look()
            self._work(weights, look)
            while not is_main():
                look()
                time.sleep(_LOOK_AGAIN_S)
        except _Leave:
            pass
        finally:
            if is_distributed() and (is_main() or asked > SAVE):
                self._over.parent.mkdir(parents=True, exist_ok=True)
                self._over.touch()
        return asked

    def _work(self, weights: Path, look: Callable[[], None]) -> None:
        evaluation = replace(self._evaluation, on_progress=look)
        try:
            with _random_numbers_kept():
                measure_checkpoint(self._run, weights, evaluation, self._real)
        except (LatteError, OSError, torch.OutOfMemoryError) as error:  # not worth a run
            if torch.cuda.is_available():
                torch.cuda.empty_cache()  # what the networks of measuring held
            if is_main():
                step = step_of(weights)
                self._console.warn(f"step {step} is not measured, the run goes on: {error}")


def evaluating_of(
    config: Config, real: Path, run: Path, context: EvalContext, console: Console
) -> Evaluating | None:
    """What measures a run as `train.eval_every` says, if it does; all that it needs is opened.

    Args:
        config: of the run.
        real: the videos to compare with; a prepared data set, or what else `latte eval` takes.
        run: the run's folder.
        context: where features and weights lie.
        console: tells how it goes.

    Raises:
        LatteError: if videos or weights are missing, or a metric cannot be had of this network.
    """
    if config.train.eval_every is None:
        return None
    # On a terminal the panel has the screen; elsewhere lines tell how far it is.
    speaker = replace(console, quiet=console.quiet or console.on_terminal)
    try:
        _refuse_unseen(run)
        _refuse_without_clips(config)
        protocol = protocol_from(config)
        source = open_source(real, protocol, config, context.survey_cache, console)
        evaluation = replace(Evaluation.open(config, context, console), console=speaker)
        return Evaluating(run, evaluation, evaluation.clip_set("real", source), console)
    except LatteError as error:
        raise type(error)(
            f"train.eval_every: {error}",
            hint=f"{_as_settings(error.hint)}; or train without measuring, "
            "-o train.eval_every=null",
        ) from error


def _as_settings(hint: str) -> str:
    """A hint on options of `latte eval`, as `latte train` takes them."""
    return re.sub(r"--(metrics|interval|clips)\b", r"eval.\1", hint)


def _refuse_unseen(run: Path) -> None:
    """Processes measure together through files."""
    broadcast_from_main(lambda: None)  # which has made the run's folder
    if not run.is_dir():
        raise DataError(
            f"process {rank()} does not see {run}", hint="give a --runs-root that all machines see"
        )


def _refuse_without_clips(config: Config) -> None:
    """What would be found only once clips are drawn."""
    settings = config.eval
    check_unpaired(settings.metrics)
    if "direction" in settings.metrics and config.model.num_classes is None:
        raise ConfigError(
            "direction looks at clips with labels, and this network draws none",
            hint="choose other eval.metrics",
        )
    for metric in settings.metrics:
        if settings.clips < (least := METRICS[metric].least_clips):
            raise ConfigError(
                f"{metric} needs at least {least} clips, eval.clips is {settings.clips}",
                hint=f"-o eval.clips={least}, or more",
            )


def _evaluated(found: Measured | None) -> Evaluated:
    if found is None:
        return Evaluated()
    numbers = found.result.numbers
    return Evaluated(
        {f"{MEASURED}{name}": each.value for name, each in numbers.items()}, found.best
    )


@contextmanager
def _random_numbers_kept() -> Iterator[None]:
    """Leave the global generators as they were: networks are made with random weights first."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        yield
