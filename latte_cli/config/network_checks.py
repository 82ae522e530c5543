"""Sizes of a network that do not go together, whether they come from a preset or from weights."""

from latte_cli.config.section import Mismatch


def check_width(width: int, heads: int) -> None:
    """Raise Mismatch unless a width divides into its heads and into the parts of a position."""
    if width % heads or width % 4:
        raise Mismatch(
            f"model.width {width} does not divide into {heads} heads "
            "and into four quarters of positions",
            hint="choose a width that is a multiple of model.heads and of 4",
        )


def check_blocks(
    width: int, depth: int, heads: int, variant: int, temporal_position: str = "absolute"
) -> None:
    """Raise Mismatch unless blocks and heads divide as a variant divides them.

    Args:
        width: of a token, which divides into the heads.
        depth: number of blocks.
        heads: of each attention.
        variant: order of spatial and temporal attention, 1 to 6.
        temporal_position: absolute or rope.
    """
    if variant in (1, 2, 5, 6) and depth % 2:
        raise Mismatch(
            f"model.depth must be even for variant {variant}, got {depth}",
            hint="it has as many spatial blocks as temporal ones",
        )
    if variant == 4 and heads % 2:
        raise Mismatch(
            f"model.heads must be even for variant 4, got {heads}",
            hint="one half of the heads attends in space, the other in time",
        )
    if temporal_position == "rope" and width // heads % 2:
        raise Mismatch(
            f"rotary positions rotate pairs of channels, but model.width {width} over "
            f"{heads} heads is {width // heads}, which is odd",
            hint="choose a width that is an even multiple of model.heads",
        )


def check_text_blocks(depth: int) -> None:
    """Raise Mismatch unless the blocks of a text-to-video network come in pairs."""
    if depth % 2:
        raise Mismatch(
            f"model.depth must be even for a text model, got {depth}",
            hint="spatial and temporal blocks come in pairs",
        )


def check_tube(tube: int, frames: int) -> None:
    """Raise Mismatch unless a clip divides into tubes."""
    if frames % tube:
        raise Mismatch(
            f"model.tube {tube} does not divide the {frames} frames",
            hint="choose another model.tube or data.frames",
        )


def check_frame_queries(queries: int | None, variant: int, injection: str, tokens: int) -> None:
    """Raise Mismatch unless attention over whole frames, where there is some, fits the frames.

    Args:
        queries: vectors that a frame's tokens become; None: chosen by the network.
        variant: 5 and 6 have such attention.
        injection: how timestep and label enter.
        tokens: of a frame.
    """
    if variant not in (5, 6):
        if queries is not None:
            raise Mismatch(
                f"model.frame_queries is {queries}, but model.variant is "
                f"{variant}: it is for attention over whole frames",
                hint="-o model.variant=5 or 6, or -o model.frame_queries=null",
            )
        return
    if injection == "tokens":
        raise Mismatch(
            f"model.injection tokens adds tokens to each frame, but variant {variant} "
            "weights those of the trained grid",
            hint="-o model.injection=s-adaln, or -o model.variant=1",
        )
    if queries is not None and queries > tokens:
        raise Mismatch(
            f"model.frame_queries is {queries}, more than the {tokens} tokens of a frame",
            hint=f"choose at most {tokens}, or null",
        )
