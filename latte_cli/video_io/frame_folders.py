"""A folder of pictures as a video: read as it is, never re-encoded.

Every frame can be read on its own here, so only the files that are needed are opened.
"""

# Axes: f frames, h height, w width, 3 color channels (RGB).

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from latte_cli.runtime.errors import VideoError

FRAME_SUFFIXES = frozenset([".bmp", ".jpeg", ".jpg", ".png", ".webp"])

_NUMBER = re.compile(r"[0-9]+$")
_CHUNK_BYTES = 1 << 20


def is_frame_name(name: str) -> bool:
    """Whether a file of this name is a frame; hidden and unfinished files begin with a dot."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in FRAME_SUFFIXES


def is_plain_file(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a file, or a broken link, which is reported when it is read.

    Never a folder, nor a pipe, which would block the reader.
    """
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:  # a link that leads to itself
        return entry.is_symlink()


def frame_number(name: str) -> int | None:
    """The number at the end of a frame's name, without its suffix; None if there is none."""
    found = _NUMBER.search(os.path.splitext(name)[0])
    return int(found[0]) if found else None


def frame_files(path: Path) -> list[Path]:
    """The frames of a folder in order: by the number at the end of the name, then by name.

    Numbers need not begin at 0, nor have the same number of digits.

    Raises:
        VideoError: if the folder holds no frames.
    """
    with os.scandir(path) as entries:
        names = [e.name for e in entries if is_frame_name(e.name) and is_plain_file(e)]
    if not names:
        raise VideoError(
            f"{path}: holds no frames", hint=f"frames end in {' '.join(sorted(FRAME_SUFFIXES))}"
        )

    def order(name: str) -> tuple[bool, int, str]:
        number = frame_number(name)
        return number is None, number or 0, name

    return [path / name for name in sorted(names, key=order)]


def iter_frame_folder(path: Path, wanted: range | None = None) -> Iterator[NDArray[np.uint8]]:
    """Read frames of a folder in order, on demand.

    Args:
        path: the folder.
        wanted: numbers of the frames to read, ascending; None for all. No other file is opened.

    Yields:
        (h, w, 3) uint8 RGB, turned upright.

    Raises:
        VideoError: if there are no frames, at one that is damaged or of another size.
    """
    files = frame_files(path)
    if wanted is not None:
        files = files[wanted.start : wanted.stop : wanted.step]
    yield from _read(files)


def read_frame_folder(path: Path, frames: Sequence[int]) -> NDArray[np.uint8]:
    """Read some frames of a folder and open no other.

    Args:
        path: the folder.
        frames: indices in the frames' order, from 0, in any order, repeats allowed.

    Returns:
        (f, h, w, 3) uint8 RGB, one frame for each index.

    Raises:
        VideoError: if there are fewer frames, at one that is damaged or of another size.
    """
    files = frame_files(path)
    wanted = sorted(set(frames))
    if wanted[-1] >= len(files):
        raise VideoError(
            f"{path}: has no frame {wanted[-1]}, the folder holds {len(files)}",
            hint="run `latte prepare` again",
        )
    read = _read([files[number] for number in wanted])
    found = dict(zip(wanted, read, strict=True))
    return np.stack([found[number] for number in frames])


def checksum_of_frames(path: Path, on_progress: Callable[[], None] = lambda: None) -> str:
    """SHA-256 of all frames' names, sizes and bytes, in order, in hex.

    Args:
        path: the folder.
        on_progress: called after each frame.
    """
    digest = hashlib.sha256()
    for file in frame_files(path):
        digest.update(os.fsencode(file.name) + f"\0{file.stat().st_size}\0".encode())
        with file.open("rb") as opened:
            while chunk := opened.read(_CHUNK_BYTES):
                digest.update(chunk)
        on_progress()
    return digest.hexdigest()


def _read(files: Sequence[Path]) -> Iterator[NDArray[np.uint8]]:
    """Frames from files that must all be of the first one's size."""
    shape: tuple[int, ...] = ()
    for file in files:
        frame = _open(file)
        shape = shape or frame.shape
        if frame.shape != shape:
            raise VideoError(
                f"{file.parent}: frame {file.name} is {frame.shape[1]} x {frame.shape[0]}, "
                f"{files[0].name} is {shape[1]} x {shape[0]}",
                hint="all frames of a video must be of one size",
            )
        yield frame


def _open(file: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode.startswith("I"):  # 16-bit gray, which Pillow would clip to 8 bits
                gray = (np.asarray(picture) >> 8).astype(np.uint8)
                return np.repeat(gray[..., None], 3, axis=2)
            return np.asarray(picture.convert("RGB"))
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises many kinds of errors on damaged files
        reason = getattr(error, "strerror", None) or "damaged, or no picture"
        raise VideoError(
            f"{file.parent}: frame {file.name} cannot be read ({reason.lower()})",
            hint="copy or download it again, or leave the video out",
        ) from error
