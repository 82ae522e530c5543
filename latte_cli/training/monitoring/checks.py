"""When a run checks its network: held-out losses and previews, between its steps."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TypeVar

from latte_cli.config import Config
from latte_cli.data.clips import ClipStore
from latte_cli.runtime.console import Console
from latte_cli.runtime.distributed import (
    all_reduce_max,
    broadcast_from_main,
    is_distributed,
    is_sharded,
)
from latte_cli.runtime.errors import NumericalError
from latte_cli.runtime.signals import Interrupted, RunRequests
from latte_cli.training.monitoring.metrics_log import MetricsLog, Row
from latte_cli.training.monitoring.previews import (
    count_preview_steps,
    preview_path,
    write_preview,
)
from latte_cli.training.monitoring.validation import Tick, Validation
from latte_cli.training.state import TrainState
from latte_cli.vae import LatentCodec

Result = TypeVar("Result")


class NetworkChecks:
    """Held-out losses and previews of a run's EMA.

    Every process of a run has one and calls it at the same steps. The time is not counted as
    training. If a stop is requested, the work is abandoned; the resumed run does it first.

    Args:
        config: of the run.
        run: its folder.
        codec: the autoencoder.
        store: the videos.
        validation: computes held-out losses; None for none.
        log: of the run.
        console: shows progress.
        requests: to the run.
    """

    def __init__(
        self,
        config: Config,
        run: Path,
        codec: LatentCodec,
        store: ClipStore,
        validation: Validation | None,
        log: MetricsLog,
        console: Console,
        requests: RunRequests,
    ) -> None:
        self._config, self._run, self._codec, self._validation = config, run, codec, validation
        self._log, self._console, self._requests = log, console, requests
        self._store = store

    def validation_is_due(self, step: int) -> bool:
        """Whether a step's held-out losses are due."""
        return self._validation is not None and is_due(self._config, "validate_every", step)

    def validate(self, state: TrainState) -> Row:
        """Compute the held-out losses of a step; empty if a stop is requested meanwhile."""
        validation = self._validation
        assert validation is not None
        row = self._interruptible(
            ("held-out loss", validation.turns, "batches"),
            lambda tick: validation.losses(state.ema, tick),
            together=True,
        )
        return row or {}

    def write_preview_if_due(self, state: TrainState) -> None:
        """Write the preview of a step; clips that are not finite are a warning, and no video."""
        if not is_due(self._config, "preview_every", state.step):
            return
        # If the network is sharded every process samples, else the main one alone.
        together = is_sharded(next(state.ema.parameters()))
        try:
            path = self._interruptible(
                ("preview", count_preview_steps(self._config, self._store), "steps"),
                lambda tick: write_preview(
                    state, self._codec, self._config, self._run, self._store, tick
                ),
                together=together,
            )
        except NumericalError as error:  # no reason to end a run, whose loss is finite
            self._console.warning(f"no preview of step {state.step}, training goes on: {error}")
            return
        if path is not None:
            self._console.debug(f"preview: {path}")

    def catch_up(self, state: TrainState) -> int:
        """Do what was due at the step that a run resumes at, if it was abandoned then.

        Returns:
            The largest request of any process meanwhile; see `RunRequests.poll`.
        """
        step, preview = state.step, preview_path(self._run, state.step)
        missing = broadcast_from_main(
            lambda: (self._log.lacks(step, "val_loss"), not preview.exists())
        )
        if self.validation_is_due(step) and missing[0]:
            self._log.add(step, self.validate(state))
        if missing[1]:
            self.write_preview_if_due(state)
        return all_reduce_max(self._requests.poll())

    def _interruptible(
        self, shown: tuple[str, int, str], work: Callable[[Tick], Result], *, together: bool
    ) -> Result | None:
        """Do some work with progress; None if a stop is requested meanwhile.

        Args:
            shown: of the progress bar: name, total and unit.
            work: gets a function to call after each part.
            together: whether the processes wait for one another in it, and so can only end it
                after the same part.
        """
        agree = together and is_distributed()
        within = nullcontext if agree else self._requests.interruptible
        try:
            with self._log.paused(), self._console.progress(*shown) as bar, within() as check:

                def tick() -> None:
                    bar.advance()
                    if check is not None:
                        check()
                    elif all_reduce_max(self._requests.is_stopping()):
                        raise Interrupted

                return work(tick)
        except Interrupted:
            return None


def is_due(config: Config, key: str, step: int) -> bool:
    """Whether what `train.KEY` says is due at a step, as it is at the last one; null: never."""
    span = getattr(config.train, key)
    return span is not None and (step % span == 0 or step == config.train.steps)
