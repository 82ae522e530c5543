"""Attention outputs used again for some steps (Zhao et al. 2024, "Pyramid Attention Broadcast").

The three kinds change at different speeds from step to step: spatial attention fastest, attention
to text slowest. At both ends of the schedule all change fast, so there nothing is used again.
"""

# Axes: b clips, f frames, s tokens of a frame, d width.

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from latte_cli.caching.progress import Network, SamplingProgress, count_blocks, pairs_of, shadowed
from latte_cli.models.layers import Block
from latte_cli.models.text_layers import TextBlock


@dataclass(frozen=True)
class AttentionBroadcast:
    """Compute each kind of attention at every so many steps of a range of timesteps.

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

    @property
    def name(self) -> str:
        """With the numbers of steps and the range."""
        steps = f"{self.spatial}/{self.temporal}/{self.text}"
        return f"pab {steps} in {self.low:g}-{self.high:g}"

    @property
    def one_by_one(self) -> bool:
        """It is the same for every clip."""
        return False

    def install(self, model: Network, progress: SamplingProgress, stack: ExitStack) -> None:
        """Put memories in place; see `Policy`."""
        count_blocks(model, progress, stack)
        for block in (block for pair in pairs_of(model) for block in pair):
            for module, method, every in self._attentions(block):
                repeated = _Repeated(
                    getattr(module, method), progress, every, (self.low, self.high)
                )
                stack.enter_context(shadowed(module, method, repeated))

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
                alone = attention.axes == ("time",)
                yield attention, "forward", self.temporal if alone else self.spatial


class _Repeated:
    """An attention that gives again what it gave."""

    def __init__(
        self,
        compute: Callable[..., Tensor],
        progress: SamplingProgress,
        every: int,
        between: tuple[float, float],
    ) -> None:
        self._compute, self._progress, self._every, self._between = (
            compute,
            progress,
            every,
            between,
        )
        self._step = 0
        self._given: Tensor | None = None
        self._size: tuple[int, ...] = ()

    def __call__(self, *values: Any) -> Tensor:
        progress, (low, high) = self._progress, self._between
        progress.tally.attentions_in_all += 1
        # What is attended from: `along` has the axis before it.
        x = next(value for value in values if isinstance(value, Tensor))
        fresh = self._given is not None and 0 < progress.step - self._step < self._every
        if fresh and self._size == x.shape and low < progress.timestep < high:
            assert self._given is not None
            return self._given
        progress.tally.attentions += 1
        self._given, self._step, self._size = self._compute(*values), progress.step, tuple(x.shape)
        return self._given
