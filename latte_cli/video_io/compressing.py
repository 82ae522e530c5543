"""What lossy compression does to frames: a clip through mp4 or JPEG and back, in memory."""

# Axes: f frames, h height, w width, 3 color channels (RGB).

import io
import subprocess

import av
import numpy as np
from PIL import Image

from latte_cli.video_io.encoders import PUBLISHED_FPS
from latte_cli.video_io.pyav import Frame, ToRgb


def through_jpeg(frames: Frame, quality: int) -> Frame:
    """Encode each frame as JPEG, and decode it.

    Args:
        frames: (f, h, w, 3) uint8.
        quality: Pillow's scale; its default, used for the published frames, is 75 (4:2:0).

    Returns:
        (f, h, w, 3) uint8.
    """
    return np.stack([_jpeg(frame, quality) for frame in frames])


def through_mp4(frames: Frame, crf: int, fps: float = PUBLISHED_FPS) -> Frame:
    """Encode a clip as H.264 (yuv420p, one thread), and decode it: the same on every run.

    The frames are those of an mp4 that imageio writes, with its ffmpeg: colors are halved
    bicubically, and a new process reads no memory that others wrote. (In this process x264 would,
    on pictures of some sizes, unless it is told not to, and then its decisions are others.)

    Args:
        frames: (f, h, w, 3) uint8, h and w even.
        crf: constant rate factor; imageio's `quality=9`, used for the published samples, is 5.
        fps: frames per second, which the quality of a rate factor depends on.

    Returns:
        (f, h, w, 3) uint8.

    Raises:
        OSError: if ffmpeg cannot encode it.
    """
    import imageio_ffmpeg  # type: ignore[import-untyped]  # it ships no types

    height, width = frames.shape[1:3]
    source = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {fps:g} -i -".split()
    target = f"-vcodec libx264 -pix_fmt yuv420p -crf {crf} -threads 1 -f matroska -".split()
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *source, *target]
    ran = subprocess.run(command, input=frames.tobytes(), capture_output=True, check=False)
    if ran.returncode:
        reason = ran.stderr.decode(errors="replace").strip() or f"status {ran.returncode}"
        raise OSError(0, f"ffmpeg could not compress a clip: {reason}")
    with av.open(io.BytesIO(ran.stdout), "r") as container:
        return np.stack([*map(ToRgb(), container.decode(video=0))])


def _jpeg(frame: Frame, quality: int) -> Frame:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=quality)
    with Image.open(file) as opened:
        return np.asarray(opened.convert("RGB"))
