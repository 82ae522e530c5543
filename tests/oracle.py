"""Which way things move in a clip, measured from its pixels by cross-correlation.

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


def direction_of(frames: NDArray[np.uint8]) -> int:
    """The label whose direction fits best.

    Args:
        frames: (f, h, w, 3) uint8, f >= 4.

    Returns:
        An index into `DIRECTIONS_DEG`.
    """
    change = np.diff(frames.astype(np.float64), axis=0)
    spectrum = np.fft.fft2(change, axes=(1, 2))
    correlation = {
        lag: np.fft.ifft2((spectrum[lag:] * spectrum[:-lag].conj()).sum(axis=(0, 3))).real
        / len(spectrum[lag:])
        for lag in _LAGS
    }
    size = frames.shape[1]
    scores = []
    for angle in np.radians(DIRECTIONS_DEG):
        by_speed = []
        for speed in _SPEEDS * size / 64:
            x, y = speed * np.cos(angle), speed * np.sin(angle)
            by_speed.append(sum(_at(correlation[lag], lag * y, lag * x) for lag in _LAGS))
        scores.append(max(by_speed))
    return int(np.argmax(scores))


def _at(picture: NDArray[np.float64], y: float, x: float) -> float:
    """The value between pixels, wrapped around."""
    top, left = int(np.floor(y)), int(np.floor(x))
    total = 0.0
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (1 - abs(y - top - dy)) * (1 - abs(x - left - dx))
            total += weight * picture[(top + dy) % len(picture), (left + dx) % len(picture)]
    return total
