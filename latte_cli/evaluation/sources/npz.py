"""Clips in an npz or npy file, as `latte sample` and other programs write them."""

# Axes: n clips, f frames, h height, w width, 3 color channels (RGB).

import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from latte_cli.data.frames import Crop, prepare_frame
from latte_cli.evaluation.sources.videos import (
    Clip,
    ReadClips,
    ReadRequest,
    Transform,
    Video,
    unchanged,
)
from latte_cli.runtime.array_files import ARRAY_ERRORS, no_password_needed
from latte_cli.runtime.errors import DataError, LatteWarning

ARRAY_SUFFIXES = (".npz", ".npy")

_CLIPS = ("clips", "arr_0")  # of `latte sample`; of np.savez(path, clips)
_LABELS, _UNNAMED_LABELS = "labels", "arr_1"  # of np.savez(path, clips, labels)
_DAMAGE = (*ARRAY_ERRORS, OSError)
_MIN_SIDE = 8  # pixels, of frames whose channels come first
_HINT = "it must be uint8 (clips, frames, height, width, 3)"


@dataclass(frozen=True)
class _Array:
    """The array of clips in a file.

    Attributes:
        member: its name in an npz file; empty for an npy file.
        stored: shape as it is stored, (n, …).
        axes: order in which the axes of a stored clip become (f, h, w, 3).
        fortran: whether the first axis, the clips, runs fastest.
    """

    member: str
    stored: tuple[int, ...]
    axes: tuple[int, ...]
    fortran: bool

    @property
    def clip_shape(self) -> tuple[int, ...]:
        """(f, h, w, 3)."""
        return tuple(self.stored[1:][axis] for axis in self.axes)


class NpzSource:
    """An array of uint8 clips: (n, f, h, w, 3), or (n, f, 3, h, w) or (n, 3, f, h, w).

    In an npz file, compressed or not, it is `clips`, `arr_0`, or the only such array.

    Args:
        path: of the file.
        size: height and width of the clips' frames, pixels; None leaves frames as they are.
        crop: order of crop and resize, for frames of another size.

    Raises:
        DataError: if the file is damaged, has no such array, or its labels do not fit the clips.
    """

    kind = "npz"
    unreadable: Mapping[str, str] = {}

    def __init__(self, path: Path, size: int | None, crop: Crop) -> None:
        self.place = str(path)
        self._path, self._size, self._crop = path, size, crop
        with _opened(path) as (_, array):
            labels = _labels(path, array)
        if array.axes != (0, 1, 2, 3):
            order = "(n, f, 3, h, w)" if array.axes == (0, 2, 3, 1) else "(n, 3, f, h, w)"
            warnings.warn(LatteWarning(f"{path}: {array.stored} is read as {order}"), stacklevel=2)
        stamp, (frames, height, width, _) = _stamp(path, array), array.clip_shape
        self.videos = [
            Video(
                name=f"{path.name}[{number:06d}]",
                key=f"{stamp}-{number}",
                frames=frames,
                width=width,
                height=height,
                label=None if label is None or label < 0 else label,
                encoding="lossless",
            )
            for number, label in enumerate(labels)
        ]

    def origin(self, video: Video) -> str:
        """See `Source`: arrays and generated clips are exact pixels."""
        return ""

    def read(
        self, requests: Sequence[ReadRequest], transform: Transform = unchanged
    ) -> Iterator[ReadClips]:
        """See `Source`; reads forward through the file, which is fast for a compressed one, too."""
        numbers = {video.name: number for number, video in enumerate(self.videos)}
        with _opened(self._path) as (file, array):
            clips = _by_columns(self._path, file, array) if array.fortran else None
            bytes_per_clip, start = int(np.prod(array.stored[1:])), file.tell()
            for request in requests:
                number = numbers[request.video.name]
                if clips is not None:
                    stored = clips[number]
                else:
                    file.seek(start + number * bytes_per_clip)
                    content = file.read(bytes_per_clip)
                    if len(content) < bytes_per_clip:
                        raise EOFError("the array is cut off")
                    stored = np.frombuffer(content, np.uint8).reshape(array.stored[1:])
                frames = np.ascontiguousarray(stored.transpose(array.axes))
                read = [self._clip(frames, window) for window in request.windows]
                yield ReadClips(request, [transform(clip, request.video) for clip in read])

    def _clip(self, frames: Clip, window: range) -> Clip:
        chosen = frames[list(window)]
        if self._size is None:
            return chosen
        return np.stack([prepare_frame(frame, self._size, self._crop) for frame in chosen])


