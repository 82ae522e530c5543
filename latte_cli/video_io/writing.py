"""Frames into mp4 files."""

import shutil
from collections.abc import Iterable
from errno import ENOSPC
from itertools import chain
from os import strerror
from pathlib import Path

import numpy as np

from latte_cli.runtime.errors import VideoError
from latte_cli.runtime.files import whole_file
from latte_cli.video_io.colours import Frame
from latte_cli.video_io.containers import check_file
from latte_cli.video_io.reading import count_frames

CRF = 17
"""Constant rate factor of written H.264: hardly to be told from the original."""


def write_video(path: str | Path, frames: Iterable[Frame], fps: float, comment: str = "") -> None:
    """Write an H.264 mp4 (yuv420p), whole or not at all, frame by frame as they come.

    Args:
        path: the file to make; its folder is made, too.
        frames: (h, w, 3) uint8 RGB each, of one size, h and w even.
        fps: frames a second.
        comment: kept in the file's metadata.

    Raises:
        OSError: if it cannot be written, the disk being full in particular.
    """
    import imageio_ffmpeg  # type: ignore[import-untyped]  # it ships no types

    path, count = Path(path), 0
    ahead = iter(frames)
    first = next(ahead)
    height, width = first.shape[:2]
    with whole_file(path) as part:
        writer = imageio_ffmpeg.write_frames(
            str(part.absolute()),
            (width, height),
            fps=fps,
            codec="libx264",
            quality=None,
            pix_fmt_out="yuv420p",
            macro_block_size=2,
            ffmpeg_log_level="fatal",
            output_params=["-crf", str(CRF), "-threads", "1", *_metadata(comment)],
        )
        try:
            writer.send(None)
            for frame in chain([first], ahead):
                writer.send(np.ascontiguousarray(frame))
                count += 1
        except OSError as error:
            raise _cannot_write(path) from error
        finally:
            writer.close()
        if not _holds(part, count):
            raise _cannot_write(path)


def _metadata(comment: str) -> list[str]:
    return ["-metadata", f"comment={comment}"] if comment else []


def _holds(path: Path, frames: int) -> bool:
    """Whether a file just written is whole: the writer does not tell how ffmpeg ended."""
    try:
        check_file(path)
        return count_frames(path) == frames
    except VideoError:
        return False


def _cannot_write(path: Path) -> OSError:
    if shutil.disk_usage(path.parent).free < 1 << 20:
        return OSError(ENOSPC, strerror(ENOSPC), str(path))
    return OSError(0, "ffmpeg could not write the video", str(path))
