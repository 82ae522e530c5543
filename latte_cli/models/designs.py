"""What a design costs, counted over the real network without its memory or its time."""

# Axes: b clips, f frames (of tubes, where tokens are tubes), i images, s tokens a frame, d width.

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from latte_cli.config import Config
from latte_cli.models.attention import Axis
from latte_cli.models.latte import Latte
from latte_cli.models.shapes import LatteShape, shape_from_config
from latte_cli.runtime.errors import ConfigError


@dataclass(frozen=True)
class Design:
    """A network, and what one forward pass of one clip costs it.

    Attributes:
        variant: order of spatial and temporal attention.
        depth: blocks.
        width: of a token.
        heads: of each attention.
        parameters: that are trained; the tables of positions are not.
        tokens: of a clip.
        attention: for each block, by the axes that it attends along, how many tokens attend to one
            another: those of a frame, those of a place over time.
        flops: of matrix products and convolutions; a multiply-add is two.
    """

    variant: int
    depth: int
    width: int
    heads: int
    parameters: int
    tokens: int
    attention: tuple[dict[Axis, int], ...]
    flops: int

    @property
    def multiply_adds(self) -> int:
        """What the paper's tables call FLOPs."""
        return self.flops // 2


def count_design(config: Config) -> Design:
    """Count parameters, tokens and operations of a configuration's network.

    Args:
        config: `data` gives the clip; images of joint training are left out.

    Raises:
        ConfigError: on values that do not fit together, or on a text model.
    """
    shape = _shape_to_count(config)
    with _without_memory():
        model = Latte(shape).eval()
        tokens, flops = _count_forward(model)
        parameters = sum(value.numel() for value in model.parameters())
    _, frames, places, _ = tokens
    length: dict[Axis, int] = {"space": places, "time": frames}
    return Design(
        variant=shape.variant,
        depth=shape.depth,
        width=shape.width,
        heads=shape.heads,
        parameters=parameters,
        tokens=frames * places,
        attention=tuple(
            {axis: length[axis] for axes in block for axis in axes} for block in shape.attentions
        ),
        flops=flops,
    )


def count_training_flops(config: Config) -> int:
    """Operations of learning from one clip and its joint images: forward and backward pass.

    The backward pass of a product is two products, so it costs twice the forward pass. What
    `train.checkpointing` computes again is left out: it brings nothing forward.

    Raises:
        ConfigError: on values that do not fit together, or on a text model.
    """
    shape = _shape_to_count(config)
    with _without_memory():
        _, flops = _count_forward(Latte(shape).eval(), config.data.num_images)
    return 3 * flops


def _shape_to_count(config: Config) -> LatteShape:
    shape = shape_from_config(config)
    if not isinstance(shape, LatteShape):
        raise ConfigError(
            "the designs of a text model are not counted: it has but one",
            hint="model.condition=none or class",
        )
    return shape


def _count_forward(model: Latte, num_images: int = 0) -> tuple[torch.Size, int]:
    """The size of the tokens, (1, f + i, s, d), and the operations of a clip as it is trained."""
    shape, seen = model.shape, []

    def look(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.append(inputs[0].shape)

    model.blocks[0].register_forward_pre_hook(look)
    side = shape.latent_size
    x = torch.zeros(1, shape.num_frames + num_images, shape.in_channels, side, side)
    y = None if shape.num_classes is None else torch.tensor([0])
    y_image = None if y is None or not num_images else torch.zeros(1, num_images, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(x, torch.zeros(1), y, num_images=num_images, y_image=y_image)
    return seen[0], counter.get_total_flops()


@contextmanager
def _without_memory() -> Iterator[None]:
    """New tensors have sizes and no values, so that the largest network is built in no time.

    Attention is written out as products, since not every version of PyTorch counts its fused
    kernels.
    """
    with torch.device("meta"), sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        yield
