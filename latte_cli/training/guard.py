"""The spike guard: skips the step of a bad batch, decided on the device without waiting for it.

A step is bad if its loss or its gradient is not finite, or if the gradient norm is far above its
running median. Records stay on the device until they are fetched.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from latte_cli.config.train_section import TrainConfig

_WINDOW = 100
"""Good steps that the running median is taken over; until then no gradient norm is a spike."""


@dataclass(frozen=True)
class BadStep:
    """A step that was skipped.

    Attributes:
        step: its number, from 1.
        loss: mean over the batch.
        grad_norm: of all parameters together.
        median: of the gradient norms of good steps before it; not finite if there were too few.
    """

    step: int
    loss: float
    grad_norm: float
    median: float

    @property
    def why(self) -> str:
        """The reason, as a message."""
        if not math.isfinite(self.loss):
            return f"the loss is {self.loss}"
        if not math.isfinite(self.grad_norm):
            return f"the gradient norm is {self.grad_norm}"
        times = self.grad_norm / self.median if self.median else math.inf
        return (
            f"the gradient norm is {self.grad_norm:.3g}, {times:.3g} times the running median of "
            f"{self.median:.3g}"
        )


class SpikeGuard:
    """Finds bad steps and counts them.

    After `train.max_bad_steps` bad steps in a row every further step is skipped as well, so it does
    not matter how late the loop notices.

    Args:
        train: spike_factor and max_bad_steps are read.
        device: of losses and gradient norms.

    Attributes:
        skipped: bad steps so far, as of the last `fetch`.
        in_a_row: bad steps in a row up to the last one, as of then.
    """

    def __init__(self, train: TrainConfig, device: torch.device) -> None:
        self._factor, self._limit = train.spike_factor, train.max_bad_steps
        self._slots = torch.arange(_WINDOW, device=device)
        self._norms = torch.full((_WINDOW,), math.inf, device=device)
        # Norms recorded, bad steps in a row, bad steps in all.
        self._counts = torch.zeros(3, dtype=torch.long, device=device)
        # Loss, gradient norm, median and whether the step was bad; a ring buffer.
        self._records = torch.zeros(train.max_bad_steps, 4, device=device)
        self._unfetched = 0
        self.skipped = self.in_a_row = 0

    @property
    def is_full(self) -> bool:
        """Whether the records on the device should be fetched before the next step."""
        return self._unfetched >= self._limit

    @property
    def steps_past_limit(self) -> int | None:
        """Steps since too many were bad in a row, as of the last `fetch`; None if they were not."""
        return self.in_a_row - self._limit if self.in_a_row >= self._limit else None

    def check(self, loss: Tensor, grad_norm: Tensor) -> Tensor:
        """Decide on the device whether a step is to be skipped.

        Args:
            loss: of the whole batch, 0-d float32; the same on every process, as is grad_norm.
            grad_norm: before clipping, 0-d float32.

        Returns:
            1 for a bad step, 0 for a good one, 0-d float32.
        """
        recorded, in_a_row, skipped = self._counts.unbind()
        median = self._norms.sort().values[(_WINDOW - 1) // 2]
        spike = (recorded >= _WINDOW) & (grad_norm > self._factor * median)
        past_limit = in_a_row >= self._limit
        bad = past_limit | spike | ~loss.isfinite() | ~grad_norm.isfinite()
        is_new = bad & ~past_limit
        slot = (self._slots == recorded % _WINDOW) & ~bad
        self._norms = torch.where(slot, grad_norm, self._norms)
        self._counts = torch.stack([recorded + ~bad, (in_a_row + 1) * bad, skipped + is_new])
        record = torch.stack([loss, grad_norm, median, is_new.float()])
        self._records[self._unfetched % self._limit] = record
        self._unfetched += 1
        return bad.float()

    def fetch(self, step: int) -> list[BadStep]:
        """Fetch the records since the last call from the device.

        Args:
            step: steps taken so far.

        Returns:
            The bad steps among the last `train.max_bad_steps`, oldest first.
        """
        count = min(self._unfetched, self._limit)
        order = [n % self._limit for n in range(self._unfetched - count, self._unfetched)]
        fetched = torch.cat([self._counts.double(), self._records.double().flatten()]).tolist()
        _, self.in_a_row, self.skipped = (int(value) for value in fetched[:3])
        rows = [fetched[3 + 4 * slot : 7 + 4 * slot] for slot in order]
        self._unfetched = 0
        numbered = enumerate(rows, step - count + 1)
        return [BadStep(number, *row[:3]) for number, row in numbered if row[3]]

    def state_dict(self) -> dict[str, Tensor]:
        """What later steps depend on, on the device."""
        return {"norms": self._norms, "counts": self._counts}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore a state; records not fetched yet are dropped."""
        self._norms.copy_(state["norms"])
        self._counts.copy_(state["counts"])
        _, self.in_a_row, self.skipped = state["counts"].tolist()
        self._unfetched = 0

    def reset(self) -> None:
        """Forget all steps."""
        counts = torch.zeros(3, dtype=torch.long)
        self.load_state_dict({"norms": torch.full((_WINDOW,), math.inf), "counts": counts})
