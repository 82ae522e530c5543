"""Parameters, tokens and FLOPs of a design, counted on the meta device."""

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
from latte_cli.config.train_section import count_passing
from latte_cli.models.attention import Axis
from latte_cli.models.inputs import Route
from latte_cli.models.latte import Latte
from latte_cli.models.latte_t2v import LatteT2V
from latte_cli.models.loading import new_network
from latte_cli.models.shapes import LatteShape, TextShape, shape_from_config

TEXT_TOKENS = 120  # the longest text that Latte-1's text encoder gives


@dataclass(frozen=True)
class Design:
    """A network, and the cost of one forward pass of one clip.

    Attributes:
        variant: order of spatial and temporal attention.
        depth: blocks.
        width: of a token.
        heads: of each attention.
        parameters: trained ones, without tables of positions.
        tokens: of a clip.
        attention: for each block the sequence length along each axis: the tokens of a frame, or
            those of a location, or the whole frames, over time.
        flops: of matrix products and convolutions; a multiply-add counts as two.
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
        """The paper's FLOPs."""
        return self.flops // 2


def count_design(config: Config) -> Design:
    """Count parameters, tokens and operations of a configuration's network.

    Args:
        config: `data` gives the clip; images of joint training are not counted.

    Raises:
        ConfigError: if values do not fit together.
    """
    shape = shape_from_config(config)
    with _on_meta_device():
        model = new_network(shape).eval()
        tokens, flops = _count_forward(model)
        parameters = sum(value.numel() for value in model.parameters())
    _, frames, locations, _ = tokens
    length: dict[Axis, int] = {"space": locations, "time": frames, "frames": frames}
    return Design(
        variant=shape.variant if isinstance(shape, LatteShape) else 1,
        depth=shape.depth,
        width=shape.width,
        heads=shape.heads,
        parameters=parameters,
        tokens=frames * locations,
        attention=tuple(
            {axis: length[axis] for axes in block for axis in axes} for block in shape.attentions
        ),
        flops=flops,
    )


def count_training_flops(config: Config) -> int:
    """FLOPs of training on one clip and its joint images, see `training_flops_by_part`."""
    return sum(training_flops_by_part(config).values())


def training_flops_by_part(config: Config) -> dict[str, int]:
    """FLOPs of training on one clip and its joint images.

    The backward pass of a matrix product is two products, so it costs twice the forward pass; or
    as much, if adapters alone are trained, since then weights have no gradient. The recomputation
    of `train.checkpointing` is not counted. With `train.route` tokens wait in these passes alone.

    Returns:
        Of the forward and backward pass, of the two predictions that `train.guidance_target`
        compares, of the teacher's answers, as if it were of the same size, and of a flow map's
        derivative: a product and its change are two products, for half of the clips. Between
        `diffusion.map_levels` there is none, and an answer is a path. Parts that the run does not
        have are left out.

    Raises:
        ConfigError: if values do not fit together.
    """
    shape, train = shape_from_config(config), config.train
    with _on_meta_device():
        model = new_network(shape).eval()
        _, flops = _count_forward(model, config.data.num_images)
        trained = flops
        if train.route is not None:
            passing = count_passing(config.tokens_per_frame, train.route.share)
            route = Route(train.route.blocks(shape.depth), torch.arange(passing)[None])
            _, trained = _count_forward(model, config.data.num_images, route)
    passes = 3 if train.lora is None else 2
    parts = {"forward and backward": passes * trained}
    if train.guidance_target is not None:
        reuse = train.teacher_reuse if train.guidance_target_from == "teacher" else 1
        parts["guidance trained in"] = 2 * flops // reuse
    elif train.teacher is not None:
        parts["teacher"] = round(_teacher_answers(config) * flops)
    if config.diffusion.objective == "flow-map" and config.diffusion.map_levels is None:
        parts["derivative"] = flops
    return parts


def _teacher_answers(config: Config) -> float:
    """How often `train.teacher` answers for a clip in a step, on average."""
    train, levels = config.train, config.diffusion.map_levels
    evaluations = 1 if levels is None else len(levels) * train.teacher_steps + 1
    return (1 if train.teacher_guidance == 1 else 2) * evaluations / train.teacher_reuse


def _count_forward(
    model: Latte | LatteT2V, num_images: int = 0, route: Route | None = None
) -> tuple[torch.Size, int]:
    """The size of the tokens, (1, f + i, s, d), and the FLOPs of one forward pass.

    Texts are as long as the text encoder lets them be.
    """
    shape, sizes = model.shape, []

    def record_size(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        sizes.append(inputs[0].shape)

    model.blocks[0].register_forward_pre_hook(record_size)
    side = shape.latent_size
    x = torch.zeros(1, shape.num_frames + num_images, shape.in_channels, side, side)
    cond: dict[str, Any] = {"num_images": num_images}
    if isinstance(shape, TextShape):
        cond["text"] = torch.zeros(1, TEXT_TOKENS, shape.text_width)
        if num_images:
            cond["text_image"] = torch.zeros(1, num_images, TEXT_TOKENS, shape.text_width)
    else:
        cond["route"] = route
        if shape.num_classes is not None:
            cond["y"] = torch.tensor([0])
            if num_images:
                cond["y_image"] = torch.zeros(1, num_images, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(x, torch.zeros(1), **cond)
    return sizes[0], counter.get_total_flops()


@contextmanager
def _on_meta_device() -> Iterator[None]:
    """New tensors have no values, so that the largest network is built at once.

    Attention is computed by matrix products, since not every version of PyTorch counts the FLOPs
    of its fused kernels.
    """
    with torch.device("meta"), sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        yield
