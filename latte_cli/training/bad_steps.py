"""What is said and done about bad steps: their clips are named, and too many send the run back."""

import json
import math
from pathlib import Path

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
from latte_cli.runtime.files import write_json_lines
from latte_cli.training.guard import BadStep
from latte_cli.training.monitoring.rows import read_rows
from latte_cli.training.state import TrainState, load_state, restart_from

_NAMED = 3


class BadSteps:
    """bad_steps.jsonl: a line for each step that was skipped, with its clips, and for going back.

    Lines of steps that a resumed run takes again are dropped: it writes them again.

    Args:
        run: the run's folder.
        step: that the run is at.
        sampler: knows which clips a batch had.
        console: where it is told, too.
    """

    def __init__(self, run: Path, step: int, sampler: ClipSampler, console: Console) -> None:
        self._path, self._sampler, self._console = run / "bad_steps.jsonl", sampler, console
        self._last: BadStep | None = None
        if is_main() and self._path.is_file():
            rows = read_rows(self._path)
            write_json_lines(self._path, [row for row in rows if row["step"] <= step])

    def take(self, state: TrainState) -> None:
        """Fetch the guard's verdicts from the device, and tell of bad steps."""
        for bad in state.guard.take(state.step):
            self._last = bad
            number = bad.step - 1 + state.data_offset
            clips = self._sampler.names(number) if is_main() else [[""]]
            videos = list(dict.fromkeys(clip[0] for clip in clips))
            images = list(dict.fromkeys(name for clip in clips for name in clip[1:]))
            self._write({**_json(bad), "batch": number, "clips": videos, "images": images})
            shown = ", ".join(videos[:_NAMED]) + (", …" if len(videos) > _NAMED else "")
            self._console.warn(f"step {bad.step} is skipped: {bad.why}; its clips: {shown}")

    def go_back(self, state: TrainState, config: Config, writer: CheckpointWriter) -> None:
        """Put a state that has seen too many bad steps back to the last good checkpoint.

        The batches from there to here are left out.

        Raises:
            TrainingError: if the run went back before.
        """
        since = state.guard.steps_since_gone
        assert since is not None
        here, before = state.step - since, state.times_gone_back
        most = config.train.max_bad_steps
        if before:
            raise TrainingError(
                f"the run has diverged: {most} steps in a row were bad up to step {here}, and it "
                f"went back once before; at the last one {self._last.why if self._last else '?'}",
                hint=f"{self._path} names the clips; if they are sound, a lower train.lr or a "
                "higher train.spike_factor may help: checkpoints are as they were",
            )
        writer.wait()
        checkpoint = broadcast_from_main(lambda: _last_good(self._path.parent))
        offset = state.data_offset
        if checkpoint is None:
            restart_from(state, config)
        else:
            load_state(state, checkpoint)
        state.times_gone_back = before + 1
        state.data_offset = offset + here - state.step
        left_out = here - state.step
        where = f"to {checkpoint}" if checkpoint else "to the beginning, before any checkpoint"
        self._write({"step": here, "back_to": state.step, "batches_left_out": left_out})
        self._console.warn(
            f"{most} steps in a row were bad, up to step {here}: going back {where}; the "
            f"{left_out} batches from there to here are left out"
        )

    def _write(self, row: dict[str, object]) -> None:
        if is_main():
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _json(bad: BadStep) -> dict[str, object]:
    """A bad step as JSON, which has no word for what is not finite."""
    told = {"loss": bad.loss, "grad_norm": bad.grad_norm, "median": bad.median}
    finite = {key: value if math.isfinite(value) else None for key, value in told.items()}
    return {"step": bad.step, "why": bad.why, **finite}


def _last_good(run: Path) -> Path | None:
    """The newest checkpoint that is whole and was not saved amid bad steps; newer ones go."""
    for checkpoint in reversed(list_checkpoints(run)):
        if find_corruption(checkpoint) is not None:
            set_aside(checkpoint)
        elif not read_progress(checkpoint).get("bad_steps_in_a_row", 0):
            return checkpoint
        else:
            remove_checkpoint(checkpoint)
    return None
