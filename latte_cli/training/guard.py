"""What keeps a bad batch from harming a network: its step is skipped, on the device, unasked.

A step is bad if its loss or its gradient is not finite, or if the gradient's norm is far above what
it has lately been. Nothing here waits for the device: verdicts are kept there until asked for.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from latte_cli.config.sections import TrainConfig

_WINDOW = 100
"""Gradient norms of good steps that the running median is taken over; no norm is judged before."""


@dataclass(frozen=True)
class BadStep:
    """A step that was skipped.

    Attributes:
        step: its number, from 1.
        loss: mean over the batch.
        grad_norm: of all parameters together.
        median: of the norms of good steps before it; not finite while there were too few.
    """

    step: int
    loss: float
    grad_norm: float
    median: float

    @property
    def why(self) -> str:
        """The reason in words."""
        if not math.isfinite(self.loss):
            return f"the loss is {self.loss}"
        if not math.isfinite(self.grad_norm):
            return f"the gradient's norm is {self.grad_norm}"
        times = self.grad_norm / self.median if self.median else math.inf
        return (
            f"the gradient's norm is {self.grad_norm:.3g}, {times:.3g} times the running median "
            f"of {self.median:.3g}"
        )


class SpikeGuard:
    """Judges steps, and counts those that were bad.

    After `train.max_bad_steps` bad steps in a row every further one is skipped, too, so that it
    does not matter how late this is noticed.

    Args:
        train: spike_factor and max_bad_steps are read.
        device: that losses and norms are on.

    Attributes:
        skipped: bad steps so far, as of the last `take`.
        in_a_row: how many the last ones were, as of then.
    """

    def __init__(self, train: TrainConfig, device: torch.device) -> None:
        self._factor, self._most = train.spike_factor, train.max_bad_steps
        self._places = torch.arange(_WINDOW, device=device)
        self._norms = torch.full((_WINDOW,), math.inf, device=device)
        # Norms recorded, bad steps in a row, bad steps in all.
        self._counts = torch.zeros(3, dtype=torch.long, device=device)
        self._verdicts = torch.zeros(train.max_bad_steps, 4, device=device)
        self._judged = 0
        self.skipped = self.in_a_row = 0

    @property
    def is_full(self) -> bool:
        """Whether the verdicts kept on the device should be taken before the next step."""
        return self._judged >= self._most

    @property
    def steps_since_gone(self) -> int | None:
        """Steps since too many were bad in a row; None if they were not, as of the last `take`."""
        return self.in_a_row - self._most if self.in_a_row >= self._most else None

    def judge(self, loss: Tensor, grad_norm: Tensor) -> Tensor:
        """Whether a step is to be skipped, as a number that stays on the device.

        Args:
            loss: of the whole batch, 0-d float32; the same on every process, as grad_norm.
            grad_norm: before clipping, 0-d float32.

        Returns:
            1 for a bad step, 0 for a good one, 0-d float32.
        """
        recorded, in_a_row, skipped = self._counts.unbind()
        median = self._norms.sort().values[(_WINDOW - 1) // 2]
        spike = (recorded >= _WINDOW) & (grad_norm > self._factor * median)
        gone = in_a_row >= self._most
        bad = gone | spike | ~loss.isfinite() | ~grad_norm.isfinite()
        here = (self._places == recorded % _WINDOW) & ~bad
        self._norms = torch.where(here, grad_norm, self._norms)
        self._counts = torch.stack([recorded + ~bad, (in_a_row + 1) * bad, skipped + (bad & ~gone)])
        told = torch.stack([loss, grad_norm, median, (bad & ~gone).float()])
        self._verdicts[self._judged % self._most] = told
        self._judged += 1
        return bad.float()

    def take(self, step: int) -> list[BadStep]:
        """Fetch what was judged since the last time from the device.

        Args:
            step: steps taken so far.

        Returns:
            The bad steps among them, oldest first; of more than `train.max_bad_steps` the last.
        """
        count = min(self._judged, self._most)
        order = [number % self._most for number in range(self._judged - count, self._judged)]
        fetched = torch.cat([self._counts.double(), self._verdicts.double().flatten()]).tolist()
        _, self.in_a_row, self.skipped = (int(value) for value in fetched[:3])
        rows = [fetched[3 + 4 * place : 7 + 4 * place] for place in order]
        self._judged = 0
        numbered = enumerate(rows, step - count + 1)
        return [BadStep(number, *row[:3]) for number, row in numbered if row[3]]

    def state_dict(self) -> dict[str, Tensor]:
        """What a later step depends on, on the device."""
        return {"norms": self._norms, "counts": self._counts}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state; verdicts not yet taken are forgotten."""
        self._norms.copy_(state["norms"])
        self._counts.copy_(state["counts"])
        _, self.in_a_row, self.skipped = state["counts"].tolist()
        self._judged = 0

    def reset(self) -> None:
        """Begin anew."""
        counts = torch.zeros(3, dtype=torch.long)
        self.load_state_dict({"norms": torch.full((_WINDOW,), math.inf), "counts": counts})
