"""Reading weights of any known format, and inferring the shape of their network."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isqrt
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from latte_cli.checkpoints.folder import read_checkpoint_config
from latte_cli.models.lora.layers import has_adapters, without_adapters
from latte_cli.models.shapes import (
    HEADS_OF_WIDTH,
    LatteShape,
    NetworkShape,
    TextShape,
    interpolation_scale,
    shape_from_config,
)
from latte_cli.runtime.errors import CheckpointError
from latte_cli.runtime.weight_files.pretrained import find_weight_set
from latte_cli.runtime.weight_files.reading import read_tensor_file
from latte_cli.runtime.weight_files.unwrapping import find_weights

Kind = Literal["latte", "latte-t2v", "dit", "pixart"]

EMA_WEIGHTS = "ema.safetensors"
"""The EMA weights in a checkpoint folder of this project."""

DIFFUSERS_CONFIG = "config.json"
DIFFUSERS_WEIGHTS = "diffusion_pytorch_model.safetensors"

_T2V_FIXED = {
    "activation_fn": "gelu-approximate",
    "norm_type": "ada_norm_single",
    "norm_elementwise_affine": False,
}
"""Values of diffusers' config.json that Latte-1 and PixArt-alpha have in common."""

_SIZES = (
    *("num_attention_heads", "attention_head_dim", "num_layers", "in_channels", "sample_size"),
    *("patch_size", "caption_channels", "video_length"),
)
_MAX_SIZE = 1 << 16  # of any of them: a network of a damaged size would fill the memory


@dataclass(frozen=True)
class WeightsFile:
    """Weights by name, and their configuration.

    Attributes:
        path: the file or folder.
        weights: as in the file, in its dtypes.
        config: diffusers' `config.json`; None if there is none.
    """

    path: Path
    weights: Mapping[str, Tensor]
    config: Mapping[str, Any] | None = None

    @cached_property
    def kind(self) -> Kind:
        """The kind of network, by the names of its parameters.

        Raises:
            CheckpointError: if the kind is unknown.
        """
        names = self.weights
        if any(name.startswith("temporal_transformer_blocks.") for name in names):
            return "latte-t2v"
        if any(name.startswith("transformer_blocks.") for name in names):
            return "pixart"
        if "y_embedder.y_proj.fc1.weight" in names:
            raise CheckpointError(
                f"{self.path}: PixArt-alpha, or a network like it, under its authors' names",
                hint="give the folder of its transformer in diffusers' layout",
            )
        if "x_embedder.proj.weight" in names and any(name.startswith("blocks.") for name in names):
            # DiT has no positions of frames. In our folders, a network with rotary ones has none.
            is_latte = "temp_embed" in names or is_latte_folder(self.path)
            return "latte" if is_latte else "dit"
        raise CheckpointError(
            f"{self.path}: not a Latte network, nor one of DiT or PixArt-alpha",
            hint="give weights of one of these: the names of its parameters match none",
        )


def read_weights(path: str | Path) -> WeightsFile:
    """Read weights; EMA weights if there are several. No code in a pickle is run.

    Args:
        path: a checkpoint folder of this project, a folder in diffusers' layout (of a transformer
            or of a pipeline; one file or several, of any variant), a safetensors file, or a file of
            torch.save, whatever lies around and beside the weights in it.

    Raises:
        CheckpointError: if the file is missing, damaged or holds something else.
    """
    path = Path(path)
    if not path.is_dir():
        return WeightsFile(path, find_weights(read_tensor_file(path), path))
    if (path / "transformer" / DIFFUSERS_CONFIG).is_file():
        path = path / "transformer"
    if (path / EMA_WEIGHTS).is_file():
        ours = path / EMA_WEIGHTS
        return WeightsFile(path, _merged(find_weights(read_tensor_file(ours), ours), path))
    if (path / DIFFUSERS_CONFIG).is_file():
        return WeightsFile(path, _read_diffusers(path), _read_json(path / DIFFUSERS_CONFIG))
    hint = "give a checkpoint folder, a folder in diffusers' layout, a .safetensors or a .pt"
    if (files := find_weight_set(path)) is not None:  # as accelerate writes
        hint = f"give the file itself: {files.files[0]}"
    raise CheckpointError(f"{path}: contains neither {EMA_WEIGHTS} nor {DIFFUSERS_CONFIG}", hint)


def _merged(weights: Mapping[str, Tensor], folder: Path) -> Mapping[str, Tensor]:
    """The weights of a checkpoint, into which adapters that were trained are merged."""
    if not has_adapters(weights):
        return weights
    lora = read_checkpoint_config(folder).train.lora
    if lora is None:
        raise CheckpointError(
            f"{folder}: has adapters, of which its config.yaml says nothing",
            hint="copy the checkpoint again",
        )
    return without_adapters(weights, lora.scale)


def is_latte_folder(path: Path) -> bool:
    """Whether a path is a checkpoint folder of this project."""
    return (path / EMA_WEIGHTS).is_file() and (path / "config.yaml").is_file()


