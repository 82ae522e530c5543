"""Clips of one size stacked in an npz file, written and read one clip at a time."""

# Axes: n clips, f frames, h height, w width, 3 color channels (RGB).

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from latte_cli.runtime.array_files import ARRAY_ERRORS, no_password_needed
from latte_cli.runtime.errors import DataError
from latte_cli.runtime.files import atomic_file
from latte_cli.video_io import Frame

NO_LABEL = -1
"""In `labels`, for a clip without a label."""


def write_frames(path: Path, frames: Iterable[Frame]) -> None:
    """Write a clip atomically as an npy file, (f, h, w, 3) uint8, frame by frame."""
    with atomic_file(path) as part, part.open("wb") as file:
        count, shape = 0, (0, 0, 3)
        for frame in frames:
            if not count:
                shape = frame.shape
                _write_header(file, (0, *shape))
            file.write(np.ascontiguousarray(frame, np.uint8).tobytes())
            count += 1
        file.seek(0)
        # NumPy pads a header so that the first axis can grow: its length stays the same.
        _write_header(file, (count, *shape))


def write_stack(
    path: Path,
    clips: Iterable[NDArray[np.uint8]],
    names: Sequence[str],
    metadata: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
) -> None:
    """Write an npz file atomically; the same clips give the same bytes.

    Args:
        path: of the file. `clips` is uint8 (n, f, h, w, 3); `labels`, int64 (n,), is -1 where there
            is none; `seeds`, int64 (n,); `names`, (n,), `abouts`, (n,), a JSON object each, and
            `settings` are text.
        clips: (f, h, w, 3) uint8 each, in order, of one shape; read one at a time.
        names: of the clips.
        metadata: of each clip; `label` and `seed` also fill the arrays of that name.
        settings: that all were sampled with.

    Raises:
        DataError: if a clip is of another shape than the first.
    """
    labels = [each.get("label") for each in metadata]
    arrays = {
        "labels": np.array([NO_LABEL if label is None else label for label in labels], np.int64),
        "seeds": np.array([each.get("seed", 0) for each in metadata], np.int64),
        "names": np.array(list(names), np.str_),
        "abouts": np.array([json.dumps(dict(m), ensure_ascii=False) for m in metadata], "U"),
        "settings": np.array(json.dumps(settings, ensure_ascii=False)),
    }
    with atomic_file(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        with archive.open(_member("clips"), "w", force_zip64=True) as file:
            _write_clips(file, clips, len(names))
        for name, values in arrays.items():
            with archive.open(_member(name), "w") as file:
                np.lib.format.write_array(file, values, allow_pickle=False)


def read_names(path: Path) -> tuple[str, ...]:
    """The names of a stack's clips, in order; empty if there is no such file.

    Raises:
        DataError: if it is damaged, or was not written here.
    """
    if not path.is_file():
        return ()
    with _opened(path) as arrays:
        return tuple(map(str, arrays["names"]))


def read_metadata(path: Path) -> dict[str, dict[str, Any]]:
    """The metadata of a stack's clips, by their names; empty if there is no such file.

    Stacks of earlier versions have only index, seed and label.

    Raises:
        DataError: if it is damaged, or was not written here.
    """
    if not path.is_file():
        return {}
    with _opened(path) as arrays:
        if "abouts" in arrays:
            metadata = [dict(json.loads(each)) for each in arrays["abouts"].tolist()]
        else:
            pairs = zip(arrays["seeds"].tolist(), arrays["labels"].tolist(), strict=True)
            metadata = [
                {"index": index, "seed": seed, "label": None if label == NO_LABEL else label}
                for index, (seed, label) in enumerate(pairs)
            ]
        return dict(zip(arrays["names"].tolist(), metadata, strict=True))


def read_settings(path: Path) -> dict[str, Any]:
    """The settings that the clips of a stack were sampled with.

    Raises:
        DataError: if it is damaged, or was not written here.
    """
    with _opened(path) as arrays:
        return dict(json.loads(str(arrays["settings"])))


def iter_clips(path: Path) -> Iterator[NDArray[np.uint8]]:
    """The clips of a stack in order, (f, h, w, 3) uint8, one at a time.

    Raises:
        DataError: if it is damaged.
    """
    try:
        with (
            no_password_needed(),
            zipfile.ZipFile(path) as archive,
            archive.open("clips.npy") as file,
        ):
            np.lib.format.read_magic(file)
            (count, *shape), _, _ = np.lib.format.read_array_header_1_0(file)
            for _ in range(count):
                content = file.read(int(np.prod(shape)))
                yield np.frombuffer(content, np.uint8).reshape(shape)
    except ARRAY_ERRORS as error:
        raise _damaged(path) from error


@contextmanager
def _opened(path: Path) -> Iterator[Mapping[str, NDArray[Any]]]:
    """The arrays of a file; DataError on what cannot be read."""
    try:
        with no_password_needed(), np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except ARRAY_ERRORS as error:
        raise _damaged(path) from error


def _write_clips(file: IO[bytes], clips: Iterable[NDArray[np.uint8]], count: int) -> None:
    shape = None
    for clip in clips:
        if shape is None:
            shape = clip.shape
            _write_header(file, (count, *shape))
        if clip.shape != shape:
            raise DataError(
                f"a clip is {clip.shape}, others are {shape}",
                hint="clips of one npz file have one shape; give another --out",
            )
        file.write(np.ascontiguousarray(clip).data)


def _write_header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def _member(name: str) -> zipfile.ZipInfo:
    """A member without a time stamp, so that the same clips give the same file."""
    return zipfile.ZipInfo(f"{name}.npy")


def _damaged(path: Path) -> DataError:
    return DataError(
        f"{path}: damaged, or not written by `latte sample`",
        hint="give another --out, or delete it",
    )
