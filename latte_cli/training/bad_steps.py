"""Handling bad steps: log the clips of each, and after too many in a row roll the run back."""

import math
from pathlib import Path

from latte_cli.checkpoints.averages import remove_later_snapshots
from latte_cli.checkpoints.folder import (
    find_corruption,
    list_checkpoints,
    remove_checkpoint,
    set_aside,
)
from latte_cli.checkpoints.state import read_progress
from latte_cli.checkpoints.writer import CheckpointWriter
from latte_cli.config import Config
from latte_cli.data.clips import ClipSampler
from latte_cli.runtime.console import Console
from latte_cli.runtime.distributed import broadcast_from_main, is_main
from latte_cli.runtime.errors import TrainingError
from latte_cli.runtime.files import json_lines, write_json_lines
from latte_cli.training.guard import BadStep
from latte_cli.training.monitoring.metrics_log import read_rows
from latte_cli.training.state import TrainState, load_state, reset_to_start

_CLIPS_SHOWN = 3


class BadStepHandler:
    """Logs skipped steps and rollbacks to bad_steps.jsonl, and rolls the run back.

    Lines of steps that a resumed run takes again are dropped, since it writes them again.

    Args:
        run: the run's folder.
        step: the step that the run is at.
        sampler: names the clips of a batch.
        console: shows warnings.
        began_with: the checkpoint that it goes on from, maybe of another run; None: none.
    """

    def __init__(
        self,
        run: Path,
        step: int,
        sampler: ClipSampler,
        console: Console,
        began_with: Path | None = None,
    ) -> None:
        self._run, self._sampler, self._console = run, sampler, console
        self._began_with = began_with
        self._path = run / "bad_steps.jsonl"
        self._last: BadStep | None = None
        if is_main() and self._path.is_file():
            rows = read_rows(self._path)
            write_json_lines(self._path, [row for row in rows if row["step"] <= step])

    def report(self, state: TrainState) -> None:
        """Fetch the guard's records from the device; log bad steps and warn of them."""
        for bad in state.guard.fetch(state.step):
            self._last = bad
            drawn = self._sampler.config.train.drawn_batch
            number = drawn(bad.step - 1 + state.data_offset)
            clips = self._sampler.names(number) if is_main() else [[""]]
            videos = list(dict.fromkeys(clip[0] for clip in clips))
            images = list(dict.fromkeys(name for clip in clips for name in clip[1:]))
            values = {"loss": bad.loss, "grad_norm": bad.grad_norm, "median": bad.median}
            # JSON has no number that is not finite.
            finite = {key: value if math.isfinite(value) else None for key, value in values.items()}
            names = {"batch": number, "clips": videos, "images": images}
            self._append({"step": bad.step, "why": bad.why, **finite, **names})
            shown = ", ".join(videos[:_CLIPS_SHOWN]) + (", …" if len(videos) > _CLIPS_SHOWN else "")
            self._console.warning(f"step {bad.step} is skipped: {bad.why}; its clips: {shown}")

    def check_any_good(self, state: TrainState) -> None:
        """Raise TrainingError if a run has ended and every one of its steps was skipped."""
        if 0 < state.step <= state.guard.skipped:
            raise TrainingError(
                f"the network has not learned: all {state.step} steps were skipped, at the last "
                f"one {self._last.why if self._last else 'loss or gradients were not finite'}",
                hint=f"{self._path} names the clips; give another --run or delete {self._run}, "
                "and try a lower train.lr or train.precision float32",
            )

    def roll_back(self, state: TrainState, config: Config, writer: CheckpointWriter) -> None:
        """Return to the last good checkpoint after too many bad steps, and skip the batches since.

        Raises:
            TrainingError: if the run was rolled back before.
        """
        since = state.guard.steps_past_limit
        assert since is not None
        here, limit = state.step - since, config.train.max_bad_steps
        if state.times_rolled_back:
            raise TrainingError(
                f"the run has diverged: {limit} steps in a row were bad up to step {here}, and it "
                f"went back once before; at the last one {self._last.why if self._last else '?'}",
                hint=f"{self._path} names the clips; if they are sound, a lower train.lr or a "
                "higher train.spike_factor may help: checkpoints are as they were",
            )
        writer.wait()
        checkpoint = broadcast_from_main(self._last_good_checkpoint)
        offset, times = state.data_offset, state.times_rolled_back
        if checkpoint is None:
            reset_to_start(state, config)
        else:
            load_state(state, checkpoint)
        if is_main():
            remove_later_snapshots(self._run, state.step)
        taken = here + offset  # batches; those of a round that is not over would come again
        next_batch = config.train.next_unseen_batch(taken)
        left_out = here - state.step
        state.times_rolled_back = times + 1
        state.data_offset = next_batch - state.step
        where = f"to {checkpoint}" if checkpoint else "to the beginning, before any checkpoint"
        self._append({"step": here, "back_to": state.step, "batches_left_out": left_out})
        self._console.warning(
            f"{limit} steps in a row were bad, up to step {here}: going back {where}; the "
            f"{left_out} batches from there to here are left out"
            + (", and the rest of their round" if next_batch > taken else "")
        )

    def _last_good_checkpoint(self) -> Path | None:
        """The newest whole checkpoint not saved amid bad steps; newer ones are removed.

        Before the run has saved one it is that of another run which it goes on from, if any.
        """
        for checkpoint in reversed(list_checkpoints(self._run)):
            if find_corruption(checkpoint) is not None:
                set_aside(checkpoint)
            elif read_progress(checkpoint).get("bad_steps_in_a_row", 0):
                remove_checkpoint(checkpoint)
            else:
                return checkpoint
        return self._began_with if self._began_with and self._began_with.is_dir() else None

    def _append(self, row: dict[str, object]) -> None:
        if is_main():
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json_lines([row]))
