"""Networks from configurations, and whole networks from files."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from latte_cli.config import Config
from latte_cli.models.latte import Latte
from latte_cli.models.latte_t2v import LatteT2V
from latte_cli.models.shapes import LatteShape, TextShape, shape_from_config
from latte_cli.models.weights.reading import WeightsFile, read_weights
from latte_cli.models.weights.recognizing import shape_of
from latte_cli.runtime.errors import CheckpointError

_MOST_NAMED = 8
_PICTURES = {"dit": "DiT", "pixart": "PixArt-alpha"}


def build_model(config: Config) -> Latte | LatteT2V:
    """The network of a configuration, freshly initialised from torch's global generator."""
    return new_network(shape_from_config(config))


def new_network(shape: LatteShape | TextShape) -> Latte | LatteT2V:
    """A freshly initialised network."""
    return LatteT2V(shape) if isinstance(shape, TextShape) else Latte(shape)


def load_latte(path: str | Path, heads: int | None = None) -> Latte:
    """Load a network, its shape told by the configuration beside the weights or by the weights.

    Args:
        path: a checkpoint folder of ours (its `ema.safetensors`), a `.safetensors` file, or a
            published `.pt` ({"ema": …}, {"model": …} or plain). A file alone is of Variant 1, as
            published, and was trained with images by `only-video`, if with any.
        heads: attention heads; by default the published number for the width.

    Returns:
        The network in float32 and evaluation mode.

    Raises:
        CheckpointError: if the file is missing, broken, or holds no Latte network.
    """
    model = network_from(read_weights(path), heads)
    if not isinstance(model, Latte):
        raise CheckpointError(f"{path}: a text-to-video network", hint="load it by load_latte_t2v")
    return model


def load_latte_t2v(path: str | Path) -> LatteT2V:
    """Load a text-to-video network.

    Args:
        path: a folder in diffusers' format (Latte-1's `transformer`, or the pipeline around it), or
            a checkpoint folder of ours.

    Returns:
        The network in float32 and evaluation mode.

    Raises:
        CheckpointError: if the folder is missing or broken, or holds another network.
    """
    model = network_from(read_weights(path))
    if not isinstance(model, LatteT2V):
        raise CheckpointError(f"{path}: not a text-to-video network", hint="load it by load_latte")
    return model


def network_from(source: WeightsFile, heads: int | None = None) -> Latte | LatteT2V:
    """The network that a file of weights holds, whole, in float32 and evaluation mode.

    Raises:
        CheckpointError: if it holds no Latte network, or not all of one.
    """
    if source.kind in ("dit", "pixart"):
        raise CheckpointError(
            f"{source.path}: {_PICTURES[source.kind]}, a network for pictures",
            hint="begin a network from it by --init, or make one of it by `latte convert`",
        )
    model = new_network(shape_of(source, heads))
    text = isinstance(model, LatteT2V)
    weights = with_biases(source.weights) if text else source.weights
    load_weights(model, weights, source.path)
    return model.eval()


def with_biases(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same with zero biases for queries, keys and values of a network that has none."""
    added = {}
    for name, value in weights.items():
        bias = name.removesuffix("weight") + "bias"
        if name.endswith((".to_q.weight", ".to_k.weight", ".to_v.weight")) and bias not in weights:
            added[bias] = value.new_zeros(len(value))
    return {**weights, **added}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
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
        shown = "; ".join(problems[:_MOST_NAMED])
        more = f"; and {len(problems) - _MOST_NAMED} more" if problems[_MOST_NAMED:] else ""
        raise CheckpointError(
            f"{path} does not fit the model: {shown}{more}",
            hint="use the preset and -o values that the checkpoint was trained with",
        )
    model.load_state_dict({name: value.float() for name, value in weights.items()})
