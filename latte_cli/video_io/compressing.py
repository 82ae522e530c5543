"""What lossy files do to frames, without the files: a clip through mp4, through JPEG, and back."""

# Axes: f frames, h height, w width, 3 colour channels (RGB).

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np
from PIL import Image

from latte_cli.video_io.colours import Frame, ToRgb


def through_jpeg(frames: Frame, quality: int) -> Frame:
    """Each frame as a JPEG file shows it.

    Args:
        frames: (f, h, w, 3) uint8.
        quality: Pillow's; its default, and that of the published frames, is 75 (4:2:0).

    Returns:
        (f, h, w, 3) uint8.
    """
    return np.stack([_jpeg(frame, quality) for frame in frames])


def through_mp4(frames: Frame, crf: int, fps: float = 8) -> Frame:
    """A clip as an H.264 mp4 shows it (yuv420p, one thread: the same bytes on every run).

    Args:
        frames: (f, h, w, 3) uint8, h and w even.
        crf: constant rate factor; imageio's `quality=9`, of the published samples, is 5.
        fps: frames a second.

    Returns:
        (f, h, w, 3) uint8.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", Fraction(fps).limit_denominator(1000))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(crf)}
        stream.codec_context.thread_count = 1
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as container:
        return np.stack([*map(ToRgb(), container.decode(video=0))])


def _jpeg(frame: Frame, quality: int) -> Frame:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=quality)
    with Image.open(file) as opened:
        return np.asarray(opened.convert("RGB"))
