"""Frames as the network sees them: a square, resized by Lanczos."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Crop = Literal["crop-resize", "resize-crop"]
"""Cut the centred square, then resize it; or resize the shorter side, then cut the centre."""


def prepare_frame(
    frame: NDArray[np.uint8], size: int, crop: Crop = "crop-resize"
) -> NDArray[np.uint8]:
    """Make a frame square, of one size.

    Args:
        frame: (h, w, 3) uint8.
        size: side of the result, pixels.
        crop: in which order it is cut and resized.

    Returns:
        (size, size, 3) uint8; the frame itself where it is of that size already.
    """
    if crop == "resize-crop":
        return _centre(_resize(frame, size / min(frame.shape[:2])), size)
    square = _centre(frame, min(frame.shape[:2]))
    return _resize(square, size / len(square))


def _centre(frame: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The centred square of a side."""
    top, left = ((length - side) // 2 for length in frame.shape[:2])
    return np.ascontiguousarray(frame[top : top + side, left : left + side])


def _resize(frame: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    height, width = (round(length * scale) for length in frame.shape[:2])
    if (height, width) == frame.shape[:2]:
        return frame
    picture = Image.fromarray(np.ascontiguousarray(frame))
    return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))
