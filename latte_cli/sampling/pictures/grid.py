"""The picture of a folder of clips: a row of frames of each, below its label or prompt."""

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from latte_cli.runtime.files import write_if_changed
from latte_cli.sampling.clip_folder import ClipFolder
from latte_cli.sampling.clip_list import GRID
from latte_cli.sampling.generation import filmstrip, tile

_STRIP_FRAMES = 8
_CLIPS = 64
_MOST_IN_A_COLUMN = 8
_SMALLEST_TEXT, _LARGEST_TEXT = 11, 20  # pixels


def write_grid(folder: ClipFolder, frames: int, side: int | None = None) -> Path | None:
    """Write a picture with a row of frames for each clip, in two columns if there are many.

    Args:
        folder: of the clips, which are all there.
        frames: of a clip.
        side: the longest side of a frame in the picture; None: as it is.

    Returns:
        The picture; None if the folder holds other clips, too, and has none yet.
    """
    grid = folder.path / GRID
    if folder.holds_more:
        return grid if grid.is_file() else None
    count = 1 if frames == 1 else _STRIP_FRAMES
    indices = np.linspace(0, frames - 1, count).round().astype(int).tolist()
    clips = folder.read_frames(_CLIPS, indices)
    strips = [
        with_caption(_scaled(filmstrip(clip, len(clip)), count, side), entry.caption)[None]
        for clip, entry in zip(clips, folder.entries, strict=False)
    ]
    picture = tile(strips, columns=1 if len(strips) <= _MOST_IN_A_COLUMN else 2)[0]
    content = BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    write_if_changed(grid, content.getvalue())
    return grid


def with_caption(picture: NDArray[np.uint8], caption: str) -> NDArray[np.uint8]:
    """A picture below a line of text, cut off where the picture ends; as it is without text.

    Args:
        picture: (h, w, 3).
        caption: a line.

    Returns:
        (h + the height of the line, w, 3) uint8.
    """
    if not caption:
        return picture
    height, width, _ = picture.shape
    size = min(max(height // 6, _SMALLEST_TEXT), _LARGEST_TEXT)
    font = ImageFont.load_default(size)
    canvas = Image.new("RGB", (width, height + size + size // 2), "white")
    canvas.paste(Image.fromarray(picture), (0, size + size // 2))
    text = _fitting(caption, font, width)
    ImageDraw.Draw(canvas).text((0, size // 6), text, fill="black", font=font)
    return np.asarray(canvas)


def _fitting(caption: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """As much of a text as fits into a width, in pixels."""
    text = " ".join(caption.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def _scaled(strip: NDArray[np.uint8], frames: int, side: int | None) -> NDArray[np.uint8]:
    """A strip of frames, none of which is larger than a side."""
    height, width, _ = strip.shape
    longest = max(height, width // frames)
    if side is None or longest <= side:
        return strip
    size = (round(width * side / longest), round(height * side / longest))
    return np.asarray(Image.fromarray(strip).resize(size, Image.Resampling.LANCZOS))
