"""How alike the frames of a clip are at each block, by hooks on a network that runs."""

# Axes: b clips, f frames (tubes, where tokens are tubes), s tokens of a frame, d width.

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from latte_cli.evaluation.similarity.measures import (
    BlockSimilarity,
    Similarity,
    cosines,
    unit_features,
)
from latte_cli.models import Latte
from latte_cli.models.layers import Attention, Block


def shares(attention: Attention, heads_out: Tensor) -> tuple[Tensor, ...]:
    """What the heads of each axis add to the output of an attention that is shared out among axes.

    The last layer is linear, so its output is the sum of these shares, and its bias, which belongs
    to neither and is left out.

    Args:
        attention: with w axes.
        heads_out: the input of its last layer, (b, f, s, d): the axes' channels one after another.

    Returns:
        For each of `attention.axes` (b, f, s, d) float32.
    """
    ways = len(attention.axes)
    with torch.autocast(heads_out.device.type, enabled=False):
        parts = zip(
            heads_out.float().chunk(ways, dim=-1),
            attention.proj.weight.float().chunk(ways, dim=1),
            strict=True,
        )
        return tuple(F.linear(part, columns) for part, columns in parts)


class SimilarityCollector:
    """Frame similarities at all blocks of a network, averaged over the clips added.

    Of each place only the sum of its (f, f) matrices is kept; features live as long as the block
    that they come from.

    Args:
        model: the network; hooks hang on its blocks while clips are added, and at no other time.
    """

    def __init__(self, model: Latte) -> None:
        self.model = model
        self.clips = 0
        self._sums: dict[tuple[int, str], Tensor] = {}
        self._spatial: Tensor | None = None  # of the block under way, until its temporal part

    @torch.no_grad()
    def add(self, x_t: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Run the network on some clips and take their similarities along.

        Args:
            x_t: noisy latents, (b, f, c, h, w) float.
            t: timesteps, (b,) long.
            y: labels, (b,) long; None for an unconditional network.

        Returns:
            The network's output, (b, f, 2c, h, w), as without this.
        """
        patch = self.model.shape.patch
        with self._watching((x_t.shape[3] // patch) * (x_t.shape[4] // patch)):
            out: Tensor = self.model(x_t, t, y)
        self.clips += len(x_t)
        return out

    def result(self) -> tuple[BlockSimilarity, ...]:
        """The averages so far, block by block.

        Raises:
            ShapeError: if clips have a single frame.
        """
        assert self.clips, "no clips were added"
        blocks = []
        for number, axes in enumerate(self.model.shape.attentions):
            found = {
                place: Similarity.of(total / self.clips)
                for (block, place), total in self._sums.items()
                if block == number
            }
            blocks.append(BlockSimilarity(number, axes, **found))
        return tuple(blocks)

    @contextmanager
    def _watching(self, locations: int) -> Iterator[None]:
        """Hooks on all blocks; tokens behind the first `locations` of a frame are not its own."""
        with ExitStack() as stack:
            for number, block in enumerate(self.model.blocks):
                for handle in self._hooks(number, cast(Block, block), locations):
                    stack.callback(handle.remove)
            yield
        self._spatial = None

    def _hooks(self, number: int, block: Block, locations: int) -> list[RemovableHandle]:
        def take(module: nn.Module, args: Any, out: Tensor) -> None:
            self._take(number, output=out[:, :, :locations])

        def take_space(module: nn.Module, args: Any, out: Tensor) -> None:
            self._spatial = out[:, :, :locations]

        def take_time(module: nn.Module, args: Any, out: Tensor) -> None:
            assert self._spatial is not None
            self._take(number, space=self._spatial, time=out[:, :, :locations])

        def take_shares(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            parts = shares(block.attn, args[0][:, :, :locations])
            self._take(number, **dict(zip(block.attn.axes, parts, strict=True)))

        handles = [block.register_forward_hook(take)]
        if block.temporal_attn is not None:
            handles.append(block.attn.register_forward_hook(take_space))
            handles.append(block.temporal_attn.register_forward_hook(take_time))
        elif len(block.attn.axes) > 1:
            handles.append(block.attn.proj.register_forward_pre_hook(take_shares))
        return handles

    def _take(self, number: int, **places: Tensor) -> None:
        """Add to a block's sums; each place's tokens are (b, f, s, d)."""
        features = {place: unit_features(tokens) for place, tokens in places.items()}
        found = {place: cosines(value, value) for place, value in features.items()}
        if "space" in features and "time" in features:
            found["mutual"] = cosines(features["space"], features["time"])
        for place, values in found.items():
            self._sums[number, place] = self._sums.get((number, place), 0) + values.sum(0)
