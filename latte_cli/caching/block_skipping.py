"""Policies that skip blocks: at scheduled steps, or while the first pair hardly changes."""

# Axes: b clips, f frames, s tokens of a frame, d width.

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from latte_cli.caching.policy import Network, SamplingProgress, block_pairs, counted, patched
from latte_cli.runtime.errors import CheckpointError


class Residual:
    """A block that, when skipped, adds an extrapolated residual instead of computing it.

    The residual is the one of the last computed step, extrapolated linearly through the computed
    step before that.

    Args:
        block: its method `forward` is replaced.
        progress: gives the step, and counts.
        is_skipped: called wherever there is a residual to extrapolate from.
    """

    def __init__(
        self, block: nn.Module, progress: SamplingProgress, is_skipped: Callable[[], bool]
    ) -> None:
        self._compute, self._progress, self._is_skipped = block.forward, progress, is_skipped
        self._step = 0  # of the last computed residual
        self._residual: Tensor | None = None
        self._slope: Tensor | None = None  # of the residual, per step

    def __call__(self, x: Tensor, *inputs: Any) -> Tensor:
        """Tokens (b, f, s, d) -> tokens."""
        progress, residual = self._progress, self._residual
        progress.tally.blocks_total += 1
        # A batch grows where an interval of guided steps begins, and shrinks where it ends.
        if progress.step == 0 or (residual is not None and residual.shape != x.shape):
            residual = self._residual = self._slope = None
        if residual is not None and self._is_skipped():
            reused = x + residual
            if self._slope is None:
                return reused
            return reused.add_(self._slope, alpha=progress.step - self._step)
        progress.tally.blocks += 1
        out: Tensor = self._compute(x, *inputs)
        change = out - x
        elapsed = progress.step - self._step
        self._slope = None if residual is None else (change - residual).div_(elapsed)
        self._residual, self._step = change, progress.step
        return out


@dataclass(frozen=True)
class Schedule:
    """Fixed steps at which each pair of blocks is computed, found by `latte calibrate`.

    Attributes:
        computed: for each pair of blocks the steps, the first one always among them.
    """

    computed: tuple[frozenset[int], ...]
    needs_batch_of_one = False

    @property
    def name(self) -> str:
        """With a checksum of the steps."""
        text = repr([sorted(steps) for steps in self.computed])
        return f"schedule {hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def install(self, model: Network, progress: SamplingProgress, stack: ExitStack) -> None:
        """Patch the blocks; see `Policy`.

        Raises:
            CheckpointError: if the network has another number of pairs.
        """
        pairs = block_pairs(model)
        if len(pairs) != len(self.computed):
            raise CheckpointError(
                f"a cache for {len(self.computed)} pairs of blocks, this network has {len(pairs)}",
                hint="`latte calibrate` makes one for this network",
            )
        for pair, steps in zip(pairs, self.computed, strict=True):
            for block in pair:
                residual = Residual(block, progress, lambda s=steps: progress.step not in s)  # type: ignore[misc]  # bound now
                stack.enter_context(patched(block, "forward", residual))


@dataclass(frozen=True)
class Adaptive:
    """Skip all pairs but the first while the residual of the first hardly changes.

    Attributes:
        threshold: mean absolute change of the first pair's residual since the last step at which
            all were computed, relative to its mean size; at 0 all is computed.
    """

    threshold: float = 0.1
    needs_batch_of_one = True

    @property
    def name(self) -> str:
        """With the threshold."""
        return f"adaptive:{self.threshold:g}"

    def install(self, model: Network, progress: SamplingProgress, stack: ExitStack) -> None:
        """Patch the blocks; see `Policy`."""
        first, *others = block_pairs(model)
        detector = _ChangeDetector(self.threshold, len(first), progress)
        for block in first:
            watched = detector.watch(counted(block.forward, progress))
            stack.enter_context(patched(block, "forward", watched))
        for block in (block for pair in others for block in pair):
            residual = Residual(block, progress, lambda: detector.is_unchanged)
            stack.enter_context(patched(block, "forward", residual))


class _ChangeDetector:
    """Compares the residual of the first pair with that of the last fully computed step.

    Args:
        threshold: see `Adaptive`.
        num_blocks: of the first pair.
        progress: gives the step.
    """

    def __init__(self, threshold: float, num_blocks: int, progress: SamplingProgress) -> None:
        self._threshold, self._num_blocks, self._progress = threshold, num_blocks, progress
        self._residuals: list[Tensor] = []  # of this step
        self._reference: Tensor | None = None  # of the last step at which all was computed
        self.is_unchanged = False

    def watch(self, compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """A block of the first pair; its last block decides whether the other pairs are skipped."""

        def forward(x: Tensor, *inputs: Any) -> Tensor:
            out = compute(x, *inputs)
            self._residuals.append(out - x)
            if len(self._residuals) == self._num_blocks:
                self._compare(torch.stack(self._residuals).sum(dim=0))
                self._residuals = []
            return out

        return forward

    def _compare(self, residual: Tensor) -> None:
        reference = self._reference
        self.is_unchanged = False
        if self._progress.step > 0 and reference is not None and reference.shape == residual.shape:
            change = (residual - reference).abs().mean()
            self.is_unchanged = bool(change < self._threshold * reference.abs().mean())
        if not self.is_unchanged:
            self._reference = residual
