"""Clips in an npz file, as `latte sample --format npz` writes them; never all in memory."""

# Axes: n clips, f frames, h height, w width, 3 colour channels (RGB).

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from latte_cli.data.frames import Crop, prepare_frame
from latte_cli.evaluation.sources.videos import Clip, Finish, ReadClips, Video, Wanted, as_it_is
from latte_cli.runtime.errors import DataError

_MEMBER, _LABELS = "clips.npy", "labels"
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, KeyError)


class NpzSource:
    """The array `clips` of an npz file, uint8 (n, f, h, w, 3), compressed or not.

    Args:
        path: of the file.
        size: side of the clips' frames, pixels; None leaves frames as they are.
        crop: order of crop and resize, where frames are of another size.

    Raises:
        DataError: if the file is damaged, holds no such array, or labels that do not fit it.
    """

    kind = "npz"
    unreadable: Mapping[str, str] = {}

    def __init__(self, path: Path, size: int | None, crop: Crop) -> None:
        self.place = str(path)
        self._path, self._size, self._crop = path, size, crop
        with _open(path) as (_, shape), _told(path):
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
                written="lossless",
            )
            for number, label in enumerate(labels)
        ]

    def read(self, wanted: Sequence[Wanted], finish: Finish = as_it_is) -> Iterator[ReadClips]:
        """See `Source`; forward through the file, as a compressed one is quick to read."""
        numbers = {video.name: number for number, video in enumerate(self.videos)}
        with _open(self._path) as (file, shape), _told(self._path):
            bytes_each, start = int(np.prod(shape[1:])), file.tell()
            for each in wanted:
                file.seek(start + numbers[each.video.name] * bytes_each)
                content = _exactly(file, bytes_each)
                frames = np.frombuffer(content, np.uint8).reshape(shape[1:])
                clips = [self._clip(frames, window) for window in each.windows]
                yield ReadClips(each, [finish(clip, each.video) for clip in clips])

    def _clip(self, frames: Clip, window: range) -> Clip:
        chosen = frames[list(window)]
        if self._size is None:
            return chosen
        return np.stack([prepare_frame(frame, self._size, self._crop) for frame in chosen])


def _labels(path: Path, count: int) -> Sequence[int | None]:
    """Of so many clips; of none where the file holds no labels.

    Raises:
        DataError: if they are no whole numbers, or more or fewer.
    """
    with np.load(path) as arrays:  # the labels alone; members are read when asked for
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
    """What tells the file from any other: where it lies, how it looks, the checksum of its clips.

    An array that is not packed is of one size, whatever it holds.
    """
    with zipfile.ZipFile(path) as archive:
        checksum = archive.getinfo(_MEMBER).CRC
    seen = path.stat()
    return f"{path.resolve()}-{seen.st_size}-{seen.st_mtime_ns}-{checksum:08x}"


@contextmanager
def _open(path: Path) -> Iterator[tuple[IO[bytes], tuple[int, ...]]]:
    """The array's bytes, and its shape."""
    with _told(path), zipfile.ZipFile(path) as archive, archive.open(_MEMBER) as file:
        yield file, _header(file, path)


def _header(file: IO[bytes], path: Path) -> tuple[int, ...]:
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


def _exactly(file: IO[bytes], count: int) -> bytes:
    content = file.read(count)
    if len(content) < count:
        raise EOFError("cut off")
    return content


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Damage in words."""
    try:
        yield
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(
            f"{path}: damaged, or no npz file with an array `clips`",
            hint="`latte sample --format npz` writes such files",
        ) from error
