"""Clips in an npz file, as `latte sample --format npz` writes them, read one at a time."""

# Axes: n clips, f frames, h height, w width, 3 color channels (RGB).

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from latte_cli.runtime.errors import DataError

_MEMBER, _LABELS = "clips.npy", "labels"
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, KeyError)


class NpzSource:
    """The array `clips` of an npz file, uint8 (n, f, h, w, 3), compressed or not.

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
        with _open(path) as (_, shape):
            labels, stamp = _labels(path, shape[0]), _stamp(path)
        self._shape = shape
        self.videos = [
            Video(
                name=f"{path.name}[{number:06d}]",
                key=f"{stamp}-{number}",
                frames=shape[1],
                width=shape[3],
                height=shape[2],
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
        with _open(self._path) as (file, shape):
            bytes_per_clip, start = int(np.prod(shape[1:])), file.tell()
            for request in requests:
                file.seek(start + numbers[request.video.name] * bytes_per_clip)
                content = file.read(bytes_per_clip)
                if len(content) < bytes_per_clip:
                    raise EOFError("the array is cut off")
                frames = np.frombuffer(content, np.uint8).reshape(shape[1:])
                clips = [self._clip(frames, window) for window in request.windows]
                yield ReadClips(request, [transform(clip, request.video) for clip in clips])

    def _clip(self, frames: Clip, window: range) -> Clip:
        chosen = frames[list(window)]
        if self._size is None:
            return chosen
        return np.stack([prepare_frame(frame, self._size, self._crop) for frame in chosen])


def _labels(path: Path, count: int) -> Sequence[int | None]:
    """The labels of the clips; None for each if the file has none.

    Raises:
        DataError: if they are not one integer per clip.
    """
    with np.load(path) as arrays:  # reads only the arrays that are accessed
        if _LABELS not in arrays.files:
            return [None] * count
        labels = arrays[_LABELS]
    if labels.dtype.kind not in "iu" or labels.shape != (count,):
        raise DataError(
            f"{path}: `{_LABELS}` is {labels.dtype} of shape {labels.shape}",
            hint=f"it must hold a whole number for each of the {count} clips, -1 for no label; or "
            "leave it out",
        )
    found: list[int | None] = labels.tolist()
    return found


def _stamp(path: Path) -> str:
    """Identifies the file: its path, size, modification time, and the checksum of its clips.

    Without the checksum, another uncompressed array of the same shape would look the same.
    """
    with zipfile.ZipFile(path) as archive:
        checksum = archive.getinfo(_MEMBER).CRC
    stat = path.stat()
    return f"{path.resolve()}-{stat.st_size}-{stat.st_mtime_ns}-{checksum:08x}"


@contextmanager
def _open(path: Path) -> Iterator[tuple[IO[bytes], tuple[int, ...]]]:
    """Open the array: a file at its first byte, and its shape.

    Raises:
        DataError: if the file is damaged, also while it is open, or holds no such array.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(_MEMBER) as file:
            yield file, _read_header(file, path)
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(
            f"{path}: damaged, or no npz file with an array `clips`",
            hint="`latte sample --format npz` writes such files",
        ) from error


def _read_header(file: IO[bytes], path: Path) -> tuple[int, ...]:
    """The array's shape; `file` is left at its first byte."""
    version = np.lib.format.read_magic(file)
    read: Any = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, fortran, dtype = read(file)
    if dtype != np.uint8 or fortran or len(shape) != 5 or shape[-1] != 3 or 0 in shape:
        raise DataError(
            f"{path}: `clips` is {dtype} of shape {tuple(shape)}",
            hint="it must be uint8 (clips, frames, height, width, 3)",
        )
    return tuple(int(length) for length in shape)