def infer_shape(
    source: WeightsFile, heads: int | None = None, num_frames: int = 16
) -> LatteShape | TextShape:
    """The shape of the network, from a config.yaml or config.json or from the weights.

    Args:
        source: the weights.
        heads: attention heads, if there is no configuration; by default those of the width.
        num_frames: of a clip, if the configuration has none, as PixArt-alpha's.

    Raises:
        CheckpointError: if it is not a Latte network, or its heads are unknown.
    """
    file = source.path
    folder = file if file.is_dir() else file.parent
    if is_latte_folder(folder):
        return shape_from_config(read_checkpoint_config(folder))
    if source.kind == "latte":
        return _shape_from_weights(source, heads)
    if source.config is not None:
        return _text_shape(source.config, file, num_frames)
    raise CheckpointError(
        f"{file}: weights without the config.json of their network",
        hint="give the folder in diffusers' layout",
    )


def clip_size_difference(
    theirs: NetworkShape, ours: NetworkShape, downsample: int = 8
) -> str | None:
    """A message if two networks are for clips of different sizes."""
    sizes = [
        f"{shape.num_frames} frames of {(side := shape.latent_size * downsample)}x{side}"
        for shape in (theirs, ours)
    ]
    if sizes[0] == sizes[1]:
        return None
    return f"the checkpoint is for {sizes[0]}, the preset is for {sizes[1]}"


def _shape_from_weights(source: WeightsFile, heads: int | None) -> LatteShape:
    """The shape by published parameter names and sizes."""
    weights, path = source.weights, source.path
    axes = {
        "x_embedder.proj.weight": 4,
        "pos_embed": 3,
        "temp_embed": 3,
        "final_layer.linear.weight": 2,
    }
    missing = [n for n, count in axes.items() if n not in weights or weights[n].ndim != count]
    if missing:
        raise CheckpointError(
            f"{path}: not a network of the published design ({missing[0]} does not fit)",
            hint="give the checkpoint folder, whose config.yaml defines the design",
        )
    width, channels, patch, _ = weights["x_embedder.proj.weight"].shape
    heads = heads or HEADS_OF_WIDTH.get(width)
    if heads is None:
        raise CheckpointError(
            f"{path}: width {width} is not a published one, so the number of heads is unknown",
            hint="give it: --heads N, in Python heads=N",
        )
    table = weights.get("y_embedder.embedding_table.weight")
    outputs = weights["final_layer.linear.weight"].shape[0] // patch**2
    return LatteShape(
        latent_size=isqrt(weights["pos_embed"].shape[1]) * patch,
        num_frames=weights["temp_embed"].shape[1],
        patch=patch,
        width=width,
        depth=count_blocks(weights),
        heads=heads,
        in_channels=channels,
        joint="only-video",
        num_classes=None if table is None else table.shape[0] - 1,
        learn_sigma=outputs != channels,
        flow_map=any(name.startswith("time_weight.") for name in weights),
    )


def count_blocks(weights: Mapping[str, Tensor], prefix: str = "blocks.") -> int:
    """The number of blocks, by parameter names: how many there are, whatever their numbers."""
    names = (name.removeprefix(prefix) for name in weights if name.startswith(prefix))
    return len({number for name in names if (number := name.partition(".")[0]).isdecimal()})


def _text_shape(config: Mapping[str, Any], path: Path, num_frames: int) -> TextShape:
    """The shape by diffusers' config.json of Latte-1 or PixArt-alpha."""
    sizes = {"video_length": num_frames, **config}
    for key in _SIZES:
        if type(size := sizes.get(key)) is not int or not 0 < size <= _MAX_SIZE:
            raise CheckpointError(
                f"{path}: config.json does not describe a transformer ({key} is {size!r:.40})",
                hint="give the folder of the transformer, or of the pipeline around it",
            )
    try:
        heads, channels = config["num_attention_heads"], config["in_channels"]
        width, size = heads * config["attention_head_dim"], config["sample_size"]
        _check_design(config, {"out_channels": 2 * channels, "cross_attention_dim": width}, path)
        return TextShape(
            latent_size=size,
            num_frames=sizes["video_length"],
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
    """Check that diffusers' configuration is of Latte-1's design."""
    expected = {**_T2V_FIXED, **sizes}
    other = [
        f"{key} is {config.get(key)!r}" for key in expected if config.get(key) != expected[key]
    ]
    if other:
        raise CheckpointError(
            f"{path}: differs from Latte-1's design: {', '.join(other)}",
            hint=f"it has {', '.join(f'{key} {value!r}' for key, value in expected.items())}",
        )


def _read_diffusers(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder in diffusers' layout, of one file or several."""
    found = find_weight_set(folder)
    files = found.files if found else [folder / DIFFUSERS_WEIGHTS]  # which is not there
    parts = [find_weights(read_tensor_file(path), path) for path in files]
    return find_weights({name: value for part in parts for name, value in part.items()}, folder)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged", hint="copy the folder again") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: damaged", hint="copy the folder again")
    return values
