"""What lossy compression does to frames: a clip through mp4 or JPEG and back, in memory."""

# Axes: f frames, h height, w width, 3 color channels (RGB).

import io
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from latte_cli.video_io.pyav import Frame, ToRgb

_PUBLISHED_WIDTH = 256  # encoded with every default, as published samples were
_ONE_THREAD = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}


def through_jpeg(frames: Frame, quality: int) -> Frame:
    """Encode each frame as JPEG, and decode it.

    Args:
        frames: (f, h, w, 3) uint8.
        quality: Pillow's scale; its default, used for the published frames, is 75 (4:2:0).

    Returns:
        (f, h, w, 3) uint8.
    """
    return np.stack([_jpeg(frame, quality) for frame in frames])


def through_mp4(frames: Frame, crf: int, fps: float = 8) -> Frame:
    """Encode a clip as H.264 mp4 (yuv420p, one thread), and decode it: the same on every run.

    Args:
        frames: (f, h, w, 3) uint8, h and w even.
        crf: constant rate factor; imageio's `quality=9`, used for the published samples, is 5.
        fps: frames per second.

    Returns:
        (f, h, w, 3) uint8.
    """
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", Fraction(fps).limit_denominator(1000))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(crf), "x264-params": _x264(frames.shape[2])}
        reformatter: Any = VideoReformatter()
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            coded = reformatter.reformat(picture, format="yuv420p", **_ONE_THREAD)
            container.mux(stream.encode(coded))
        container.mux(stream.encode())
    file.seek(0)
    with av.open(file, "r") as container:
        return np.stack([*map(ToRgb(), container.decode(video=0))])


def _x264(width: int) -> str:
    """Settings with which x264 writes the same bytes every time.

    On small pictures its macroblock tree reads uninitialized memory (seen at 64 pixels, not at
    256), so that the quality of blocks varies from run to run: it is turned off there.
    """
    return "threads=1" + (":mbtree=0" if width < _PUBLISHED_WIDTH else "")


def _jpeg(frame: Frame, quality: int) -> Frame:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=quality)
    with Image.open(file) as opened:
        return np.asarray(opened.convert("RGB"))
