"""A text-to-video network that begins as a network with classes answers without one.

The blocks of both are alike, but for their conditioning. A network with classes has a linear layer
of the timestep in every block (S-AdaLN); in a text-to-video network all blocks share one, beside
a table of constants in each (adaLN-single). The shared one is fitted to the mean of the others by
least squares over all timesteps, and the tables take the rest that does not depend on time.
"""

# Axes: n blocks, t timesteps, d width, o values of a modulation.

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from latte_cli.models.embeddings import timestep_features
from latte_cli.models.latte_t2v import LatteT2V
from latte_cli.models.reading import WeightsFile, count_blocks, infer_shape
from latte_cli.models.shapes import LatteShape
from latte_cli.runtime.errors import CheckpointError

_TIMESTEPS = 1000
_RIDGE = 1e-6  # keeps the solution of nearly equal features small
_EMBEDDING = "adaln_single.emb.timestep_embedder"


def text_weights(source: WeightsFile, model: LatteT2V) -> dict[str, Tensor]:
    """Weights of a network with classes, or of an unconditional one, as of a text-to-video network.

    Args:
        source: of Variant 1, with as many blocks as `model`, all of its width.
        model: freshly initialized: attention to text is its own, but for the last layer, which
            begins at zero.

    Returns:
        Every parameter of the model, float32. It then answers each text as the network did the null
        label, as far as one modulation fits all blocks.

    Raises:
        CheckpointError: if the networks differ in size or design.
    """
    _check(source, model)
    weights = {name: value.float() for name, value in source.weights.items()}
    found = {name: value.clone() for name, value in model.state_dict().items()}
    for kind in ("weight", "bias"):
        found[f"pos_embed.proj.{kind}"] = weights[f"x_embedder.proj.{kind}"]
        last = weights[f"final_layer.linear.{kind}"]
        found[f"proj_out.{kind}"] = _with_covariance(last, model)
        for number in range(model.shape.depth):
            found |= _block(weights, number, kind)
    for name in found:
        if ".attn2.to_out." in name:
            found[name] = torch.zeros_like(found[name])
    return found | _conditioning(weights, model.shape.depth)


def _check(source: WeightsFile, model: LatteT2V) -> None:
    ours = model.shape
    theirs = infer_shape(source, ours.heads, ours.num_frames)
    assert isinstance(theirs, LatteShape), "the caller has checked the kind"
    sizes = {
        "model.width": (ours.width, theirs.width),
        "model.depth": (ours.depth, theirs.depth),
        "model.heads": (ours.heads, theirs.heads),
        "model.patch": (ours.patch, theirs.patch),
        "vae.latent_channels": (ours.in_channels, theirs.in_channels),
    }
    other = {key: found for key, (mine, found) in sizes.items() if mine != found}
    if other:
        said = "; ".join(f"{key} is {sizes[key][0]}, the file's {other[key]}" for key in other)
        raise CheckpointError(
            f"{source.path}: weights of a network of another size: {said}",
            hint=" ".join(f"-o {key}={found}" for key, found in other.items()),
        )
    is_plain = theirs.variant == 1 and theirs.tube is None and theirs.injection == "s-adaln"
    if not is_plain or theirs.temporal_position != "absolute" or theirs.flow_map:
        raise CheckpointError(
            f"{source.path}: a network with classes of another design than Variant 1 with s-adaln "
            "and absolute positions, of which a text-to-video network cannot be made",
            hint="give weights of such a network, or of PixArt-alpha",
        )
    assert count_blocks(source.weights) == theirs.depth, "found by their names"


def _with_covariance(last: Tensor, model: LatteT2V) -> Tensor:
    """The last layer's weight or bias, with zeros for the covariance where it is not learned."""
    channels = model.shape.in_channels
    places = model.shape.patch**2
    if len(last) == places * 2 * channels:
        return last
    predicting = last.unflatten(0, (places, channels))
    return torch.cat([predicting, torch.zeros_like(predicting)], dim=1).flatten(0, 1)


def _block(weights: Mapping[str, Tensor], number: int, kind: str) -> dict[str, Tensor]:
    """Weights, or biases, of a block's attention and MLP."""
    theirs, ours = f"blocks.{number}", _block_name(number)
    fused = weights[f"{theirs}.attn.qkv.{kind}"].chunk(3)
    return {
        **{f"{ours}.attn1.to_{x}.{kind}": part for x, part in zip("qkv", fused, strict=True)},
        f"{ours}.attn1.to_out.0.{kind}": weights[f"{theirs}.attn.proj.{kind}"],
        f"{ours}.ff.net.0.proj.{kind}": weights[f"{theirs}.mlp.fc1.{kind}"],
        f"{ours}.ff.net.2.{kind}": weights[f"{theirs}.mlp.fc2.{kind}"],
    }


def _block_name(number: int) -> str:
    """Spatial and temporal blocks in turn."""
    return f"{'temporal_' if number % 2 else ''}transformer_blocks.{number // 2}"


def _conditioning(weights: Mapping[str, Tensor], depth: int) -> dict[str, Tensor]:
    """What blocks and last layer are modulated by, fitted over all timesteps."""
    first, last = ([weights[f"t_embedder.mlp.{n}.{kind}"] for kind in _KINDS] for n in (0, 2))
    features = F.silu(F.linear(timestep_features(torch.arange(_TIMESTEPS), 256), *first))
    embedded = F.linear(features, *last)
    if "y_embedder.embedding_table.weight" in weights:
        embedded = embedded + weights["y_embedder.embedding_table.weight"][-1]  # the null label
    active = F.silu(embedded)

    # The last layer's shift and scale are two constants plus the timestep's embedding.
    of_last = _modulation(weights, "final_layer", active).unflatten(1, (2, -1))
    varying = (of_last - of_last.mean(0)).mean(1)
    embedding = _fitted(features, varying)
    ours = F.linear(features, *embedding)

    of_blocks = torch.stack([_modulation(weights, f"blocks.{n}", active) for n in range(depth)])
    shared = _fitted(F.silu(ours), of_blocks.mean(0))
    tables = (of_blocks - F.linear(F.silu(ours), *shared)).mean(1)
    found = {"scale_shift_table": (of_last - ours[:, None]).mean(0)}
    for number, table in enumerate(tables):
        found[f"{_block_name(number)}.scale_shift_table"] = table.unflatten(0, (6, -1))
    for name, pair in (
        (f"{_EMBEDDING}.linear_1", first),
        (f"{_EMBEDDING}.linear_2", embedding),
        ("adaln_single.linear", shared),
    ):
        found |= {f"{name}.{kind}": value for kind, value in zip(_KINDS, pair, strict=True)}
    return found


_KINDS = ("weight", "bias")


def _modulation(weights: Mapping[str, Tensor], part: str, active: Tensor) -> Tensor:
    """Of a block or the last layer, from SiLU of the embedding: (t, d) -> (t, o)."""
    return F.linear(active, *(weights[f"{part}.adaLN_modulation.1.{kind}"] for kind in _KINDS))


def _fitted(given: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (o, d) and bias (o,) of the linear layer that is nearest: (t, d), (t, o)."""
    x, y = given.double(), wanted.double()
    centered = x - x.mean(0)
    gram = centered.mT @ centered / len(x) + _RIDGE * torch.eye(x.shape[1])
    weight = torch.linalg.solve(gram, centered.mT @ (y - y.mean(0)) / len(x)).mT
    bias = y.mean(0) - weight @ x.mean(0)
    return weight.float(), bias.float()
