"""Networks from configurations, and weights from files."""

import re
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from latte_cli.config import Config
from latte_cli.errors import CheckpointError
from latte_cli.models.latte import Latte
from latte_cli.models.latte_t2v import LatteT2V
from latte_cli.models.shapes import HEADS_OF_WIDTH, LatteShape, TextShape, shape_from_config

_LARGEST_NAMED = 8


def build_model(config: Config) -> Latte | LatteT2V:
    """The network of a configuration, freshly initialised from torch's global generator."""
    shape = shape_from_config(config)
    return LatteT2V(shape) if isinstance(shape, TextShape) else Latte(shape)


def load_latte(path: str | Path, heads: int | None = None) -> Latte:
    """Load a network, its shape read off the weights.

    Args:
        path: a checkpoint folder of ours (its `ema.safetensors`), a `.safetensors` file, or a
            published `.pt` ({"ema": …}, {"model": …} or plain).
        heads: attention heads; by default the published number for the width.

    Returns:
        The network in float32 and evaluation mode.

    Raises:
        CheckpointError: if the file is missing, broken, or holds no Latte network.
    """
    path = Path(path)
    if path.is_dir():
        heads = heads or _heads_of_folder(path)
        path = path / "ema.safetensors"
    weights = read_weights(path)
    model = Latte(shape_from_weights(weights, path, heads))
    load_weights(model, weights, path)
    return model.eval()


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a file's tensors; pickles only as plain tensors, EMA first."""
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such file", hint="give a checkpoint folder, a .safetensors or a .pt file"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file may raise nearly anything
        raise _not_weights(path) from error
    for key in ("ema", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise _not_weights(path)
    return {name.removeprefix("module."): value for name, value in found.items()}


def shape_from_weights(
    weights: Mapping[str, Tensor], path: Path, heads: int | None = None
) -> LatteShape:
    """The shape of the network that these published parameter names and sizes describe."""
    blocks = [int(m[1]) for name in weights if (m := re.match(r"blocks\.(\d+)\.", name))]
    axes = {"x_embedder.proj.weight": 4, "pos_embed": 3, "temp_embed": 3}
    missing = [n for n, count in axes.items() if n not in weights or weights[n].ndim != count]
    if missing or not blocks:
        raise CheckpointError(
            f"{path}: not a Latte network (no fitting {(missing or ['blocks'])[0]})",
            hint="give the weights of a Latte network, variant 1",
        )
    width, channels, patch, _ = weights["x_embedder.proj.weight"].shape
    heads = heads or HEADS_OF_WIDTH.get(width)
    if heads is None:
        raise CheckpointError(
            f"{path}: width {width} is none of the published ones, so its heads are unknown",
            hint="pass heads=…",
        )
    table = weights.get("y_embedder.embedding_table.weight")
    return LatteShape(
        latent_size=isqrt(weights["pos_embed"].shape[1]) * patch,
        num_frames=weights["temp_embed"].shape[1],
        patch=patch,
        width=width,
        depth=max(blocks) + 1,
        heads=heads,
        in_channels=channels,
        num_classes=None if table is None else table.shape[0] - 1,
    )


def load_weights(model: Latte, weights: Mapping[str, Tensor], path: Path) -> None:
    """Copy weights into a network, or tell which do not fit.

    Raises:
        CheckpointError: naming the first parameters that are missing, unknown or of another size.
    """
    own = model.state_dict()
    problems = [f"{name} is missing" for name in own if name not in weights]
    problems += [f"{name} is unknown" for name in weights if name not in own]
    problems += [
        f"{name} is {tuple(weights[name].shape)} in the file, {tuple(own[name].shape)} in the model"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if problems:
        shown = "; ".join(problems[:_LARGEST_NAMED])
        more = f"; and {len(problems) - _LARGEST_NAMED} more" if problems[_LARGEST_NAMED:] else ""
        raise CheckpointError(
            f"{path} does not fit the model: {shown}{more}",
            hint="use the preset and -o values that the checkpoint was trained with",
        )
    model.load_state_dict({name: value.float() for name, value in weights.items()})


def _heads_of_folder(folder: Path) -> int | None:
    from latte_cli.checkpoint import read_checkpoint_config

    return shape_from_config(read_checkpoint_config(folder)).heads


def _not_weights(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path}: this is not a file of weights, or it is damaged",
        hint="weights are .safetensors, or a .pt that holds plain tensors",
    )
