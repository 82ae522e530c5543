"""Frames as the network sees them: a centred square, resized by Lanczos."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CROP = "center-square-lanczos"
"""The name of this preparation, kept with what was made by it."""


def prepare_frame(frame: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Cut the largest centred square and resize it.

    Args:
        frame: (h, w, 3) uint8.
        size: side of the result, pixels.

    Returns:
        (size, size, 3) uint8; the frame itself where it is of that size already.
    """
    height, width, _ = frame.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = frame[top : top + side, left : left + side]
    if side == size:
        return np.ascontiguousarray(square)
    picture = Image.fromarray(np.ascontiguousarray(square))
    return np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS))
