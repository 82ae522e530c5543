"""Which way things move in a clip of `shapes`, measured from its pixels by cross-correlation.

The ground stands still, so the difference of two neighbouring frames shows the moving shapes alone,
and the difference of the next two shows the same picture moved on by one frame's motion. Where the
two correlate best tells the motion; all pairs at distances of one and two frames vote together.
"""

# Axes: f frames, h height, w width.

import numpy as np
from numpy.typing import NDArray

from latte_cli.sources.shapes import DIRECTIONS_DEG

_LAGS = (1, 2)
_SPEEDS = np.arange(1.5, 10.0, 0.25)  # pixels a frame, at 64 pixels

LEAST_FRAMES = 4


def direction_of(frames: NDArray[np.uint8]) -> int:
    """The label whose direction fits best.

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
        _at(correlation[lag], lag * speeds * np.sin(angles), lag * speeds * np.cos(angles))
        for lag in _LAGS
    )
    return int(np.max(scores, axis=1).argmax())


def _at(
    picture: NDArray[np.float64], y: NDArray[np.float64], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Values between pixels, wrapped around."""
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    height, width = picture.shape
    total = np.zeros_like(y)
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (1 - abs(y - top - dy)) * (1 - abs(x - left - dx))
            total += weight * picture[(top + dy) % height, (left + dx) % width]
    return total
