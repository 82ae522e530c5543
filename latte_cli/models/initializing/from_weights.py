"""Initialization from weights of Latte, DiT or PixArt-alpha (Latte, section 3.3.4)."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latte_cli.models.embeddings import interpolate_grid
from latte_cli.models.initializing.from_classes import text_weights
from latte_cli.models.latte import Latte
from latte_cli.models.latte_t2v import LatteT2V
from latte_cli.models.loading import add_missing_biases, check_finite_weights
from latte_cli.models.reading import (
    WeightsFile,
    clip_size_difference,
    infer_shape,
    is_latte_folder,
)
from latte_cli.models.shapes import NetworkShape, TextShape
from latte_cli.runtime.errors import CheckpointError

_LABELS = "y_embedder.embedding_table.weight"
_TABLES = ("pos_embed", "temp_embed", "pos_embed.pos_embed", "temp_pos_embed")
_MODULATION = re.compile(r"blocks\.\d+\.adaLN_modulation\.1\.(weight|bias)")
_BLOCK = re.compile(r"(?:temporal_transformer_|transformer_)?blocks\.\d+\.")
_MAX_LISTED = 3


@dataclass
class WeightsReport:
    """What happened to each parameter.

    Attributes:
        kind: of the file's network.
        loaded: parameters of the model that now have the file's values.
        skipped: parameters of the file that were not loaded, and why.
        initialized: parameters of the model that are not in the file, and how they begin.
        note: a further message for the user.
    """

    kind: str
    loaded: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    initialized: dict[str, str] = field(default_factory=dict)
    note: str | None = None

    def lines(self) -> list[str]:
        """The report for people, a line for each reason."""
        lines = [f"loaded from {self.kind}: {len(self.loaded)} tensors"]
        for verb, reasons in (("skipped", self.skipped), ("initialized", self.initialized)):
            for reason, count in Counter(reasons.values()).items():
                names = [name for name, why in reasons.items() if why == reason]
                listed = ", ".join(names[:_MAX_LISTED]) + (", …" if count > _MAX_LISTED else "")
                lines.append(f"{verb}: {count} ({listed}): {reason}")
        return [*lines, self.note] if self.note else lines


def initialize(model: Latte | LatteT2V, source: WeightsFile, downsample: int = 8) -> WeightsReport:
    """Initialize a network from all weights that have counterparts in it.

    Args:
        model: freshly initialized; parameters that are not in the file keep that initialization,
            except labels and temporal blocks of a text model.
        source: of `read_weights`.
        downsample: pixels per latent along a side, for messages.

    Raises:
        CheckpointError: if a counterpart is of another size or not finite, or there are none.
    """
    path = source.path
    is_text = isinstance(model, LatteT2V)
    wanted = ("latte-t2v", "pixart", "latte") if is_text else ("latte", "dit")
    if source.kind not in wanted:
        raise CheckpointError(
            f"{path}: this network cannot be initialized from weights of kind {source.kind}",
            hint=f"give weights of kind {', '.join(wanted[:-1])} or {wanted[-1]}",
        )
    if isinstance(model, LatteT2V):
        if source.kind == "latte":
            return _initialize_from_classes(model, source, downsample)
        _check_text_size(model.shape, source)
    report = WeightsReport(source.kind)
    own = model.state_dict()
    values = add_missing_biases(source.weights) if isinstance(model, LatteT2V) else source.weights
    loaded: dict[str, Tensor] = {}
    for name, value in values.items():
        counterpart = _counterpart(name, value, own, source, report)
        if counterpart is not None:
            loaded[name] = counterpart.float()
    if not loaded:
        raise CheckpointError(
            f"{path}: has no parameter of this network",
            hint="--init takes weights of a Latte, DiT or PixArt-alpha network",
        )
    check_finite_weights(loaded, path)
    report.loaded = list(loaded)
    model.load_state_dict(loaded, strict=False)
    _initialize_rest(model, [name for name in own if name not in loaded], report)
    report.note = _clip_size_note(model.shape, source, downsample)
    return report


def _initialize_from_classes(
    model: LatteT2V, source: WeightsFile, downsample: int
) -> WeightsReport:
    values = text_weights(source, model)
    check_finite_weights(values, source.path)
    model.load_state_dict(values)
    own = [name for name in values if ".attn2." in name or name.startswith("caption_projection.")]
    report = WeightsReport(source.kind, loaded=[name for name in values if name not in own])
    report.initialized = dict.fromkeys(own, "attention to text, whose last layers begin at zero")
    report.skipped = {
        name: "positions are computed" if name in _TABLES else "labels, but for the null label"
        for name in source.weights
        if name in (*_TABLES, _LABELS)
    }
    report.note = _clip_size_note(model.shape, source, downsample)
    return report


_TEXT_SIZES = {
    **{"width": "model.width", "depth": "model.depth", "heads": "model.heads"},
    **{"patch": "model.patch", "text_width": "model.text_width"},
    "in_channels": "vae.latent_channels",
}


def _check_text_size(ours: TextShape, source: WeightsFile) -> None:
    """Raise CheckpointError if a text network's file is of another size: not even part of it fits.

    Heads are in no tensor's size, and blocks without counterpart would begin at random.
    """
    if source.config is None and not is_latte_folder(source.path):
        return  # a bare file of weights, whose tensors are compared one by one
    theirs = infer_shape(source, ours.heads, ours.num_frames)
    pairs = {key: (getattr(ours, name), getattr(theirs, name)) for name, key in _TEXT_SIZES.items()}
    other = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
    if not other:
        return
    said = "; ".join(f"{key} is {mine}, the file's {found}" for key, (mine, found) in other.items())
    explicit = ("model.width", "model.depth", "model.heads")
    if other.keys() & set(explicit):
        other = {"model.size": ("", "null"), **{key: pairs[key] for key in explicit}, **other}
    raise CheckpointError(
        f"{source.path}: weights of a network of another size: {said}",
        hint=" ".join(f"-o {key}={found}" for key, (_, found) in other.items()),
    )


def _counterpart(
    name: str,
    value: Tensor,
    own: Mapping[str, Tensor],
    source: WeightsFile,
    report: WeightsReport,
) -> Tensor | None:
    """The model's value for a tensor of the file; None, with a reason in the report, if none."""
    if name in _TABLES:
        report.skipped[name] = "positions are computed"
        return None
    if name == _LABELS and (source.kind == "dit" or name not in own):
        report.skipped[name] = "labels of another data set" if name in own else "no label embedding"
        return None
    if name not in own:
        report.skipped[name] = _skip_reason(name)
        return None
    ours = own[name]
    if value.shape == ours.shape:
        return value
    if name == _LABELS:
        report.skipped[name] = f"{len(value) - 1} labels, the model has {len(ours) - 1}"
        return None
    if (fitted := _fit(name, value, own)) is not None:
        return fitted
    if name == "x_embedder.proj.weight" and ours.ndim != value.ndim:
        report.skipped[name] = "other tokens: patches of a frame instead of a tube, or the reverse"
        return None
    raise CheckpointError(
        f"{source.path}: {name} is {tuple(value.shape)}, the model's is {tuple(ours.shape)}",
        hint="set model.size or model.width, model.patch and vae.latent_channels to the file's "
        "values",
    )


