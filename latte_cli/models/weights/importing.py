"""Beginning a network from another's weights: Latte's, DiT's or PixArt-alpha's (section 3.3.4)."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isqrt

import torch
from torch import Tensor, nn

from latte_cli.models.latte import Latte
from latte_cli.models.latte_t2v import LatteT2V
from latte_cli.models.shapes import NetworkShape
from latte_cli.models.weights.loading import with_biases
from latte_cli.models.weights.reading import WeightsFile
from latte_cli.models.weights.recognizing import other_clips, shape_of
from latte_cli.runtime.errors import CheckpointError

_LABELS = "y_embedder.embedding_table.weight"
_TABLES = ("pos_embed", "temp_embed", "pos_embed.pos_embed", "temp_pos_embed")
_MODULATION = re.compile(r"blocks\.\d+\.adaLN_modulation\.1\.(weight|bias)")
_BLOCK = re.compile(r"(?:temporal_transformer_|transformer_)?blocks\.\d+\.")
_NAMED = 3


@dataclass
class WeightsReport:
    """What became of each parameter.

    Attributes:
        kind: whose weights these are.
        taken: parameters of the model that now hold the file's.
        left: parameters of the file that the model did not take, and why.
        initialised: parameters of the model that the file did not give, and how they begin.
        note: what else the user should know, or nothing.
    """

    kind: str
    taken: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    initialised: dict[str, str] = field(default_factory=dict)
    note: str | None = None

    def lines(self) -> list[str]:
        """The report in words, a line for each reason."""
        lines = [f"taken from {self.kind}: {len(self.taken)} tensors"]
        for verb, reasons in (("left out", self.left), ("initialised", self.initialised)):
            for reason, count in Counter(reasons.values()).items():
                names = [name for name, why in reasons.items() if why == reason]
                shown = ", ".join(names[:_NAMED]) + (", …" if count > _NAMED else "")
                lines.append(f"{verb}: {count} ({shown}): {reason}")
        return [*lines, self.note] if self.note else lines


def initialize(model: Latte | LatteT2V, source: WeightsFile, downsample: int = 8) -> WeightsReport:
    """Begin a network from any weights that have counterparts in it.

    Args:
        model: freshly initialised; what the file does not give stays so, if not said otherwise.
        source: of `read_weights`.
        downsample: pixels per latent along a side, to tell sizes in words.

    Raises:
        CheckpointError: if a counterpart is of another size, with both, or there are none.
    """
    path = source.path
    wanted = ("latte-t2v", "pixart") if isinstance(model, LatteT2V) else ("latte", "dit")
    if source.kind not in wanted:
        raise CheckpointError(
            f"{path}: weights of kind {source.kind} cannot begin this network",
            hint=f"it can begin from weights of kind {' or '.join(wanted)}",
        )
    report = WeightsReport(source.kind)
    own = model.state_dict()
    values = with_biases(source.weights) if isinstance(model, LatteT2V) else source.weights
    chosen: dict[str, Tensor] = {}
    for name, value in values.items():
        taken = _counterpart(name, value, own, source, report)
        if taken is not None:
            chosen[name] = taken.float()
    if not chosen:
        raise CheckpointError(f"{path}: holds nothing that this network has", hint="check --init")
    report.taken = list(chosen)
    model.load_state_dict(chosen, strict=False)
    _begin_rest(model, [name for name in own if name not in chosen], report)
    report.note = _other_clips(model.shape, source, downsample)
    return report


def _counterpart(
    name: str,
    value: Tensor,
    own: Mapping[str, Tensor],
    source: WeightsFile,
    report: WeightsReport,
) -> Tensor | None:
    """What a tensor of the file becomes in the model; None, and why, if nothing."""
    if name in _TABLES:
        report.left[name] = "positions are computed"
        return None
    if name == _LABELS and (source.kind == "dit" or name not in own):
        report.left[name] = "labels of another data set" if name in own else "the model has none"
        return None
    if name not in own:
        report.left[name] = _why_not(name)
        return None
    ours = own[name]
    if value.shape == ours.shape:
        return value
    if name == _LABELS:
        report.left[name] = f"{len(value) - 1} labels, the model has {len(ours) - 1}"
        return None
    if _MODULATION.fullmatch(name) and len(value) < len(ours) and value.shape[1:] == ours.shape[1:]:
        # Variant 3 modulates its second attention by rows behind those that a block has elsewhere.
        return torch.cat([value, ours[len(value) :].to(value)])
    if name == "x_embedder.proj.weight" and ours.ndim != value.ndim:
        report.left[name] = "of other tokens: patches of a frame, not of a tube, or the reverse"
        return None
    raise CheckpointError(
        f"{source.path}: {name} is {tuple(value.shape)}, the model's is {tuple(ours.shape)}",
        hint="a network begins from one of the same width and patch: set model.size or "
        "model.width, model.patch and vae.latent_channels as the file has them",
    )


def _why_not(name: str) -> str:
    if "resolution_embedder" in name or "aspect_ratio_embedder" in name:
        return "Latte is not told a picture's size"
    if "y_embedding" in name:
        return "the empty text stands for none"
    if _BLOCK.match(name):
        return "no such part: fewer blocks, or of another design"
    return "the model has no such part"


def _begin_rest(model: Latte | LatteT2V, rest: list[str], report: WeightsReport) -> None:
    """Initialise what the file did not give, and say how."""
    temporal = [name for name in rest if name.startswith("temporal_transformer_blocks.")]
    if isinstance(model, LatteT2V) and temporal:
        if len(temporal) != len(model.temporal_transformer_blocks.state_dict()):
            raise CheckpointError(
                f"only some temporal blocks are in the file: {temporal[0]} is missing",
                hint="the file is of a shallower network; set model.depth to its own",
            )
        model.init_temporal_as_identity()
    for name in rest:
        report.initialised[name] = "keeps its own initialisation"
        if name in _TABLES:
            report.initialised[name] = "positions, computed"
        elif name in temporal:
            report.initialised[name] = "temporal blocks begin as identity"
        elif name == _LABELS:
            nn.init.zeros_(model.get_parameter(name))
            report.initialised[name] = "labels begin at zero"


def _other_clips(shape: NetworkShape, source: WeightsFile, downsample: int) -> str | None:
    """That the file's network is for clips of another size, which positions make up for."""
    theirs = shape
    if source.kind == "dit" and "pos_embed" in source.weights:
        side = isqrt(source.weights["pos_embed"].shape[1])
        theirs = replace(shape, latent_size=side * shape.patch)
    elif source.kind == "latte" or source.config is not None:
        theirs = shape_of(source, shape.heads, shape.num_frames)
    said = other_clips(theirs, shape, downsample)
    return said and f"{said}: positions are computed anew"
