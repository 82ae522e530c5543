"""The square around a face, from the mask video that FaceForensics gives beside each original.

As StyleGAN-V prepares the data set (src/scripts/preprocess_ffs.py), which the paper follows: frame
by frame, so that the face fills the picture and the crop moves with it.
"""

# Axes: h height, w width, 3 colour channels (RGB).

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WHITE = 255
_THRESHOLD = 5
"""How dark a row or column must be to touch the face: its pixels' mean of 255 - mask, summed over
channels. EvalContext of whole rows and columns pass over the ringing that compression leaves."""


@dataclass(frozen=True)
class Box:
    """A square inside a frame: its first row, first column and side, pixels."""

    top: int
    left: int
    side: int

    def cut(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The part of a frame, (h, w, 3), that lies in the box: (side, side, 3)."""
        return frame[self.top : self.top + self.side, self.left : self.left + self.side]


def face_box(mask: NDArray[np.uint8]) -> Box | None:
    """The square around what a mask shows dark.

    Args:
        mask: (h, w, 3) uint8, of the size of the frame that is to be cropped.

    Returns:
        The bounding box made square around its centre, moved inside the frame, and as large as the
        frame allows where the face is larger; None if nothing is dark.
    """
    height, width, _ = mask.shape
    columns, rows = _dark(mask, axis=0), _dark(mask, axis=1)
    if not len(columns) or not len(rows):
        return None
    # The last dark row and column are left out, as they are there.
    (left, right), (top, bottom) = columns[[0, -1]], rows[[0, -1]]
    side = max(right - left, bottom - top, 1)
    top -= (side - (bottom - top)) // 2
    left -= (side - (right - left)) // 2
    if side > min(height, width):
        excess, side = side - min(height, width), min(height, width)
        top, left = top + excess // 2, left + excess // 2
    return Box(
        top=int(np.clip(top, 0, height - side)),
        left=int(np.clip(left, 0, width - side)),
        side=int(side),
    )


def without_gaps(boxes: Iterable[Box | None]) -> Iterator[Box]:
    """A box for every frame: where a frame shows no face, the last box before it.

    Frames before the first face take its box; for that the boxes are drawn ahead, up to it.
    Nothing is yielded if there is no face at all.
    """
    missing = 0
    last: Box | None = None
    for box in boxes:
        if box is None and last is None:
            missing += 1
            continue
        last = box or last
        assert last is not None
        for _ in range(missing + 1):
            yield last
        missing = 0


def _dark(mask: NDArray[np.uint8], axis: int) -> NDArray[np.intp]:
    """Numbers of the columns (axis 0) or rows (axis 1) that are dark enough, in order."""
    darkness = (_WHITE - mask).sum(axis=(axis, 2), dtype=np.int64)
    return np.flatnonzero(darkness > _THRESHOLD * mask.shape[axis])
