"""What every cache policy shares: patching a network, tracking the step, counting blocks."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from latte_cli.models import Latte, LatteT2V

Network = Latte | LatteT2V


@dataclass
class Tally:
    """How many blocks, and attentions inside them, were called and how many of them computed."""

    blocks: int = 0
    blocks_total: int = 0
    attentions: int = 0
    attentions_total: int = 0

    @property
    def fewer_blocks(self) -> float:
        """How many times fewer blocks were computed than without a cache."""
        return self.blocks_total / self.blocks if self.blocks else 1.0

    @property
    def fewer_attentions(self) -> float:
        """How many times fewer attentions were computed than without a cache."""
        return self.attentions_total / self.attentions if self.attentions else 1.0


class Policy(Protocol):
    """Decides which outputs are reused from an earlier step."""

    @property
    def name(self) -> str:
        """Unique per policy and its settings: clips depend on it, so folders record it."""

    @property
    def needs_batch_of_one(self) -> bool:
        """Whether it decides by the clips: then each is sampled alone, to depend on no other."""

    def install(self, model: Network, progress: "SamplingProgress", stack: ExitStack) -> None:
        """Patch the network; `stack` undoes it."""


@dataclass
class SamplingProgress:
    """The denoising step that a batch is at.

    Timesteps decrease while a batch is denoised. Where one does not, another batch begins, for
    which no cached output is valid.

    Attributes:
        step: calls of the network for this batch before this one.
        timestep: of this call; the largest where each frame has its own.
        tally: counts over all batches.
    """

    step: int = -1
    timestep: float = -1.0
    tally: Tally = field(default_factory=Tally)

    def on_forward(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Forward pre-hook of the network, whose inputs are x and t."""
        timestep = float(inputs[1].max())
        self.step = self.step + 1 if timestep < self.timestep else 0
        self.timestep = timestep


@contextmanager
def cached(model: Network, policy: Policy | None) -> Iterator[Tally]:
    """Patch a network to reuse cached outputs while batches are denoised, one after the other.

    Args:
        model: in evaluation mode; restored on exit.
        policy: what is reused; None: nothing, blocks are only counted.

    Yields:
        The running counts.
    """
    progress = SamplingProgress()
    with ExitStack() as stack:
        stack.callback(model.register_forward_pre_hook(progress.on_forward).remove)
        if policy is None:
            count_blocks(model, progress, stack)
        else:
            policy.install(model, progress, stack)
        yield progress.tally


def count_blocks(model: Network, progress: SamplingProgress, stack: ExitStack) -> None:
    """Count every block as computed, until `stack` is closed."""
    for block in (block for pair in block_pairs(model) for block in pair):
        stack.enter_context(patched(block, "forward", counted(block.forward, progress)))


def block_pairs(model: Network) -> list[tuple[nn.Module, ...]]:
    """The blocks in order, in groups that attend in space and in time.

    A block of variants 3 and 4 does both by itself; the others have such pairs.
    """
    if isinstance(model, LatteT2V):
        blocks = zip(model.transformer_blocks, model.temporal_transformer_blocks, strict=True)
        return [tuple(pair) for pair in blocks]
    step = 1 if model.shape.variant in (3, 4) else 2
    return [tuple(model.blocks[i : i + step]) for i in range(0, len(model.blocks), step)]


@contextmanager
def patched(module: nn.Module, name: str, function: Callable[..., Tensor]) -> Iterator[None]:
    """Replace a method of one module."""
    before = module.__dict__.get(name)
    module.__dict__[name] = function
    try:
        yield
    finally:
        if before is None:
            del module.__dict__[name]
        else:
            module.__dict__[name] = before


def counted(compute: Callable[..., Tensor], progress: SamplingProgress) -> Callable[..., Tensor]:
    """A block's forward pass that counts its calls."""

    def forward(*inputs: Any) -> Tensor:
        progress.tally.blocks += 1
        progress.tally.blocks_total += 1
        return compute(*inputs)

    return forward
