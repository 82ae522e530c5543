"""Networks from configurations, and whole networks from files."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from latte_cli.config import Config
from latte_cli.models.latte import Latte
from latte_cli.models.latte_t2v import LatteT2V
from latte_cli.models.reading import WeightsFile, count_blocks, infer_shape, read_weights
from latte_cli.models.shapes import LatteShape, TextShape, shape_from_config
from latte_cli.runtime.errors import CheckpointError
from latte_cli.runtime.finite import not_finite

_MAX_LISTED = 8
_IMAGE_MODELS = {"dit": "DiT", "pixart": "PixArt-alpha"}


def build_model(config: Config) -> Latte | LatteT2V:
    """The network of a configuration, freshly initialized from torch's global generator."""
    return new_network(shape_from_config(config))


def new_network(shape: LatteShape | TextShape) -> Latte | LatteT2V:
    """A freshly initialized network."""
    return LatteT2V(shape) if isinstance(shape, TextShape) else Latte(shape)


def load_latte(path: str | Path, heads: int | None = None) -> Latte:
    """Load a network; its shape is that of the configuration beside the weights, or inferred.

    Args:
        path: a checkpoint folder of this project (its `ema.safetensors`), a `.safetensors` file, or
            a published `.pt` ({"ema": …}, {"model": …} or plain). A file without configuration is
            loaded as Variant 1 with `joint` set to `only-video`, as published.
        heads: attention heads; by default the published number for the width.

    Returns:
        The network in float32 and evaluation mode.

    Raises:
        CheckpointError: if the file is missing, damaged, or holds no Latte network.
    """
    model = load_network(read_weights(path), heads)
    if not isinstance(model, Latte):
        raise CheckpointError(
            f"{path}: a text-to-video network",
            hint="load it by load_latte_t2v, or sample from it by `latte t2v`",
        )
    return model


def load_latte_t2v(path: str | Path) -> LatteT2V:
    """Load a text-to-video network.

    Args:
        path: a folder in diffusers' format (Latte-1's `transformer`, or the pipeline around it), or
            a checkpoint folder of this project.

    Returns:
        The network in float32 and evaluation mode.

    Raises:
        CheckpointError: if the folder is missing or damaged, or holds another network.
    """
    model = load_network(read_weights(path))
    if not isinstance(model, LatteT2V):
        raise CheckpointError(
            f"{path}: not a text-to-video network",
            hint="load it by load_latte, or sample from it by `latte sample`",
        )
    return model


def load_network(source: WeightsFile, heads: int | None = None) -> Latte | LatteT2V:
    """The network of a file of weights, in float32 and evaluation mode.

    Raises:
        CheckpointError: if it holds no Latte network, or an incomplete one.
    """
    if source.kind in ("dit", "pixart"):
        raise CheckpointError(
            f"{source.path}: {_IMAGE_MODELS[source.kind]}, an image network",
            hint="initialize a network from it with --init, or convert it with `latte convert`",
        )
    shape = infer_shape(source, heads)
    _check_depth(shape, source)
    model = new_network(shape)
    is_text = isinstance(model, LatteT2V)
    load_weights(
        model, add_missing_biases(source.weights) if is_text else source.weights, source.path
    )
    return model.eval()


def _check_depth(shape: LatteShape | TextShape, source: WeightsFile) -> None:
    """Raise CheckpointError if the configuration has another number of blocks than the weights.

    Before such a network is built: of a damaged configuration that would take for ever.
    """
    if isinstance(shape, TextShape):  # spatial and temporal ones
        found = 2 * count_blocks(source.weights, "transformer_blocks.")
    else:
        found = count_blocks(source.weights)
    if found != shape.depth:
        raise CheckpointError(
            f"{source.path} does not fit the model: its weights have {found} blocks, its "
            f"configuration {shape.depth}",
            hint="copy or download both again",
        )


def add_missing_biases(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights, with zeros for missing biases of queries, keys and values."""
    added = {}
    for name, value in weights.items():
        bias = name.removesuffix("weight") + "bias"
        if name.endswith((".to_q.weight", ".to_k.weight", ".to_v.weight")) and bias not in weights:
            added[bias] = value.new_zeros(len(value))
    return {**weights, **added}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Copy weights into a network.

    Raises:
        CheckpointError: if parameters are missing, unknown, of another size or not finite; names
            the first.
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
        shown = "; ".join(problems[:_MAX_LISTED])
        more = f"; and {len(problems) - _MAX_LISTED} more" if problems[_MAX_LISTED:] else ""
        raise CheckpointError(
            f"{path} does not fit the model: {shown}{more}",
            hint="use the preset and -o values that the checkpoint was trained with",
        )
    values = {name: value.float() for name, value in weights.items()}
    check_finite_weights(values, path)
    model.load_state_dict(values)


def check_finite_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Raise CheckpointError if weights are NaN or infinite."""
    if broken := not_finite(weights):
        more = ", …" if broken[_MAX_LISTED:] else ""
        raise CheckpointError(
            f"{path}: {len(broken)} of {len(weights)} weights are not finite: "
            f"{', '.join(broken[:_MAX_LISTED])}{more}",
            hint="the file is damaged or its training diverged: use an earlier checkpoint",
        )
