"""Saving a run: when checkpoints and EMA snapshots are written, and which checkpoints are kept."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from latte_cli.checkpoints.folder import (
    CheckpointMeta,
    checkpoint_folder,
    ema_snapshot_folder,
    remove_old_checkpoints,
    save_checkpoint,
    save_for_sampling,
)
from latte_cli.checkpoints.remote_runs import RunUploader
from latte_cli.checkpoints.writer import CheckpointWriter, HostCopies
from latte_cli.config import Config
from latte_cli.runtime.distributed import is_main
from latte_cli.training.state import TrainState, average_parts, checkpoint_parts


class CheckpointSaver:
    """Saves checkpoints, and snapshots of the EMA, when they are due.

    Every process of a run has one and calls it at the same steps; the main one writes.

    Args:
        run: the run's folder.
        config: of the run.
        meta: of all its checkpoints; the step is filled in.
        writer: writes them in the background.
        newest: the checkpoint that the run resumes from; None for a new run.
        uploader: uploads each, if the run lies elsewhere.

    Attributes:
        newest: path of the last checkpoint, which may still be being written; None for none yet.
    """

    def __init__(
        self,
        run: Path,
        config: Config,
        meta: CheckpointMeta,
        writer: CheckpointWriter,
        newest: Path | None = None,
        uploader: RunUploader | None = None,
    ) -> None:
        self._run, self._config, self._meta, self._writer = run, config, meta, writer
        self._uploader = uploader
        self.newest = newest
        self._snapshot: Path | None = None  # the last one of the EMA
        self._copies, self._prepared = HostCopies(), False
        self._is_due = False

    def is_due(self, state: TrainState) -> bool:
        """Whether a checkpoint is due; it stays due until one is saved."""
        train, step = self._config.train, state.step
        # An evaluation needs the EMA only, so its snapshot is enough.
        evaluated = None if self._snapshot_is_due(step) else train.eval_every
        intervals = (train.save_every, train.keep_every, evaluated)
        self._is_due |= step == train.steps or any(_divides(span, step) for span in intervals)
        return self._is_due

    def save_if_due(self, state: TrainState) -> Path | None:
        """Save what is due; return the checkpoint's path, or None if no checkpoint is saved.

        While steps are bad a checkpoint waits: the run may have to be rolled back to an older one.
        """
        if not self._prepared:  # as early as the optimizer has its state
            self._prepared = True
            if is_main():
                parts = checkpoint_parts(state)
                self._writer.submit(lambda: self._copies.allocate(parts))
        self._writer.poll()
        step, train = state.step, self._config.train
        snapshot = self._snapshot_is_due(step)
        if self.is_due(state) and (step == train.steps or not state.guard.in_a_row):
            return self.save(state, snapshot=snapshot)
        if snapshot:
            parts = self._copy_to_host(average_parts(state))
            self._snapshot = ema_snapshot_folder(self._run, step)
            if is_main():
                self._writer.submit(lambda: self._write_snapshot(step, parts))
        return None

    def save(self, state: TrainState, *, snapshot: bool = False) -> Path:
        """Copy a checkpoint and begin to write it, once for each step; return its path.

        Args:
            state: after its step, with the guard's records fetched.
            snapshot: also write a snapshot of the EMA.
        """
        self._is_due = False
        before, self.newest = self.newest, checkpoint_folder(self._run, state.step)
        if self.newest != before:
            step, is_good = state.step, not state.guard.in_a_row
            parts = self._copy_to_host(checkpoint_parts(state))
            if is_main():
                self._writer.submit(
                    lambda: self._write(step, parts, snapshot=snapshot, remove_old=is_good)
                )
        return self.newest

    def saved_ema(self, step: int) -> Path | None:
        """The checkpoint or snapshot with a step's EMA, maybe still being written; else None."""
        for folder in (checkpoint_folder(self._run, step), ema_snapshot_folder(self._run, step)):
            if folder in (self.newest, self._snapshot):
                return folder
        return None

    def _snapshot_is_due(self, step: int) -> bool:
        """Whether a snapshot is due; the last step needs one, to reconstruct averages at."""
        train = self._config.train
        is_last = train.ema == "power" and step == train.steps
        return is_last or _divides(train.snapshot_every, step)

    def _copy_to_host(self, parts: Mapping[str, Any]) -> dict[str, Any]:
        """Copy to the main process, to which all processes send their parts of sharded tensors."""
        self._writer.wait()  # until the copies from last time are free
        return self._copies.copy(parts)

    def _write(
        self, step: int, parts: Mapping[str, Any], *, snapshot: bool, remove_old: bool
    ) -> None:
        train = self._config.train
        save_checkpoint(self._run, self._config, replace(self._meta, step=step), **parts)
        if remove_old:
            remove_old_checkpoints(self._run, train.keep, train.keep_every)
        if snapshot:
            self._write_snapshot(step, parts)
        if self._uploader is not None:
            self._uploader.upload(remove_old=remove_old)

    def _write_snapshot(self, step: int, parts: Mapping[str, Any]) -> None:
        """Write the averages; those of `train.ema` power, of which there are many, in float16."""
        folder, meta = ema_snapshot_folder(self._run, step), replace(self._meta, step=step)
        weights, narrow = parts["ema"], parts.get("narrow")
        if narrow is not None:  # tables of positions stay float32
            weights = {name: v.half() if name in narrow else v for name, v in weights.items()}
            narrow = {name: value.half() for name, value in narrow.items()}
        save_for_sampling(folder, self._config, meta, weights, narrow)


def _divides(span: int | None, step: int) -> bool:
    return span is not None and step % span == 0
