"""A video's frames as the network sees them: cropped to a square, resized by Lanczos.

The crop is centered, or follows the face that a mask video shows, as FaceForensics gives one beside
each original. There, each frame is cropped on its own, so the face fills the picture and the crop
moves with it: StyleGAN-V prepares the data set so (src/scripts/preprocess_ffs.py), and the paper
follows it.
"""

# Axes: h height, w width, 3 color channels (RGB).

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from latte_cli.data.manifest import Dataset, VideoRecord
from latte_cli.runtime.errors import VideoError
from latte_cli.runtime.remote.folders import fetch_if_missing
from latte_cli.video_io import ALL_FRAMES, Frame, iter_frames, numbered

Crop = Literal["crop-resize", "resize-crop"]
"""Crop to the centered square, then resize; or resize the shorter side, then crop the center."""

_WHITE = 255
_DARKNESS_THRESHOLD = 5
"""A row or column of a mask touches the face if its mean darkness (255 - mask, summed over
channels) exceeds this. Means of whole rows and columns ignore the ringing of compression."""


def prepared_frames(
    dataset: Dataset, video: VideoRecord, size: int, crop: Crop, wanted: range = ALL_FRAMES
) -> Iterator[NDArray[np.uint8]]:
    """Read a video's frames in order, each cropped to a square and resized.

    Args:
        dataset: the data set of the video.
        video: its record; if it names a mask, frames are cropped to the face, else by `crop`.
        size: side of the result, pixels.
        crop: how frames without a mask are cropped and resized.
        wanted: numbers of the frames to yield, ascending; all by default. Frames after the last
            one are not decoded, and only wanted frames are cropped. A mask is read up to its first
            face, so that a frame's crop does not depend on which others are wanted.

    Yields:
        (size, size, 3) uint8 RGB; fewer than wanted if the video ends early.

    Raises:
        VideoError: if the video or its mask cannot be decoded that far, or if the mask is shorter
            than the video, of another size, or shows no face.
    """
    path = dataset.path_of(video)
    fetch_if_missing(path)
    frames = iter_frames(path, wanted, video.pixel_aspect)
    if video.mask is not None:
        mask = dataset.place(video.mask)
        fetch_if_missing(mask)
        masks = iter_frames(mask, pixel_aspect=video.pixel_aspect)
        frames = _cropped_to_faces(frames, mask, masks, wanted)
    for frame in frames:
        yield prepare_frame(frame, size, crop)


def prepare_frame(
    frame: NDArray[np.uint8], size: int, crop: Crop = "crop-resize"
) -> NDArray[np.uint8]:
    """Crop a frame to a square and resize it.

    Args:
        frame: (h, w, 3) uint8.
        size: side of the result, pixels.
        crop: in which order it is cropped and resized.

    Returns:
        (size, size, 3) uint8; the frame itself if it has that size already.
    """
    if crop == "resize-crop":
        return _center_crop(_resize(frame, size / min(frame.shape[:2])), size)
    square = _center_crop(frame, min(frame.shape[:2]))
    return _resize(square, size / len(square))


def _center_crop(frame: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    top, left = ((length - side) // 2 for length in frame.shape[:2])
    return np.ascontiguousarray(frame[top : top + side, left : left + side])


def _resize(frame: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    height, width = (round(length * scale) for length in frame.shape[:2])
    if (height, width) == frame.shape[:2]:
        return frame
    picture = Image.fromarray(np.ascontiguousarray(frame))
    return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))


@dataclass(frozen=True)
class Box:
    """A square inside a frame: its first row, first column and side, pixels."""

    top: int
    left: int
    side: int

    def crop(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The part of a frame, (h, w, 3), inside the box: (side, side, 3)."""
        return frame[self.top : self.top + self.side, self.left : self.left + self.side]


def face_box(mask: NDArray[np.uint8]) -> Box | None:
    """The square around the dark region of a mask, which is the face.

    Args:
        mask: (h, w, 3) uint8, of the size of the frame that is to be cropped.

    Returns:
        The bounding box made square around its center, moved inside the frame, and at most as large
        as the frame allows; None if no pixel is dark.
    """
    height, width, _ = mask.shape
    columns, rows = _dark_lines(mask, axis=0), _dark_lines(mask, axis=1)
    if not len(columns) or not len(rows):
        return None
    # The last dark row and column are excluded, as in StyleGAN-V's script.
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


def _dark_lines(mask: NDArray[np.uint8], axis: int) -> NDArray[np.intp]:
    """Indices of the columns (axis 0) or rows (axis 1) that touch the face, ascending."""
    darkness = (_WHITE - mask).sum(axis=(axis, 2), dtype=np.int64)
    return np.flatnonzero(darkness > _DARKNESS_THRESHOLD * mask.shape[axis])


def fill_gaps(boxes: Iterable[Box | None]) -> Iterator[Box]:
    """A box for every frame: a frame without a face takes the last box before it.

    Frames before the first face take its box, so the input is read up to it first. Nothing is
    yielded if there is no face at all.
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


def _cropped_to_faces(
    frames: Iterator[Frame], mask: Path, masks: Iterator[Frame], wanted: range
) -> Iterator[Frame]:
    """The wanted frames cropped to the face, with the mask video's frames read in lockstep."""
    boxes: Iterator[Box] | None = None
    for number, frame in zip(wanted, frames, strict=False):  # the video may end early
        if boxes is None:
            boxes = numbered(_mask_boxes(mask, masks, frame.shape[:2]), wanted)
        box = next(boxes, None)
        if box is None:
            raise VideoError(
                f"{mask}: the mask ends before frame {number} of its video",
                hint="copy or download the mask again, or leave the video out",
            )
        yield box.crop(frame)


def _mask_boxes(mask: Path, masks: Iterator[Frame], size: tuple[int, ...]) -> Iterator[Box]:
    """A box for every frame of a mask video; `size` is the height and width of the video itself."""
    first = next(masks, None)
    if first is None:
        return
    if first.shape[:2] != size:
        (height, width), (want_height, want_width) = first.shape[:2], size
        raise VideoError(
            f"{mask}: the mask is {width} x {height}, its video {want_width} x {want_height}",
            hint="give the mask of this video, or leave the video out",
        )
    box = None
    for box in fill_gaps(face_box(each) for each in chain([first], masks)):
        yield box
    if box is None:
        raise VideoError(f"{mask}: the mask shows no face in any frame", hint="leave the video out")
