"""Clips in the formats that people and evaluations open: mp4, GIF, PNG pictures, npz."""

# Axes: f frames, h height, w width.

import json
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from latte_cli.runtime.errors import ConfigError
from latte_cli.runtime.files import whole_file, whole_folder, write_text
from latte_cli.video_io.colours import Frame
from latte_cli.video_io.writing import write_video

FORMATS = {"mp4": ".mp4", "gif": ".gif", "png": "", "npz": ".npz"}
"""Formats by name, and how a clip's path ends in each; `png` is a folder of pictures."""

ABOUT = "settings.json"
"""What a folder of pictures tells of its clip."""


def format_of(path: Path) -> str:
    """The format that a path's ending stands for; a path without an ending is a folder of PNG.

    Raises:
        ConfigError: if no format ends so.
    """
    if path.suffix.lower() == ".png":
        return "png"
    for name, suffix in FORMATS.items():
        if path.suffix.lower() == suffix:
            return name
    raise ConfigError(
        f"{path}: clips are not written as `{path.suffix}`",
        hint=f"known endings: {', '.join(s for s in FORMATS.values() if s)}, .png for one picture",
    )


def write_clip(path: Path, frames: Iterable[Frame], fps: float, about: Mapping[str, Any]) -> None:
    """Write a clip, whole or not at all, in the format that its path ends in.

    Frames are taken as they come, so that a long clip need not be in memory; but all for npz.

    Args:
        path: `.mp4` (H.264, yuv420p), `.gif`, `.npz` (key `clips`, (1, f, h, w, 3) uint8), `.png`
            for a clip of one frame, or none of these: a folder of pictures.
        frames: (h, w, 3) uint8 RGB each, of one size.
        fps: frames a second; pictures and npz have none.
        about: what the clip was made with, as JSON takes it; written into the file, too.

    Raises:
        ConfigError: on another ending, or several frames for one picture.
        OSError: if it cannot be written.
    """
    kind, words = format_of(path), json.dumps(about, ensure_ascii=False)
    if kind == "mp4":
        write_video(path, frames, fps, comment=words)
    elif kind == "gif":
        _write_gif(path, frames, fps, words)
    elif kind == "npz":
        with whole_file(path) as part:
            np.savez(part, clips=np.stack(list(frames))[None], settings=np.array(words))
    elif path.suffix:
        first, *others = islice(frames, 2)
        if others:
            raise ConfigError(
                f"{path}: several frames do not fit one picture",
                hint="give a name without an ending for a folder of pictures, or --frames 1",
            )
        with whole_file(path) as part:
            _save_png(part, first, words)
    else:
        with whole_folder(path) as folder:
            for number, frame in enumerate(frames):
                _save_png(folder / f"{number:05d}.png", frame, words)
            write_text(folder / ABOUT, words + "\n")


def _write_gif(path: Path, frames: Iterable[Frame], fps: float, words: str) -> None:
    """Each frame has a palette of its own; GIF counts time in hundredths of a second."""
    pictures = map(Image.fromarray, frames)
    with whole_file(path) as part:
        next(pictures).save(
            part,
            save_all=True,
            append_images=pictures,
            duration=max(2, round(100 / fps)) * 10,
            loop=0,
            comment=words.encode(),
        )


def _save_png(path: Path, frame: Frame, words: str) -> None:
    told = PngImagePlugin.PngInfo()
    told.add_itxt("settings", words)
    Image.fromarray(frame).save(path, pnginfo=told)
