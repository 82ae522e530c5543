"""Attention outputs reused for several steps (Zhao et al. 2024, "Pyramid Attention Broadcast").

The three kinds change at different speeds from step to step: spatial attention fastest, cross
attention to text slowest. At both ends of the schedule all change fast, so nothing is reused there.
"""

# Axes: b clips, f frames, s tokens of a frame, d width.

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from latte_cli.caching.policy import Network, SamplingProgress, block_pairs, count_blocks, patched
from latte_cli.models.layers import Block
from latte_cli.models.text_layers import TextBlock


@dataclass(frozen=True)
class AttentionBroadcast:
    """Compute each kind of attention only every few steps within a range of timesteps.

    Attributes:
        spatial: steps that one spatial attention serves; also one that is half temporal.
        temporal: steps that one temporal attention serves.
        text: steps that one attention to text serves.
        low: timesteps above this one,
        high: and below this one, of 1000, are the range.
    """

    spatial: int = 2
    temporal: int = 4
    text: int = 6
    low: float = 100
    high: float = 800
    needs_batch_of_one = False

    @property
    def name(self) -> str:
        """With the numbers of steps and the range."""
        steps = f"{self.spatial}/{self.temporal}/{self.text}"
        return f"pab {steps} in {self.low:g}-{self.high:g}"

    def install(self, model: Network, progress: SamplingProgress, stack: ExitStack) -> None:
        """Patch the attentions; see `Policy`."""
        count_blocks(model, progress, stack)
        for block in (block for pair in block_pairs(model) for block in pair):
            for module, method, every in self._attentions(block):
                attention = _CachedAttention(
                    getattr(module, method), progress, every, (self.low, self.high)
                )
                stack.enter_context(patched(module, method, attention))

    def _attentions(self, block: nn.Module) -> Iterator[tuple[nn.Module, str, int]]:
        """Each attention of a block, the method that computes it, and the steps that it serves."""
        if isinstance(block, TextBlock):
            yield block.attn1, "along", self.spatial if block.axis == "space" else self.temporal
            if block.attn2 is not None:
                yield block.attn2, "to_text", self.text
            return
        assert isinstance(block, Block)
        for attention in (block.attn, block.temporal_attn):
            if attention is not None:
                is_temporal = "space" not in attention.axes
                yield attention, "forward", self.temporal if is_temporal else self.spatial


class _CachedAttention:
    """An attention that returns its last output again for `every` steps."""

    def __init__(
        self,
        compute: Callable[..., Tensor],
        progress: SamplingProgress,
        every: int,
        timestep_range: tuple[float, float],
    ) -> None:
        self._compute, self._progress, self._every = compute, progress, every
        self._low, self._high = timestep_range
        self._computed_at = 0
        self._output: Tensor | None = None
        self._shape: tuple[int, ...] = ()

    def __call__(self, *inputs: Any) -> Tensor:
        progress = self._progress
        progress.tally.attentions_total += 1
        # The queries' tokens: `along` takes the axis before them.
        x = next(value for value in inputs if isinstance(value, Tensor))
        is_recent = 0 < progress.step - self._computed_at < self._every
        is_in_range = self._low < progress.timestep < self._high
        if self._output is not None and is_recent and self._shape == x.shape and is_in_range:
            return self._output
        progress.tally.attentions += 1
        self._output = self._compute(*inputs)
        self._computed_at, self._shape = progress.step, tuple(x.shape)
        return self._output