def _labels(path: Path, array: _Array) -> Sequence[int | None]:
    """The labels of the clips; None for each if the file has none.

    Raises:
        DataError: if they are not one integer per clip.
    """
    count = array.stored[0]
    none: list[int | None] = [None] * count
    if not array.member:
        return none
    with no_password_needed(), np.load(path) as arrays:  # reads only the arrays that are accessed
        if _LABELS in arrays.files:
            labels = arrays[_LABELS]
        elif array.member == "arr_0.npy" and _UNNAMED_LABELS in arrays.files:
            labels = arrays[_UNNAMED_LABELS]
            if not _fit(labels, count):  # without a name it may be something else
                return none
        else:
            return none
    if not _fit(labels, count):
        raise DataError(
            f"{path}: `{_LABELS}` is {labels.dtype} of shape {labels.shape}",
            hint=f"it must hold a whole number for each of the {count} clips, -1 for no label; or "
            "leave it out",
        )
    found: list[int | None] = labels.tolist()
    return found


def _fit(labels: Any, count: int) -> bool:
    return bool(labels.dtype.kind in "iu" and labels.shape == (count,))


def _stamp(path: Path, array: _Array) -> str:
    """Identifies the file: its path, size, modification time, and the checksum of its clips.

    Without the checksum, another uncompressed array of the same shape would look the same.
    """
    if array.member:
        with zipfile.ZipFile(path) as archive:
            checksum = archive.getinfo(array.member).CRC
    else:
        checksum = 0
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                checksum = zlib.crc32(block, checksum)
    stat = path.stat()
    return f"{path.resolve()}-{stat.st_size}-{stat.st_mtime_ns}-{checksum:08x}"


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], _Array]]:
    """Open the array of clips: a file at its first byte, and what it holds.

    Raises:
        DataError: if the file is damaged, also while it is open, or holds no such array.
    """
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as file:
                yield file, _read_header(file, path, "")
            return
        with zipfile.ZipFile(path) as archive:
            member = _member(archive, path)
            with no_password_needed():
                opened = archive.open(member)
            with opened as stored:
                yield stored, _read_header(stored, path, member)
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(
            f"{path}: damaged, or no npz file with an array `clips`",
            hint="`latte sample --format npz` writes such files",
        ) from error


def _member(archive: zipfile.ZipFile, path: Path) -> str:
    """The name of the array of clips in an npz file.

    Raises:
        DataError: if there is none, or several might be.
    """
    members = [name for name in archive.namelist() if name.endswith(".npy")]
    for name in _CLIPS:
        if f"{name}.npy" in members:
            return f"{name}.npy"
    if not members:
        raise ValueError("holds no arrays")
    found, shown = [], []
    for name in members:
        with no_password_needed(), archive.open(name) as file:
            shape, _, dtype = _header(file)
        shown.append(f"`{name.removesuffix('.npy')}` is {dtype} of shape {shape}")
        if dtype == np.uint8 and _axes(shape) is not None:
            found.append(name)
    if len(found) == 1:
        return found[0]
    problem = "several arrays of clips" if found else "no array of clips"
    raise DataError(
        f"{path}: {problem}: {', '.join(shown)}", hint=f"name the array `clips`; {_HINT}"
    )


def _read_header(file: IO[bytes], path: Path, member: str) -> _Array:
    """What the array is; `file` is left at its first byte."""
    shape, fortran, dtype = _header(file)
    axes = _axes(shape)
    if dtype != np.uint8 or axes is None:
        name = f"`{member.removesuffix('.npy')}`" if member else "the array"
        raise DataError(f"{path}: {name} is {dtype} of shape {shape}", hint=_hint(shape, dtype))
    return _Array(member, shape, axes, fortran)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read: Any = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, fortran, dtype = read(file)
    return tuple(int(length) for length in shape), bool(fortran), dtype


def _axes(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """The order in which a clip's axes become (f, h, w, 3); None if it is not clear."""
    if len(shape) != 5 or 0 in shape:
        return None
    if shape[-1] == 3:
        return (0, 1, 2, 3)
    channels = [axis for axis in (1, 2) if shape[axis] == 3]
    if len(channels) != 1 or min(shape[3:]) < _MIN_SIDE:
        return None
    return (1, 2, 3, 0) if channels == [1] else (0, 2, 3, 1)


def _hint(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    if dtype != np.uint8 and _axes(shape) is not None:
        return f"{_HINT}: convert the values to whole numbers from 0 to 255"
    if len(shape) == 4 and shape[-1] == 3:
        return f"{_HINT}: one clip is array[None], pictures are array[:, None]"
    return _HINT


def _by_columns(path: Path, file: IO[bytes], array: _Array) -> Any:
    """All clips of an array in Fortran order, where each is spread over the whole file."""
    total = int(np.prod(array.stored))
    try:
        content = file.read(total)
    except MemoryError as error:
        raise DataError(
            f"{path}: {total >> 20} MiB in Fortran order do not fit into memory",
            hint="save it again with np.ascontiguousarray(array)",
        ) from error
    if len(content) < total:
        raise EOFError("the array is cut off")
    return np.frombuffer(content, np.uint8).reshape(array.stored, order="F")
