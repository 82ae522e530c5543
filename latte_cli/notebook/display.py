"""Clips as a video inside a notebook."""

import tempfile
from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latte_cli.runtime.errors import ShapeError

_WIDEST_ROW = 8  # clips
_SHOWN_AT_LEAST_PX = 128  # small clips are enlarged, with their pixels visible
_HINT = "give what a pipeline returns, (n, f, h, w, 3) uint8, or paths of videos"


@dataclass(frozen=True)
class Video:
    """An mp4 that notebooks play where a cell ends with it.

    Attributes:
        clips: number of clips, side by side.
        frames: of each.
        width: of the picture, pixels.
        height: of the picture, pixels.
        scale: how much larger it is shown.
        mp4: content of the file.
    """

    clips: int
    frames: int
    width: int
    height: int
    scale: int
    mp4: bytes = field(repr=False)

    def _repr_html_(self) -> str:
        """The video, inline: it needs no file and no network."""
        source = f"data:video/mp4;base64,{b64encode(self.mp4).decode()}"
        style = f"width: {self.width * self.scale}px; max-width: 100%; image-rendering: pixelated"
        label = f"{self.clips} clips of {self.frames} frames"
        return (
            f'<video src="{source}" style="{style}" aria-label="{label}" '
            "autoplay loop muted playsinline controls></video>"
        )


def show(
    clips: NDArray[np.uint8] | str | Path | Iterable[str | Path],
    *,
    fps: float = 8.0,
    columns: int | None = None,
) -> Video:
    """Show clips as one video, side by side: the last value of a notebook's cell is played.

    Args:
        clips: (n, f, h, w, 3) or (f, h, w, 3) uint8 RGB, or paths of videos, all of one size.
        fps: frames per second.
        columns: clips in a row; None: up to eight.

    Returns:
        The video; `video.mp4` is the content of a file.

    Raises:
        ShapeError: if this is no array of clips, or the clips differ in size.
        VideoError: if a file cannot be read as a video.
    """
    from latte_cli.sampling.generation import tile
    from latte_cli.video_io import write_video

    stacked = _stack(clips)
    columns = columns or min(len(stacked), _WIDEST_ROW)
    picture = tile(list(stacked), columns, gap=2 if len(stacked) > 1 else 0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clips.mp4"
        write_video(path, iter(picture), fps)
        content = path.read_bytes()
    count, frames, height, _, _ = stacked.shape
    scale = -(-_SHOWN_AT_LEAST_PX // height)
    return Video(count, frames, picture.shape[2], picture.shape[1], scale, content)


def _stack(
    clips: NDArray[np.uint8] | str | Path | Iterable[str | Path],
) -> NDArray[np.uint8]:
    """Clips as one array, (n, f, h, w, 3)."""
    from latte_cli.video_io import read_video

    if isinstance(clips, np.ndarray):
        array = clips[None] if clips.ndim == 4 else clips
    else:
        paths = [clips] if isinstance(clips, str | Path) else list(clips)
        read = [np.asarray(read_video(path)) for path in paths]
        if sizes := sorted({clip.shape[:3] for clip in read}):
            _check(len(sizes) == 1, f"the videos differ in frames, height or width: {sizes}")
        array = np.stack(read) if read else np.zeros(0)
    is_clips = array.ndim == 5 and array.shape[-1] == 3 and array.dtype == np.uint8
    _check(
        is_clips and array.size > 0, f"{array.dtype} of shape {array.shape} is no stack of clips"
    )
    return array


def _check(ok: bool, problem: str) -> None:
    if not ok:
        raise ShapeError(problem, hint=_HINT)
