"""Blocks that are skipped: at steps found beforehand, or while the first pair hardly changes."""

# Axes: b clips, f frames, s tokens of a frame, d width.

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from latte_cli.caching.progress import Network, SamplingProgress, counted, pairs_of, shadowed
from latte_cli.runtime.errors import CheckpointError


class Residual:
    """A block that can add what it would be expected to instead of computing it.

    That is what it added at the step it was last computed at, carried on along the line through
    the time before that.

    Args:
        block: its method `forward` is stood in for.
        progress: tells the step, and counts.
        is_skipped: asked at each call but those that have nothing to go by.
    """

    def __init__(
        self, block: nn.Module, progress: SamplingProgress, is_skipped: Callable[[], bool]
    ) -> None:
        self._compute, self._progress, self._is_skipped = block.forward, progress, is_skipped
        self._step = 0
        self._change: Tensor | None = None
        self._slope: Tensor | None = None  # of the change, a step

    def __call__(self, x: Tensor, *values: Any) -> Tensor:
        """Tokens (b, f, s, d) -> tokens."""
        self._progress.tally.blocks_in_all += 1
        # A batch grows where an interval of guided steps begins, and shrinks where it ends.
        if self._progress.step == 0 or (self._change is not None and self._change.shape != x.shape):
            self._change = self._slope = None
        if self._change is not None and self._is_skipped():
            return self._expected(x, self._change)
        self._progress.tally.blocks += 1
        out: Tensor = self._compute(x, *values)
        self._remember(out - x)
        return out

    def _expected(self, x: Tensor, change: Tensor) -> Tensor:
        out = x + change
        if self._slope is None:
            return out
        return out.add_(self._slope, alpha=self._progress.step - self._step)

    def _remember(self, change: Tensor) -> None:
        passed = self._progress.step - self._step
        self._slope = None if self._change is None else (change - self._change).div_(passed)
        self._change, self._step = change, self._progress.step


@dataclass(frozen=True)
class Schedule:
    """The steps at which each pair is computed, found beforehand.

    Attributes:
        computed: for each pair of blocks the steps, the first one always among them.
    """

    computed: tuple[frozenset[int], ...]

    @property
    def name(self) -> str:
        """By a checksum of the steps."""
        text = repr([sorted(steps) for steps in self.computed])
        return f"schedule {hashlib.sha256(text.encode()).hexdigest()[:16]}"

    @property
    def one_by_one(self) -> bool:
        """It is the same for every clip."""
        return False

    def install(self, model: Network, progress: SamplingProgress, stack: ExitStack) -> None:
        """Put memories in place; see `Policy`.

        Raises:
            CheckpointError: if the network has another number of pairs.
        """
        pairs = pairs_of(model)
        if len(pairs) != len(self.computed):
            raise CheckpointError(
                f"a cache for {len(self.computed)} pairs of blocks, this network has {len(pairs)}",
                hint="`latte calibrate` makes one for this network",
            )
        for pair, steps in zip(pairs, self.computed, strict=True):
            for block in pair:
                residual = Residual(block, progress, lambda s=steps: progress.step not in s)  # type: ignore[misc]  # bound now
                stack.enter_context(shadowed(block, "forward", residual))


@dataclass(frozen=True)
class Adaptive:
    """Skip all pairs but the first while that one adds nearly what it added.

    Attributes:
        threshold: mean absolute change of what the first pair adds, since the last step at which
            all were computed, relative to its mean size; at 0 all is computed.
    """

    threshold: float = 0.1

    @property
    def name(self) -> str:
        """With the threshold."""
        return f"adaptive:{self.threshold:g}"

    @property
    def one_by_one(self) -> bool:
        """It decides by the clip."""
        return True

    def install(self, model: Network, progress: SamplingProgress, stack: ExitStack) -> None:
        """Put memories in place; see `Policy`."""
        first, *others = pairs_of(model)
        judge = _Judge(self.threshold, len(first), progress)
        for block in first:
            watched = judge.watch(counted(block.forward, progress))
            stack.enter_context(shadowed(block, "forward", watched))
        for block in (block for pair in others for block in pair):
            residual = Residual(block, progress, lambda: judge.is_skipped)
            stack.enter_context(shadowed(block, "forward", residual))


class _Judge:
    """Sees what the first pair adds, and says whether that has changed.

    Args:
        threshold: see `Adaptive`.
        blocks: of the first pair.
        progress: tells the step.
    """

    def __init__(self, threshold: float, blocks: int, progress: SamplingProgress) -> None:
        self._threshold, self._blocks, self._progress = threshold, blocks, progress
        self._seen: list[Tensor] = []
        self._last: Tensor | None = None  # when all was computed
        self.is_skipped = False

    def watch(self, compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """A block of the first pair, looked at; after its last one it is known what is skipped."""

        def forward(x: Tensor, *values: Any) -> Tensor:
            out = compute(x, *values)
            self._seen.append(out - x)
            if len(self._seen) == self._blocks:
                self._decide(torch.stack(self._seen).sum(dim=0))
                self._seen = []
            return out

        return forward

    def _decide(self, change: Tensor) -> None:
        last = self._last
        self.is_skipped = False
        if self._progress.step > 0 and last is not None and last.shape == change.shape:
            moved = (change - last).abs().mean()
            self.is_skipped = bool(moved < self._threshold * last.abs().mean())
        if not self.is_skipped:
            self._last = change
