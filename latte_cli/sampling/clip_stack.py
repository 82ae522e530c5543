"""Clips of one size stacked in an npz file, one after the other: never all in memory."""

# Axes: n clips, f frames, h height, w width, 3 colour channels (RGB).

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from latte_cli.runtime.errors import DataError
from latte_cli.runtime.files import whole_file
from latte_cli.video_io import Frame

_DAMAGE = (zipfile.BadZipFile, ValueError, EOFError, KeyError)
NO_LABEL = -1
"""Stands in `labels` for a clip without a label."""


def write_frames(path: Path, frames: Iterable[Frame]) -> None:
    """Write a clip as a whole npy file, (f, h, w, 3) uint8, frame by frame."""
    with whole_file(path) as part, part.open("wb") as file:
        count, shape = 0, (0, 0, 3)
        for frame in frames:
            if not count:
                shape = frame.shape
                _write_header(file, (0, *shape))
            file.write(np.ascontiguousarray(frame, np.uint8).tobytes())
            count += 1
        file.seek(0)
        # NumPy leaves room in a header for the first axis to grow, so that it keeps its length.
        _write_header(file, (count, *shape))


def write_stack(
    path: Path,
    clips: Iterable[NDArray[np.uint8]],
    names: Sequence[str],
    abouts: Sequence[Mapping[str, Any]],
    settings: Mapping[str, Any],
) -> None:
    """Write a whole npz file; the same clips give the same bytes.

    Args:
        path: of the file. `clips` is uint8 (n, f, h, w, 3); `labels`, int64 (n,), is -1 where there
            is none; `seeds`, int64 (n,); `names`, (n,), `abouts`, (n,), a JSON object each, and
            `settings` are text.
        clips: (f, h, w, 3) uint8 each, in order, of one shape; read one at a time.
        names: of the clips.
        abouts: what each was drawn from; `label` and `seed` also fill the arrays of that name.
        settings: that all were drawn with.

    Raises:
        DataError: if a clip is of another shape than the first.
    """
    labels = [about.get("label") for about in abouts]
    small = {
        "labels": np.array([NO_LABEL if label is None else label for label in labels], np.int64),
        "seeds": np.array([about.get("seed", 0) for about in abouts], np.int64),
        "names": np.array(list(names), np.str_),
        "abouts": np.array([json.dumps(dict(each), ensure_ascii=False) for each in abouts], "U"),
        "settings": np.array(json.dumps(settings, ensure_ascii=False)),
    }
    with whole_file(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        with archive.open(_member("clips"), "w", force_zip64=True) as file:
            _write_clips(file, clips, len(names))
        for name, values in small.items():
            with archive.open(_member(name), "w") as file:
                np.lib.format.write_array(file, values, allow_pickle=False)


def read_names(path: Path) -> tuple[str, ...]:
    """Names of the clips of a stack, in order; none where there is no such file.

    Raises:
        DataError: if it is damaged, or was not written here.
    """
    return tuple(str(name) for name in _read(path, "names")) if path.is_file() else ()


def read_abouts(path: Path) -> dict[str, dict[str, Any]]:
    """What each clip of a stack was drawn from, by its name; none where there is no such file.

    Stacks of earlier versions tell only index, seed and label.

    Raises:
        DataError: if it is damaged, or was not written here.
    """
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = arrays["names"].tolist()
            if "abouts" in arrays.files:
                abouts = [dict(json.loads(about)) for about in arrays["abouts"].tolist()]
            else:
                told = zip(arrays["seeds"].tolist(), arrays["labels"].tolist(), strict=True)
                abouts = [
                    {"index": index, "seed": seed, "label": None if label == NO_LABEL else label}
                    for index, (seed, label) in enumerate(told)
                ]
            return dict(zip(names, abouts, strict=True))
    except (*_DAMAGE, TypeError) as error:
        raise _damaged(path) from error


def read_settings(path: Path) -> dict[str, Any]:
    """What the clips of a stack were drawn with.

    Raises:
        DataError: if it is damaged, or was not written here.
    """
    try:
        return dict(json.loads(str(_read(path, "settings"))))
    except (ValueError, TypeError) as error:
        raise _damaged(path) from error


def iter_clips(path: Path) -> Iterator[NDArray[np.uint8]]:
    """The clips of a stack in order, (f, h, w, 3) uint8, one at a time.

    Raises:
        DataError: if it is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open("clips.npy") as file:
            np.lib.format.read_magic(file)
            (count, *shape), _, _ = np.lib.format.read_array_header_1_0(file)
            for _ in range(count):
                content = file.read(int(np.prod(shape)))
                yield np.frombuffer(content, np.uint8).reshape(shape)
    except _DAMAGE as error:
        raise _damaged(path) from error


def _read(path: Path, name: str) -> NDArray[Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return np.asarray(arrays[name])
    except _DAMAGE as error:
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
    """A member without the time of day, so that the same clips give the same file."""
    return zipfile.ZipInfo(f"{name}.npy")


def _damaged(path: Path) -> DataError:
    return DataError(
        f"{path}: damaged, or not written by `latte sample`",
        hint="give another --out, or delete it",
    )
