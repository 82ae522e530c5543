"""When a run's checkpoints and snapshots are written, and which are kept."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from latte_cli import __version__
from latte_cli.checkpoints.folder import (
    CheckpointMeta,
    average_folder,
    checkpoint_folder,
    remove_old_checkpoints,
    save_checkpoint,
    save_for_sampling,
)
from latte_cli.checkpoints.writer import CheckpointWriter, HostCopies
from latte_cli.config import Config
from latte_cli.runtime.distributed import is_main
from latte_cli.training.state import TrainState, contents


def versions() -> str:
    """The code that numbers depend on to the last bit."""
    return f"latte {__version__}, torch {torch.__version__}"


class Saver:
    """Has checkpoints, and snapshots of the average, written when they are due.

    Every process of a run has one and calls it at the same steps; the main one writes.

    Args:
        run: the run's folder.
        config: of the run.
        meta: what all its checkpoints say, but for their step.
        writer: writes them in the background.
        newest: the checkpoint gone on from; None for a run that begins.

    Attributes:
        newest: where the last checkpoint lies, or will lie; None for none yet.
    """

    def __init__(
        self,
        run: Path,
        config: Config,
        meta: CheckpointMeta,
        writer: CheckpointWriter,
        newest: Path | None = None,
    ) -> None:
        self._run, self._config, self._meta, self._writer = run, config, meta, writer
        self.newest = newest
        self._average: Path | None = None  # the last snapshot
        self._copies, self._prepared = HostCopies(), False
        self._owed = False

    def owes(self, state: TrainState) -> bool:
        """Whether a checkpoint is due, or was and could not be written."""
        train, step = self._config.train, state.step
        # To measure the average, its snapshot is enough.
        measured = None if _is_due(step, train.ema_every) else train.eval_every
        spans = (train.save_every, train.keep_every, measured)
        self._owed |= step == train.steps or any(_is_due(step, span) for span in spans)
        return self._owed

    def keep_up(self, state: TrainState) -> Path | None:
        """Write what is due; where its checkpoint will lie, if that was one.

        While steps are bad a checkpoint waits: the run may have to go back to one of before.
        """
        if not self._prepared:  # as early as the optimizer has its state
            self._prepared = True
            if is_main():
                parts = contents(state)
                self._writer.submit(lambda: self._copies.prepare(parts))
        self._writer.poll()
        step = state.step
        average = _is_due(step, self._config.train.ema_every)
        if self.owes(state) and (step == self._config.train.steps or not state.guard.in_a_row):
            return self.save(state, average=average)
        if average:
            parts = self._copied({"ema": state.ema.state_dict()})
            self._average = average_folder(self._run, step)
            if is_main():
                self._writer.submit(lambda: self._write_average(step, parts))
        return None

    def save(self, state: TrainState, *, average: bool = False) -> Path:
        """Copy a checkpoint, and begin to write it; where it will lie. Once for each step.

        Args:
            state: after its step, its guard's verdicts taken.
            average: also write a snapshot of the average.
        """
        self._owed = False
        before, self.newest = self.newest, checkpoint_folder(self._run, state.step)
        if self.newest != before:
            parts, step, bad = self._copied(contents(state)), state.step, state.guard.in_a_row
            if is_main():
                self._writer.submit(
                    lambda: self._write(step, parts, average=average, remove_old=not bad)
                )
        return self.newest

    def weights_of(self, step: int) -> Path | None:
        """Where the average of a step lies once the writer is done; None if it is not saved."""
        for folder in (checkpoint_folder(self._run, step), average_folder(self._run, step)):
            if folder in (self.newest, self._average):
                return folder
        return None

    def _copied(self, parts: Mapping[str, Any]) -> dict[str, Any]:
        """Copies on the main process, to which all send what they hold of sharded tensors."""
        self._writer.wait()  # for the copies of before to be free
        return self._copies.copy(parts)

    def _write(
        self, step: int, parts: Mapping[str, Any], *, average: bool, remove_old: bool
    ) -> None:
        train = self._config.train
        save_checkpoint(self._run, self._config, replace(self._meta, step=step), **parts)
        if remove_old:
            remove_old_checkpoints(self._run, train.keep, train.keep_every)
        if average:
            self._write_average(step, parts)

    def _write_average(self, step: int, parts: Mapping[str, Any]) -> None:
        folder = average_folder(self._run, step)
        save_for_sampling(folder, self._config, replace(self._meta, step=step), parts["ema"])


def _is_due(step: int, span: int | None) -> bool:
    return span is not None and step % span == 0
