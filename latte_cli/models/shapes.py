"""Shapes of networks: sizes and design choices, with their checks."""

# Axes: f frames, s tokens of a frame, d width.

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from latte_cli.config import Config
from latte_cli.config.network_checks import (
    check_blocks,
    check_frame_queries,
    check_text_blocks,
    check_tube,
    check_width,
)
from latte_cli.config.section import Mismatch, class_overrides
from latte_cli.models.attention import Axis, Joint
from latte_cli.runtime.errors import ConfigError

SIZES = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16), "XL": (1152, 28, 16)}
"""Width, blocks and heads of the paper's Table 1, as Variant 1 has them."""

HEADS_OF_WIDTH = {width: heads for width, _, heads in SIZES.values()}
"""Heads of the published widths."""

_MAX_QUERIES = 64  # FrameDiT's ablation goes up to it

Variant = Literal[1, 2, 3, 4, 5, 6]
BlockAxes = tuple[tuple[Axis, ...], ...]
"""For each attention of a block, the axes that it attends along."""


def block_axes(variant: Variant, depth: int) -> tuple[BlockAxes, ...]:
    """Where each block attends.

    Variants 1 to 4 are those of Latte, section 3.2; variants 5 and 6 are FrameDiT-G and -H, which
    are Variant 1 with attention over whole frames in place of, or beside, that of each location.
    """
    space: BlockAxes = (("space",),)
    time: BlockAxes = (("time",),)
    if variant in (1, 5, 6):
        temporal: dict[int, BlockAxes] = {1: time, 5: (("frames",),), 6: (("time", "frames"),)}
        return (space, temporal[variant]) * (depth // 2)
    if variant == 2:
        return (space,) * (depth // 2) + (time,) * (depth // 2)
    if variant == 3:
        return (space + time,) * depth
    return ((("space", "time"),),) * depth


def depth_of_size(size: str, variant: Variant) -> int:
    """Blocks of a named size: variants 1 to 5 have about the same number of parameters.

    A block of width d has 18 d^2 weights: 4 in attention, 8 in the MLP, 6 in its modulation. A
    block of Variant 3 has 24 d^2: 4 more in its second attention, 2 in that attention's shift and
    scale. So Variant 3 has 3/4 as many blocks. Variant 4 divides the heads, not the weights.
    A temporal block of Variant 6 has 22 d^2, the network so a ninth more; it keeps its blocks.
    """
    _, depth, _ = SIZES[size]
    return depth * 3 // 4 if variant == 3 else depth


@contextmanager
def _as_config_error() -> Iterator[None]:
    """Let sizes that do not go together be an error that the user can mend."""
    try:
        yield
    except Mismatch as error:
        raise ConfigError(str(error), hint=error.hint) from error


@dataclass(frozen=True)
class NetworkShape:
    """Sizes that all networks have.

    Attributes:
        latent_size: height and width of the training latents.
        num_frames: frames of the training clips.
        patch: height and width of a token's patch, in latents.
        width: of a token.
        depth: blocks.
        heads: of each attention.
        in_channels: of the latents.
        joint: how temporal modules treat the images of joint training (section 3.3.4).
    """

    latent_size: int
    num_frames: int
    patch: int
    width: int
    depth: int
    heads: int
    in_channels: int = 4
    joint: Joint = field(default="temporal-mask", compare=False)  # no parameter depends on it

    def __post_init__(self) -> None:
        with _as_config_error():
            check_width(self.width, self.heads)
        if self.latent_size % self.patch:
            raise ConfigError(
                f"model.patch {self.patch} does not divide the {self.latent_size} x "
                f"{self.latent_size} latents",
                hint="choose another model.patch or data.size",
            )

    @property
    def grid(self) -> int:
        """Tokens along a side of the trained frame."""
        return self.latent_size // self.patch


@dataclass(frozen=True)
class LatteShape(NetworkShape):
    """Sizes and design of a Latte network.

    Attributes:
        num_classes: number of labels without the null label; None: unconditional.
        variant: order of spatial and temporal attention; see `block_axes`.
        tube: frames in a token, for compression frame patch embedding; None: uniform.
        injection: how timestep and label enter (section 3.3.2).
        temporal_position: how a frame's position enters (section 3.3.3).
        learn_sigma: whether the covariance is predicted, too.
        flow_map: whether it is trained on steps of any length, weighted by their times.
        frame_queries: vectors that a frame's tokens become for attention over whole frames; None
            is the smaller of 64 and its tokens, and for variants without such attention stays None.
    """

    num_classes: int | None = None
    variant: Variant = 1
    tube: int | None = None
    injection: Literal["s-adaln", "tokens"] = "s-adaln"
    temporal_position: Literal["absolute", "rope"] = "absolute"
    learn_sigma: bool = True
    flow_map: bool = False
    frame_queries: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        with _as_config_error():
            check_blocks(self.width, self.depth, self.heads, self.variant, self.temporal_position)
            check_tube(self.tube or 1, self.num_frames)
            tokens = self.grid**2
            check_frame_queries(self.frame_queries, self.variant, self.injection, tokens)
        if self.variant in (5, 6) and self.frame_queries is None:
            object.__setattr__(self, "frame_queries", min(_MAX_QUERIES, tokens))

    @property
    def out_channels(self) -> int:
        """Those of the prediction, then those of the covariance if it is learned."""
        return (2 if self.learn_sigma else 1) * self.in_channels

    @property
    def attentions(self) -> tuple[BlockAxes, ...]:
        """Where each block attends."""
        return block_axes(self.variant, self.depth)

    @property
    def whole_axes(self) -> tuple[Axis, ...]:
        """The axis of which each block needs all tokens, if processes share a clip."""
        return tuple("space" if "space" in first else "time" for first, *_ in self.attentions)

    @property
    def first_of_end(self) -> int:
        """The first block of a flow map that sees the end time: two thirds of the depth."""
        return -(-2 * self.depth // 3)

    @property
    def first_temporal(self) -> int:
        """The first block that attends over frames."""
        temporal = [any(set(axes) - {"space"} for axes in block) for block in self.attentions]
        return temporal.index(True)


@dataclass(frozen=True)
class TextShape(NetworkShape):
    """Sizes of a text-to-video network (as Latte-1).

    Attributes:
        text_width: of a text token, as the text encoder gives it.
        interpolation_scale: divisor of the positions of the trained grid.
        norm_eps: of the layer norms in blocks.
    """

    text_width: int = 4096
    interpolation_scale: float = 1.0
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        with _as_config_error():
            check_text_blocks(self.depth)

    @property
    def attentions(self) -> tuple[BlockAxes, ...]:
        """Where each block attends, beside spatial blocks' attention to text."""
        return block_axes(1, self.depth)


def shape_from_config(config: Config) -> LatteShape | TextShape:
    """The shape of a configuration's network.

    A text model of a named size has that many spatial blocks and as many temporal ones, as Latte-1
    has PixArt-alpha's 28 blocks and 28 temporal ones.

    Raises:
        ConfigError: if values do not fit together; names both.
    """
    model, is_text = config.model, config.model.condition == "text"
    if model.condition == "class" and model.num_classes is None:
        raise ConfigError(
            "model.condition is class, but the number of classes is not given",
            hint=f"{class_overrides(8)} for 8 classes, or {class_overrides(None)}",
        )
    if model.size is not None:
        width, _, heads = SIZES[model.size]
        depth = depth_of_size(model.size, model.variant) * (2 if is_text else 1)
    else:
        width, depth, heads = model.width or 0, model.depth or 0, model.heads or 0
    common = NetworkShape(
        latent_size=config.latent_size,
        num_frames=config.data.frames,
        patch=model.patch,
        width=width,
        depth=depth,
        heads=heads,
        in_channels=config.vae.latent_channels,
        joint=model.joint,
    )
    if is_text:
        scale = interpolation_scale(config.latent_size)
        return TextShape(**vars(common), text_width=model.text_width, interpolation_scale=scale)
    return LatteShape(
        **vars(common),
        num_classes=model.num_classes,
        variant=model.variant,
        tube=model.tube if model.patch_embedding == "compression" else None,
        injection=model.injection,
        temporal_position=model.temporal_position,
        learn_sigma=model.learn_sigma,
        flow_map=config.diffusion.objective == "flow-map",
        frame_queries=model.frame_queries,
    )


def interpolation_scale(latent_size: int) -> int:
    """PixArt-alpha's divisor of positions: 1 up to latents of 64 x 64, 2 at 128 x 128."""
    return max(latent_size // 64, 1)
