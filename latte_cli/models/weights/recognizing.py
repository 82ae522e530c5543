"""Which network a file of weights holds."""

from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any

from torch import Tensor

from latte_cli.checkpoints.folder import read_checkpoint_config
from latte_cli.models.shapes import (
    HEADS_OF_WIDTH,
    LatteShape,
    NetworkShape,
    TextShape,
    interpolation_scale,
    shape_from_config,
)
from latte_cli.models.weights.reading import WeightsFile, is_ours
from latte_cli.runtime.errors import CheckpointError

_T2V_FIXED = {
    "activation_fn": "gelu-approximate",
    "norm_type": "ada_norm_single",
    "norm_elementwise_affine": False,
}
"""What every network in diffusers' format that this one stands for has."""


def shape_of(
    source: WeightsFile, heads: int | None = None, num_frames: int = 16
) -> LatteShape | TextShape:
    """The shape of the network that a file of weights holds.

    Args:
        source: the weights.
        heads: attention heads, where nothing tells them but the width.
        num_frames: of a clip, where nothing tells them: PixArt-alpha knows pictures alone.

    Raises:
        CheckpointError: if it is not a Latte network, or its heads are not known.
    """
    file = source.path
    folder = file if file.is_dir() else file.parent
    if is_ours(folder):
        return shape_from_config(read_checkpoint_config(folder))
    if source.kind == "latte":
        return _shape_from_weights(source, heads)
    if source.config is not None:
        return _text_shape(source.config, file, num_frames)
    raise CheckpointError(
        f"{file}: weights without the config.json that tells their network",
        hint="give the folder in diffusers' layout",
    )


def _shape_from_weights(source: WeightsFile, heads: int | None) -> LatteShape:
    """What published parameter names and sizes describe."""
    weights, path = source.weights, source.path
    axes = {"x_embedder.proj.weight": 4, "pos_embed": 3, "temp_embed": 3}
    missing = [n for n, count in axes.items() if n not in weights or weights[n].ndim != count]
    if missing:
        raise CheckpointError(
            f"{path}: not a network of the published design (no fitting {missing[0]})",
            hint="give the checkpoint folder, whose config.yaml tells the design",
        )
    width, channels, patch, _ = weights["x_embedder.proj.weight"].shape
    heads = heads or HEADS_OF_WIDTH.get(width)
    if heads is None:
        raise CheckpointError(
            f"{path}: width {width} is none of the published ones, so its heads are unknown",
            hint="tell them: --heads N, in Python heads=N",
        )
    table = weights.get("y_embedder.embedding_table.weight")
    return LatteShape(
        latent_size=isqrt(weights["pos_embed"].shape[1]) * patch,
        num_frames=weights["temp_embed"].shape[1],
        patch=patch,
        width=width,
        depth=blocks_in(weights),
        heads=heads,
        in_channels=channels,
        joint="only-video",
        num_classes=None if table is None else table.shape[0] - 1,
    )


def blocks_in(weights: Mapping[str, Tensor], prefix: str = "blocks.") -> int:
    """How many blocks the names speak of."""
    names = [name.removeprefix(prefix) for name in weights if name.startswith(prefix)]
    return max(int(name.partition(".")[0]) for name in names) + 1


def _text_shape(config: Mapping[str, Any], path: Path, num_frames: int) -> TextShape:
    """The network that diffusers' config.json of Latte, or of PixArt-alpha, describes."""
    try:
        heads, channels = config["num_attention_heads"], config["in_channels"]
        width, size = heads * config["attention_head_dim"], config["sample_size"]
        _check_design(config, {"out_channels": 2 * channels, "cross_attention_dim": width}, path)
        return TextShape(
            latent_size=size,
            num_frames=config.get("video_length", num_frames),
            patch=config["patch_size"],
            width=width,
            depth=2 * config["num_layers"],
            heads=heads,
            in_channels=channels,
            text_width=config["caption_channels"],
            interpolation_scale=config.get("interpolation_scale") or interpolation_scale(size),
            norm_eps=config.get("norm_eps", 1e-5),
        )
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: config.json does not describe a transformer ({error})",
            hint="give the folder of the transformer, or of the pipeline around it",
        ) from error


def _check_design(config: Mapping[str, Any], sizes: Mapping[str, Any], path: Path) -> None:
    """Refuse what diffusers' class can be configured to and Latte-1 is not."""
    expected = {**_T2V_FIXED, **sizes}
    other = [
        f"{key} is {config.get(key)!r}" for key in expected if config.get(key) != expected[key]
    ]
    if other:
        raise CheckpointError(
            f"{path}: another design than Latte-1's: {', '.join(other)}",
            hint=f"it has {', '.join(f'{key} {value!r}' for key, value in expected.items())}",
        )


def other_clips(theirs: NetworkShape, ours: NetworkShape, downsample: int = 8) -> str | None:
    """In words, that two networks are for clips of other sizes; None where they are not."""
    sides = [shape.latent_size * downsample for shape in (theirs, ours)]
    asked = [
        f"{shape.num_frames} frames of {side}x{side}"
        for shape, side in zip((theirs, ours), sides, strict=True)
    ]
    if asked[0] == asked[1]:
        return None
    return f"the checkpoint is for {asked[0]}, the preset asks for {asked[1]}"
