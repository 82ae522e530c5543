"""A network's inputs: their checks, before anything is computed, and tokens that skip blocks."""

# Axes: b clips, f frames, c latent channels, h w latent size, i images, s tokens a frame, d width,
# k tokens of a frame that do not wait.

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from latte_cli.models.shapes import NetworkShape
from latte_cli.runtime.errors import LatteWarning, ShapeError


@dataclass(frozen=True)
class Route:
    """Tokens that wait while the others pass through some blocks (TREAD, arXiv 2501.04765).

    Attributes:
        blocks: that they skip.
        positions: of the tokens that do not wait, the same in all frames of a clip, (b, k) long,
            ascending.
    """

    blocks: range
    positions: Tensor

    def take(self, tokens: Tensor, locations: int) -> Tensor:
        """The tokens that do not wait: (b, f, s, d) -> (b, f, k, d), and those of conditioning.

        Args:
            tokens: of locations, then those of conditioning, if there are any.
            locations: how many of them are of locations.
        """
        return tokens.gather(2, self._index(tokens, locations))

    def put_back(self, passed: Tensor, waiting: Tensor, locations: int) -> Tensor:
        """All tokens: `passed`, of `take`, in their places among those before it, `waiting`."""
        return waiting.to(passed.dtype).scatter(2, self._index(waiting, locations), passed)

    def _index(self, tokens: Tensor, locations: int) -> Tensor:
        """Positions for all frames and channels, (b, f, k, d) long."""
        clips, frames, count, width = tokens.shape
        own = self.positions
        if count > locations:  # conditioning never waits
            rest = torch.arange(locations, count, device=own.device).expand(clips, -1)
            own = torch.cat([own, rest], dim=1)
        return own[:, None, :, None].expand(-1, frames, -1, width)


def check_latents(
    shape: NetworkShape, x: Tensor, num_images: int, tube: int | None = None
) -> tuple[int, int]:
    """Check that latents can be cut into the network's tokens; warn of untrained lengths.

    Args:
        shape: the network's.
        x: latents, (b, f + i, c, h, w).
        num_images: how many frames, from the end, are images.
        tube: frames in a token.

    Returns:
        Rows and columns of a frame's tokens.

    Raises:
        ShapeError: if they do not fit; names both values.
    """
    if x.ndim != 5 or x.shape[2] != shape.in_channels:
        raise ShapeError(
            f"latents are {tuple(x.shape)}, the network takes (b, f, {shape.in_channels}, h, w)",
            hint="encode the videos with the autoencoder that the model was made for",
        )
    if x.shape[3] % shape.patch or x.shape[4] % shape.patch:
        raise ShapeError(
            f"latents of {x.shape[3]} x {x.shape[4]} do not divide into the network's patches "
            f"of {shape.patch}",
            hint="choose a size whose latents are a multiple of the patch",
        )
    frames = x.shape[1] - num_images
    if num_images < 0 or frames < 1:
        raise ShapeError(
            f"{x.shape[1]} frames with num_images {num_images} leave {frames} for the video",
            hint="x holds the video's frames, then the images",
        )
    if tube is not None and (num_images or frames % tube):
        raise ShapeError(
            f"{frames} frames and {num_images} images do not divide into tubes of {tube}",
            hint="images cannot be part of a tube; use patch_embedding=uniform with them",
        )
    if frames not in (1, shape.num_frames):
        warnings.warn(
            f"{frames} frames for a network trained on {shape.num_frames}: positions are "
            "extrapolated, quality may fall",
            LatteWarning,
            stacklevel=3,
        )
    return x.shape[3] // shape.patch, x.shape[4] // shape.patch


def check_labels(
    num_classes: int | None, y: Tensor | None, y_image: Tensor | None, x: Tensor, num_images: int
) -> None:
    """Check labels: given if and only if they are needed, their number and their range.

    The range is checked only on the CPU: elsewhere it would wait for the device, and in the place
    of a simulated tensor there are no labels.

    Raises:
        ShapeError: if they do not fit; names both values.
    """
    if num_classes is None:
        if y is not None or y_image is not None:
            raise ShapeError("labels given to an unconditional network", hint=_CONDITION)
        return
    if y is None:
        raise ShapeError("labels are missing", hint=_CONDITION)
    if (y_image is None) != (num_images == 0):
        given = "without labels" if y_image is None else f"with labels {tuple(y_image.shape)}"
        raise ShapeError(
            f"{num_images} images {given}", hint="y_image is (b, i), a label for each image"
        )
    wanted = {"y": (y, (x.shape[0],)), "y_image": (y_image, (x.shape[0], num_images))}
    for name, (labels, size) in wanted.items():
        if labels is None:
            continue
        if tuple(labels.shape) != size:
            raise ShapeError(
                f"{name} is {tuple(labels.shape)}, must be {size}", hint="give one label for each"
            )
        if labels.device.type == "cpu" and type(labels) is Tensor and labels.numel():
            _check_range(name, labels, num_classes)


def check_end(end: Tensor | None, t: Tensor) -> None:
    """Check where the steps of a flow map lead: a timestep for each t, not noisier than it.

    The order is checked only on the CPU, as the range of labels is, and to a whole timestep, since
    differences around t look beyond it.

    Raises:
        ShapeError: if they do not fit; names both values.
    """
    if end is None:
        return
    if end.shape != t.shape:
        raise ShapeError(
            f"end is {tuple(end.shape)}, must be {tuple(t.shape)}", hint="give one end for each t"
        )
    if end.device.type == "cpu" and type(end) is Tensor and (beyond := end >= t + 1).any():
        raise ShapeError(
            f"a step from timestep {t[beyond][0]:g} cannot end at {end[beyond][0]:g}",
            hint="a step leads to less noise: end must not be larger than t",
        )


_CONDITION = "model.condition says whether a network takes labels"


def _check_range(name: str, labels: Tensor, num_classes: int) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > num_classes:
        raise ShapeError(
            f"{name} holds label {low if low < 0 else high}, the network knows "
            f"0 to {num_classes - 1}, and {num_classes} for none",
            hint="model.num_classes says how many labels a network knows",
        )


def check_text(
    text_width: int, text: Tensor | None, mask: Tensor | None, size: tuple[int, ...], name: str
) -> None:
    """Check that text embeddings are given and fit the network.

    Args:
        text_width: the network's.
        text: (*size, l, text_width).
        mask: (*size, l) bool, or None.
        size: the clips, or the clips and their images.
        name: of the argument.

    Raises:
        ShapeError: if they do not fit; names both values.
    """
    if text is None:
        raise ShapeError(f"{name} is missing", hint=f"a text model needs {name} for {size}")
    expected = (*size, text.shape[-2] if text.ndim > 1 else 0, text_width)
    if tuple(text.shape) != expected:
        raise ShapeError(
            f"{name} is {tuple(text.shape)}, the network takes {(*size, 'l', text_width)}",
            hint="use the text encoder that the model was trained with",
        )
    if mask is not None and mask.shape != text.shape[:-1]:
        raise ShapeError(
            f"{name}_mask is {tuple(mask.shape)}, must be {tuple(text.shape[:-1])}",
            hint="the mask says which tokens of each text count",
        )
