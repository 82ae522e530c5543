"""The direction in which a `shapes` clip moves, by the correlation of its frames.

The background of a `shapes` clip stands still, so the difference of two neighboring frames shows
only the moving shape, and the next difference shows the same picture shifted by one frame's motion.
The shift at which the two correlate best is the motion; all pairs at distances of one and two
frames contribute. Another estimate, which shares nothing with this one, is that of `figures`.
"""

# Axes: f frames, h height, w width.

from enum import IntEnum
from math import pi

import numpy as np
from numpy.typing import NDArray

from latte_cli.evaluation.features.figures import FLAWS, find_figures
from latte_cli.sources.shapes import DIRECTIONS_DEG

NO_DIRECTION = -1
_LAGS = (1, 2)
_SPEEDS = np.arange(1.5, 10.0, 0.25)  # pixels a frame, at 64 pixels


class Columns(IntEnum):
    """What each number of a clip's row is.

    Directions are indices into `shapes.DIRECTIONS_DEG`, `NO_DIRECTION` without a figure.
    """

    CORRELATED = 0  # direction, by the correlation of frames
    TRACKED = 1  # direction, by the path of the fitted shape's center
    FLAW = 2  # index into `figures.FLAWS`
    OVERLAP = 3  # of the fitted shape and the figure's pixels, mean over frames


def motion_of(frames: NDArray[np.uint8]) -> list[float]:
    """A clip's row, in the order of `Columns`.

    Args:
        frames: (f, h, w, 3) uint8, f >= 4, h = w.
    """
    found = find_figures(frames)
    step = 2 * pi / len(DIRECTIONS_DEG)
    tracked = (
        NO_DIRECTION if found.angle is None else round(found.angle / step) % len(DIRECTIONS_DEG)
    )
    return [direction_of(frames), tracked, FLAWS.index(found.flaw), found.overlap]


def direction_of(frames: NDArray[np.uint8]) -> int:
    """The label whose direction fits the motion of a `shapes` clip best.

    Args:
        frames: (f, h, w, 3) uint8, f >= 4, h = w.

    Returns:
        An index into `shapes.DIRECTIONS_DEG`.
    """
    change = np.diff(frames.astype(np.float64), axis=0)
    spectrum = np.fft.fft2(change, axes=(1, 2))
    correlation = {
        lag: np.fft.ifft2((spectrum[lag:] * spectrum[:-lag].conj()).sum(axis=(0, 3))).real
        / len(spectrum[lag:])
        for lag in _LAGS
    }
    speeds = _SPEEDS * frames.shape[1] / 64
    angles = np.radians(DIRECTIONS_DEG)[:, None]
    scores = sum(
        _interpolate(correlation[lag], lag * speeds * np.sin(angles), lag * speeds * np.cos(angles))
        for lag in _LAGS
    )
    return int(np.max(scores, axis=1).argmax())


def _interpolate(
    image: NDArray[np.float64], y: NDArray[np.float64], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Bilinear interpolation with periodic boundaries."""
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    height, width = image.shape
    total = np.zeros_like(y)
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (1 - abs(y - top - dy)) * (1 - abs(x - left - dx))
            total += weight * image[(top + dy) % height, (left + dx) % width]
    return total
