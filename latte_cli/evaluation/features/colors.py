"""The color of what moves in a `shapes` clip.

The pixels of a clip fall into two groups by color, as in `figures`: the ground, and the figure.
Those of the figure at places where the clip changes are what moves. Its outline, which mixes both
colors, is left out.
"""

# Axes: f frames, h w height and width, c color channels.

import numpy as np
from numpy.typing import NDArray

from latte_cli.evaluation.features.figures import LEAST_CONTRAST, Floats, resized, two_colors

NO_COLOR = (-1.0, -1.0, -1.0)
"""The row of a clip in which nothing moves."""

_OF_FIGURE = 0.75  # of the contrast: how far from the ground's color a pixel of the figure is


def moving_color(frames: NDArray[np.uint8]) -> Floats | None:
    """The mean color of the moving pixels, (c,) in [0, 1]; None if nothing moves.

    Args:
        frames: (f, h, w, 3) uint8 RGB, f >= 2; resized to 64 x 64.
    """
    pixels = resized(frames)
    ground, figure = two_colors(pixels)
    contrast = float(np.linalg.norm(figure - ground))
    if contrast < LEAST_CONTRAST:
        return None
    changes = np.linalg.norm(pixels - pixels[:1], axis=-1).max(axis=0) > contrast / 2
    moving = (np.linalg.norm(pixels - ground, axis=-1) > _OF_FIGURE * contrast) & changes
    if not moving.any():
        return None
    color: Floats = pixels[moving].mean(axis=0)
    return color
