"""How far a denoising has come, and functions that stand in for parts of a network meanwhile."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from latte_cli.models import Latte, LatteT2V

Network = Latte | LatteT2V


@dataclass
class Tally:
    """What was computed, and what there was to compute: blocks, and attentions inside them."""

    blocks: int = 0
    blocks_in_all: int = 0
    attentions: int = 0
    attentions_in_all: int = 0

    @property
    def fewer_blocks(self) -> float:
        """How many times fewer blocks were computed than without a cache."""
        return self.blocks_in_all / self.blocks if self.blocks else 1.0

    @property
    def fewer_attentions(self) -> float:
        """The same of attentions."""
        return self.attentions_in_all / self.attentions if self.attentions else 1.0


class Policy(Protocol):
    """What is answered from memory."""

    @property
    def name(self) -> str:
        """Tells it from every other, as clips depend on it."""

    @property
    def one_by_one(self) -> bool:
        """Whether it looks at the clips: then each is drawn alone, to depend on itself alone."""

    def install(self, model: Network, progress: "SamplingProgress", stack: ExitStack) -> None:
        """Put memories in place; `stack` takes them out again."""


@dataclass
class SamplingProgress:
    """How far the denoising of a batch has come.

    Timesteps go down while a batch is denoised. Where they do not, another one begins, to which
    nothing that was kept belongs.

    Attributes:
        step: calls of the network for this batch before this one.
        timestep: of this call; the largest where frames have timesteps of their own.
        tally: what was computed, of all batches.
    """

    step: int = -1
    timestep: float = -1.0
    tally: Tally = field(default_factory=Tally)

    def enter(self, module: nn.Module, values: tuple[Any, ...]) -> None:
        """Before each call of the network, with x and t."""
        timestep = float(values[1].max())
        self.step = self.step + 1 if timestep < self.timestep else 0
        self.timestep = timestep


@contextmanager
def cached(model: Network, policy: Policy | None) -> Iterator[Tally]:
    """Let a network answer from memory while batches are denoised, one after the other.

    Args:
        model: in evaluation mode; as it was, afterwards.
        policy: what is answered from memory; None: nothing.

    Yields:
        What is computed, counted as it goes.
    """
    progress = SamplingProgress()
    with ExitStack() as stack:
        stack.callback(model.register_forward_pre_hook(progress.enter).remove)
        if policy is None:
            count_blocks(model, progress, stack)
        else:
            policy.install(model, progress, stack)
        yield progress.tally


def count_blocks(model: Network, progress: SamplingProgress, stack: ExitStack) -> None:
    """Count every block as computed, as long as `stack` lasts."""
    for block in (block for pair in pairs_of(model) for block in pair):
        stack.enter_context(shadowed(block, "forward", counted(block.forward, progress)))


def pairs_of(model: Network) -> list[tuple[nn.Module, ...]]:
    """Blocks in their order, in groups that attend in space and in time.

    Variants 1 and 2 have such pairs; a block of variants 3 and 4 does both by itself.
    """
    if isinstance(model, LatteT2V):
        blocks = zip(model.transformer_blocks, model.temporal_transformer_blocks, strict=True)
        return [tuple(pair) for pair in blocks]
    step = 1 if model.shape.variant in (3, 4) else 2
    return [tuple(model.blocks[i : i + step]) for i in range(0, len(model.blocks), step)]


@contextmanager
def shadowed(module: nn.Module, name: str, function: Callable[..., Tensor]) -> Iterator[None]:
    """Let another function stand in for a method of one module."""
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
    """A block's forward pass that is counted."""

    def forward(*values: Any) -> Tensor:
        progress.tally.blocks += 1
        progress.tally.blocks_in_all += 1
        return compute(*values)

    return forward
