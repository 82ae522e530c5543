"""The outputs of a network, and of what was written of it, for the same small clip."""

from pathlib import Path

import torch
from torch import Tensor

from latte_cli.checkpoints.formats import Format
from latte_cli.models import Latte, LatteShape, LatteT2V, TextShape
from latte_cli.models.loading import load_network
from latte_cli.models.reading import WeightsFile, read_weights
from latte_cli.runtime.errors import CheckpointError
from latte_cli.runtime.weight_files.pretrained import find_weight_set

_TOKENS, _TEXT_TOKENS = 8, 5  # of the clip compared: along each side, and of its text


@torch.no_grad()
def largest_difference(
    model: Latte | LatteT2V, form: Format, written: Path, source: WeightsFile
) -> float:
    """Between the outputs of the network and of what was written, loaded again.

    If either side is in the diffusers layout, its output is also compared to that of diffusers'
    own class.

    Raises:
        CheckpointError: if what was written cannot be loaded.
    """
    heads = None if form == "latte" else model.shape.heads
    reloaded = load_network(read_weights(written), heads)
    inputs = _inputs(model.shape)
    output = reloaded(**inputs)
    differences = [(model(**inputs) - output).abs().max()]
    if isinstance(model, LatteT2V):
        folder = {"diffusers": written, "pipeline": written / "transformer"}.get(form, source.path)
        if form in ("diffusers", "pipeline") or (
            source.kind == "latte-t2v" and source.config is not None
        ):
            differences.append((output - _diffusers_output(folder, inputs)).abs().max())
    return max(float(difference) for difference in differences)


def _inputs(shape: LatteShape | TextShape) -> dict[str, Tensor]:
    """Arguments of a forward pass: one small clip of the trained length, always the same."""
    generator = torch.Generator().manual_seed(0)
    side = _TOKENS * shape.patch
    size = (1, shape.num_frames, shape.in_channels, side, side)
    clip = {"x": torch.randn(size, generator=generator), "t": torch.tensor([500])}
    if isinstance(shape, TextShape):
        text = torch.randn(1, _TEXT_TOKENS, shape.text_width, generator=generator)
        return {**clip, "text": text}
    return clip if shape.num_classes is None else {**clip, "y": torch.tensor([0])}


def _diffusers_output(folder: Path, inputs: dict[str, Tensor]) -> Tensor:
    """Output of diffusers' own class for the same inputs, (b, f, 2c, h, w)."""
    from diffusers import LatteTransformer3DModel
    from diffusers.utils import logging

    logging.set_verbosity_error()
    try:
        files = find_weight_set(folder)
        theirs = LatteTransformer3DModel.from_pretrained(
            folder, torch_dtype=torch.float32, **(files.options if files else {})
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{folder}: diffusers does not load it", hint="`latte --debug …` shows its error"
        ) from error
    x, text = inputs["x"].transpose(1, 2), inputs["text"]
    (out,) = theirs.eval()(x, inputs["t"], encoder_hidden_states=text, return_dict=False)
    return torch.as_tensor(out).transpose(1, 2)
