"""Frame similarities at each block, collected by hooks on a running network."""

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


def split_attention_output(attention: Attention, heads_out: Tensor) -> tuple[Tensor, ...]:
    """The part of an attention's output that comes from the heads of each axis (Variant 4).

    The last layer is linear, so its output is the sum of these parts and its bias, which is left
    out.

    Args:
        attention: whose heads are divided among axes.
        heads_out: the input of its last layer, (b, f, s, d): channels of the first axis, then of
            the second.

    Returns:
        For each of `attention.axes` (b, f, s, d) float32.
    """
    count = len(attention.axes)
    with torch.autocast(heads_out.device.type, enabled=False):
        parts = zip(
            heads_out.float().chunk(count, dim=-1),
            attention.proj.weight.float().chunk(count, dim=1),
            strict=True,
        )
        return tuple(F.linear(part, columns) for part, columns in parts)


class SimilarityCollector:
    """Frame similarities at all blocks of a network, averaged over the clips added.

    Only sums of (f, f) matrices are kept; features are freed as soon as their block has run.

    Args:
        model: the network; its blocks have hooks only while clips are added.
    """

    def __init__(self, model: Latte) -> None:
        self.model = model
        self.clips = 0
        self._sums: dict[tuple[int, str], Tensor] = {}
        self._spatial: Tensor | None = None  # of the current block, until its temporal attention

    @torch.no_grad()
    def add(self, x_t: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Run the network on clips and add their similarities.

        Args:
            x_t: noisy latents, (b, f, c, h, w) float.
            t: timesteps, (b,) long.
            y: labels, (b,) long; None for an unconditional network.

        Returns:
            The network's output, (b, f, 2c, h, w), unchanged by the hooks.
        """
        patch = self.model.shape.patch
        with self._hooked((x_t.shape[3] // patch) * (x_t.shape[4] // patch)):
            out: Tensor = self.model(x_t, t, y)
        self.clips += len(x_t)
        return out

    def result(self) -> tuple[BlockSimilarity, ...]:
        """The averages over the clips so far, one per block.

        Raises:
            ShapeError: if clips have a single frame.
        """
        assert self.clips, "no clips were added"
        blocks = []
        for number, axes in enumerate(self.model.shape.attentions):
            found = {
                place: Similarity.from_matrix(total / self.clips)
                for (block, place), total in self._sums.items()
                if block == number
            }
            blocks.append(BlockSimilarity(number, axes, **found))
        return tuple(blocks)

    @contextmanager
    def _hooked(self, locations: int) -> Iterator[None]:
        """Hooks on all blocks; tokens after the first `locations` of a frame are conditioning."""
        with ExitStack() as stack:
            for number, block in enumerate(self.model.blocks):
                for handle in self._hooks(number, cast(Block, block), locations):
                    stack.callback(handle.remove)
            yield
        self._spatial = None

    def _hooks(self, number: int, block: Block, locations: int) -> list[RemovableHandle]:
        def add_output(module: nn.Module, args: Any, out: Tensor) -> None:
            self._add(number, output=out[:, :, :locations])

        def keep_space(module: nn.Module, args: Any, out: Tensor) -> None:
            self._spatial = out[:, :, :locations]

        def add_space_and_time(module: nn.Module, args: Any, out: Tensor) -> None:
            assert self._spatial is not None
            self._add(number, space=self._spatial, time=out[:, :, :locations])

        def add_parts(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            attention = cast(Attention, block.attn)
            parts = split_attention_output(attention, args[0][:, :, :locations])
            self._add(number, **dict(zip(attention.axes, parts, strict=True)))

        handles = [block.register_forward_hook(add_output)]
        if block.temporal_attn is not None:
            handles.append(block.attn.register_forward_hook(keep_space))
            handles.append(block.temporal_attn.register_forward_hook(add_space_and_time))
        elif block.attn.axes == ("space", "time"):
            handles.append(block.attn.proj.register_forward_pre_hook(add_parts))
        return handles

    def _add(self, number: int, **places: Tensor) -> None:
        """Add to the sums of a block; tokens of each place are (b, f, s, d)."""
        features = {place: unit_features(tokens) for place, tokens in places.items()}
        found = {place: cosines(value, value) for place, value in features.items()}
        if "space" in features and "time" in features:
            found["mutual"] = cosines(features["space"], features["time"])
        for place, values in found.items():
            self._sums[number, place] = self._sums.get((number, place), 0) + values.sum(0)