def _fit(name: str, value: Tensor, own: Mapping[str, Tensor]) -> Tensor | None:
    """A tensor of the file in the size that it has in the model's design; None if it has none."""
    ours = own[name]
    if _MODULATION.fullmatch(name) and len(value) < len(ours) and value.shape[1:] == ours.shape[1:]:
        # Variant 3's modulation of its second attention is in additional rows at the end.
        return torch.cat([value, ours[len(value) :].to(value)])
    if name.startswith("final_layer.linear.") and len(value) == 2 * len(ours):
        # For each place of a patch the prediction, then the covariance, which is not learned here.
        channels = own["x_embedder.proj.weight"].shape[1]
        predicting: Tensor = value.unflatten(0, (-1, 2, channels))[:, 0].flatten(0, 1)
        return predicting
    if name.endswith(".attn.proj.weight") and ours.shape == (len(value), 2 * value.shape[1]):
        # Variant 6 attends to whole frames, too: with zeros it begins as the file's network.
        return F.pad(value, (0, value.shape[1]))
    if name.endswith(".qk_logits") and ours.shape[:2] == value.shape[:2]:
        side, own_side = isqrt(value.shape[2]), isqrt(ours.shape[2])
        return interpolate_grid(value.float(), side, (own_side, own_side))
    return None


def _skip_reason(name: str) -> str:
    if "resolution_embedder" in name or "aspect_ratio_embedder" in name:
        return "Latte has no embedding of image sizes"
    if "y_embedding" in name:
        return "Latte uses the embedding of an empty text"
    if _BLOCK.match(name):
        return "no counterpart: the model has fewer blocks, or another design"
    return "no counterpart in the model"


def _initialize_rest(model: Latte | LatteT2V, rest: list[str], report: WeightsReport) -> None:
    """Initialize parameters that are not in the file, and report how."""
    temporal = [name for name in rest if name.startswith("temporal_transformer_blocks.")]
    if isinstance(model, LatteT2V):
        spatial = [name for name in rest if name.startswith("transformer_blocks.")]
        some = temporal and len(temporal) != len(model.temporal_transformer_blocks.state_dict())
        if spatial or some:
            raise CheckpointError(
                f"the file has only some of the blocks: {(spatial or temporal)[0]} is missing",
                hint="set model.depth to the depth of the file's network",
            )
        if temporal:
            model.init_temporal_as_identity()
    for name in rest:
        report.initialized[name] = "own initialization"
        if name in _TABLES:
            report.initialized[name] = "computed positions"
        elif name in temporal:
            report.initialized[name] = "temporal blocks begin as identity"
        elif name == _LABELS:
            nn.init.zeros_(model.get_parameter(name))
            report.initialized[name] = "zero"


def _clip_size_note(shape: NetworkShape, source: WeightsFile, downsample: int) -> str | None:
    """A note if the file's network is for clips of another size."""
    theirs = shape
    if source.kind == "dit" and "pos_embed" in source.weights:
        side = isqrt(source.weights["pos_embed"].shape[1])
        theirs = replace(shape, latent_size=side * shape.patch)
    elif source.kind == "latte" or source.config is not None:
        theirs = infer_shape(source, shape.heads, shape.num_frames)
    difference = clip_size_difference(theirs, shape, downsample)
    return difference and f"{difference}: positions are recomputed"
