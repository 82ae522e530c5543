"""A video's frames as the network sees them, by whichever crop its record asks for."""

# Axes: h height, w width, 3 colour channels (RGB).

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latte_cli.data.face_crop import Box, face_box, without_gaps
from latte_cli.data.frames import Crop, prepare_frame
from latte_cli.data.manifest import Dataset, VideoRecord
from latte_cli.runtime.errors import VideoError
from latte_cli.video_io import ALL_FRAMES, Frame, iter_frames, numbered


def prepared_frames(
    dataset: Dataset, video: VideoRecord, size: int, crop: Crop, wanted: range = ALL_FRAMES
) -> Iterator[NDArray[np.uint8]]:
    """Read a video's frames in order, each made square and resized.

    Args:
        dataset: whose video it is.
        video: its record; where it names a mask, frames are cropped to the face, else to `crop`.
        size: side of the result, pixels.
        crop: in which order frames without a mask are cut and resized.
        wanted: numbers of the frames to yield, rising; all by default. Nothing is decoded beyond
            the last of them, and nothing cut or resized that is not wanted. A mask is read on to
            its first face, so that a frame is cropped alike whichever others are wanted.

    Yields:
        (size, size, 3) uint8 RGB; fewer than wanted where the video ends before.

    Raises:
        VideoError: if the video or its mask cannot be decoded that far, if the mask is shorter than
            the video or of another size, or shows no face.
    """
    frames = iter_frames(dataset.path_of(video), wanted)
    if video.mask is not None:
        frames = _faces(frames, dataset.folder / video.mask, wanted)
    for frame in frames:
        yield prepare_frame(frame, size, crop)


def _faces(frames: Iterator[Frame], mask: Path, wanted: range) -> Iterator[Frame]:
    """The wanted frames cropped to the square that the mask video shows, read in lockstep."""
    boxes: Iterator[Box] | None = None
    for number, frame in zip(wanted, frames, strict=False):  # frames may end before
        if boxes is None:
            boxes = numbered(_boxes(mask, frame.shape[:2]), wanted)
        box = next(boxes, None)
        if box is None:
            raise VideoError(
                f"{mask}: the mask ends before frame {number} of its video",
                hint="copy or download the mask again, or leave the video out",
            )
        yield box.cut(frame)


def _boxes(mask: Path, size: tuple[int, ...]) -> Iterator[Box]:
    """A box for every frame of a mask video; `size` is the height and width of the video itself."""
    masks = iter_frames(mask)
    first = next(masks, None)
    if first is not None and first.shape[:2] != size:
        (height, width), (want_height, want_width) = first.shape[:2], size
        raise VideoError(
            f"{mask}: the mask is {width} x {height}, its video {want_width} x {want_height}",
            hint="is it the mask of another video? leave the video out otherwise",
        )
    if first is None:
        return
    box = None
    for box in without_gaps(face_box(each) for each in chain([first], masks)):
        yield box
    if box is None:
        raise VideoError(f"{mask}: the mask shows no face in any frame", hint="leave the video out")
