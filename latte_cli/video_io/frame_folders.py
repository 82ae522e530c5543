"""A folder of pictures as a video: read as it is, never re-encoded.

Every frame can be read on its own here, so only the files that are needed are opened.
"""

# Axes: f frames, h height, w width, 3 color channels (RGB).

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from latte_cli.runtime.errors import VideoError

FRAME_SUFFIXES = frozenset([".bmp", ".jpeg", ".jpg", ".png", ".webp"])

_NUMBER = re.compile(r"(\d+)")
_YEAR_LAST = re.compile(r"(?<!\d)\d{1,2}([-._])(\d{1,2})\1((?:19|20)\d\d)(?!\d)")
_CHUNK_BYTES = 1 << 20

_Key = tuple[int | str, ...]


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


def ends_with_number(name: str) -> bool:
    """Whether a frame's name, without its suffix, ends with a number."""
    return _stem(name)[-1:].isdecimal()


def frame_files(path: Path) -> list[Path]:
    """The frames of a folder in the natural order of their names, see `in_natural_order`.

    Numbers need not begin at 0, nor have the same number of digits. A picture is its own frame.

    Raises:
        VideoError: if the folder holds no frames.
    """
    if not path.is_dir() and is_frame_name(path.name):
        return [path]
    with os.scandir(path) as entries:
        names = [e.name for e in entries if is_frame_name(e.name) and is_plain_file(e)]
    if not names:
        raise VideoError(
            f"{path}: holds no frames", hint=f"frames end in {' '.join(sorted(FRAME_SUFFIXES))}"
        )
    return [path / name for name in in_natural_order(names)]


def in_natural_order(names: Iterable[str]) -> list[str]:
    """Sort frames' names: numbers anywhere in a name count as numbers, from left to right.

    So dates and times, shots with frames, and text after the number are all in order. Upper and
    lower case are equal. Times in seconds that Python wrote (0.5, 0.54, 0.6) are in order as
    decimal fractions.
    """
    keys = _sorting_keys(names)
    return sorted(keys, key=lambda name: (keys[name], name))


def unclear_order(names: Iterable[str]) -> str:
    """Why the order of a folder's frames is not clear from their names; empty if it is.

    It is not if the names differ in more than their numbers, or two differ in less, or if they
    have dates of several months with the year last.
    """
    keys = _sorting_keys(names)
    dates = {date.group(2, 3): name for name in keys if (date := _YEAR_LAST.search(name))}
    kinds: dict[_Key, str] = {}
    first: dict[_Key, str] = {}
    doubled = ""
    for name in sorted(keys):
        key = keys[name]
        kinds.setdefault(key[::2], name)
        same = first.setdefault(key, name)
        if same != name and not doubled:
            doubled = f"{same} and {name} have the same number"
    if len(kinds) > 1:
        one, other, *_ = kinds.values()
        return f"{len(kinds)} kinds of names, such as {one} and {other}"
    if len(dates) > 1:
        return f"dates with the year last, such as in {min(dates.values())}"
    return doubled


def _sorting_keys(names: Iterable[str]) -> dict[str, _Key]:
    """For each name its text, number, text, number and so on; texts may be empty."""
    parts = {
        name: _NUMBER.split(unicodedata.normalize("NFC", _stem(name)).casefold()) for name in names
    }
    if _end_in_fractions(parts.values()):
        for each in parts.values():
            each[-2] = f".{each[-2]}"
    return {
        name: tuple(int(part) if part.isdecimal() else part for part in each)
        for name, each in parts.items()
    }


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _end_in_fractions(names: Iterable[list[str]]) -> bool:
    """Whether names end in decimal fractions of different lengths, without zeros at the end.

    A counter after a dot (1.9, 1.10) reaches a number that ends in zero.
    """
    fractions = []
    for parts in names:
        if len(parts) < 5 or parts[-3] != "." or parts[-1]:
            return False
        fractions.append(parts[-2])
    lengths = set(map(len, fractions))
    return len(lengths) > 1 and not any(len(f) > 1 and f.endswith("0") for f in fractions)


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
            return np.asarray(on_white(picture))
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises many kinds of errors on damaged files
        reason = getattr(error, "strerror", None) or "damaged, or no picture"
        raise VideoError(
            f"{file.parent}: frame {file.name} cannot be read ({reason.lower()})",
            hint="copy or download it again, or leave the video out",
        ) from error


def on_white(picture: Image.Image) -> Image.Image:
    """A picture as 8-bit RGB, transparent parts on white; Pillow shows their hidden colors."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    colors = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", colors.size, "white"), colors).convert("RGB")
