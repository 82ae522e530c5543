"""Videos that lie on a disk: a prepared data set, or any folder of videos and frame folders."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from latte_cli.data.frames import Crop, prepare_frame
from latte_cli.data.manifest import Dataset, VideoRecord, read_dataset
from latte_cli.data.prepared import prepared_frames
from latte_cli.evaluation.sources.survey import Seen, survey
from latte_cli.evaluation.sources.videos import (
    Clip,
    Finish,
    ReadClips,
    Video,
    Wanted,
    Written,
    as_it_is,
)
from latte_cli.runtime.console import Console
from latte_cli.runtime.distributed import local_world_size
from latte_cli.runtime.errors import DataError, VideoError
from latte_cli.runtime.prefetch import ahead
from latte_cli.sources.walking import find_videos_below, is_video_name
from latte_cli.video_io import Frame, iter_frames
from latte_cli.video_io.frame_folders import frame_files

_FramesOf = Callable[[Video, range], Iterator[Frame]]
"""Gives frames of some numbers of a video, square and of the size."""

_MOST_WORKERS = 8
_LABEL = re.compile(r"-label(\d+)$")
_JPEG = (".jpg", ".jpeg")


class PreparedSource:
    """The videos of a prepared data set.

    Args:
        folder: of the data set.
        split: train, test or all.
        size: side of the clips' frames, pixels.
        crop: order of crop and resize; a video with a mask is cropped to the face.

    Raises:
        DataError: if it is none, or holds no videos of the split.
    """

    kind = "prepared data set"
    unreadable: Mapping[str, str] = {}

    def __init__(self, folder: Path, split: str, size: int, crop: Crop) -> None:
        self.place = str(folder)
        self._dataset, self._size, self._crop = read_dataset(folder), size, crop
        records = self._dataset.of_split(split)
        if not records:
            raise DataError(
                f"{folder}: no videos of the split `{split}`", hint="--split all takes all of them"
            )
        names = _names([self._dataset.path_of(record) for record in records])
        self._records = dict(zip(names, records, strict=True))
        self.videos = sorted(
            (self._video(name, record) for name, record in self._records.items()),
            key=lambda video: video.name,
        )

    def read(self, wanted: Sequence[Wanted], finish: Finish = as_it_is) -> Iterator[ReadClips]:
        """See `Source`."""
        yield from _read_ahead(self._frames, wanted, finish)

    def _frames(self, video: Video, numbers: range) -> Iterator[Frame]:
        record = self._records[video.name]
        return prepared_frames(self._dataset, record, self._size, self._crop, numbers)

    def _video(self, name: str, record: VideoRecord) -> Video:
        return Video(
            name=name,
            key=f"{record.sha256}-{record.frames}{_mask_key(self._dataset, record)}",
            frames=record.frames,
            width=record.width,
            height=record.height,
            label=record.label,
            written=_written(self._dataset.path_of(record)),
        )


class FolderSource:
    """Videos and folders of frames below a folder; each is decoded once to know its length.

    Args:
        folder: that holds them, at any depth.
        size: side of the clips' frames, pixels; None leaves frames as they are.
        crop: order of crop and resize.
        memory: folder in which is kept what was seen.
        console: tells how it goes.

    Raises:
        DataError: if there are no videos, or none that can be read.
    """

    def __init__(
        self, folder: Path, size: int | None, crop: Crop, memory: Path, console: Console
    ) -> None:
        self.place = str(folder)
        self._folder, self._size, self._crop = folder, size, crop
        paths = find_videos_below(folder)
        seen = survey(folder, paths, memory, _workers(), console)
        self._paths = {str(path.relative_to(folder)): path for path in paths}
        facts = {str(path.relative_to(folder)): found for path, found in seen.items()}
        self.unreadable = {name: f.reason for name, f in facts.items() if f.reason}
        self.videos = [
            self._video(name, found) for name, found in sorted(facts.items()) if not found.reason
        ]
        if not self.videos:
            raise DataError(f"{folder}: {_nothing(self.unreadable)}", hint=_HINT)
        folders = sum(path.is_dir() for path in paths)
        self.kind = "folder of frame folders" if folders > len(paths) / 2 else "folder of videos"

    def read(self, wanted: Sequence[Wanted], finish: Finish = as_it_is) -> Iterator[ReadClips]:
        """See `Source`."""
        yield from _read_ahead(self._frames, wanted, finish)

    def _frames(self, video: Video, numbers: range) -> Iterator[Frame]:
        for frame in iter_frames(self._paths[video.name], numbers):
            yield frame if self._size is None else prepare_frame(frame, self._size, self._crop)

    def _video(self, name: str, seen: Seen) -> Video:
        stem = Path(name).stem if is_video_name(name) else name
        label = _LABEL.search(stem)
        return Video(
            name=name,
            # Names, sizes and times of two folders may be the same where archives were unpacked.
            key=f"{self._paths[name].resolve()}-{seen.stamp}",
            frames=seen.frames,
            width=seen.width,
            height=seen.height,
            label=int(label[1]) if label else None,
            written=_written(self._paths[name]),
        )


_HINT = "give a folder of videos or of frame folders, a prepared data set, or an npz file"


def _nothing(unreadable: Mapping[str, str]) -> str:
    if not unreadable:
        return "no videos in this folder"
    name, reason = next(iter(unreadable.items()))
    return f"none of its {len(unreadable)} videos can be read, the first is {name} ({reason})"


def _read_ahead(
    frames_of: _FramesOf, wanted: Sequence[Wanted], finish: Finish
) -> Iterator[ReadClips]:
    def read(each: Wanted) -> list[Clip]:
        return [finish(clip, each.video) for clip in _clips(frames_of, each)]

    for each, clips in ahead(read, wanted, _workers()):
        yield ReadClips(each, clips)


def _clips(frames_of: _FramesOf, wanted: Wanted) -> list[Clip]:
    """A video's windows, decoded in one pass."""
    windows = wanted.windows
    first, last = min(w[0] for w in windows), max(w[-1] for w in windows)
    numbers = windows[0] if len(windows) == 1 else range(first, last + 1)
    needed = {number for window in windows for number in window}
    decoded = zip(numbers, frames_of(wanted.video, numbers), strict=False)
    found = {number: frame for number, frame in decoded if number in needed}
    if len(found) < len(needed):
        raise VideoError(
            f"{wanted.video.name}: frame {min(needed - found.keys())} is not there any more",
            hint="was it changed? prepare the data set again, or run the same command again",
        )
    return [np.stack([found[number] for number in window]) for window in windows]


def _written(path: Path) -> Written:
    """How a video's pixels are kept; what is gone by now is told when it is read."""
    if is_video_name(path.name) and not path.is_dir():
        return "video"
    try:
        return "jpeg" if frame_files(path)[0].suffix.lower() in _JPEG else "lossless"
    except (VideoError, OSError):
        return "lossless"


def _mask_key(dataset: Dataset, record: VideoRecord) -> str:
    if record.mask is None:
        return ""
    path = (dataset.folder / record.mask).resolve()
    try:
        return f"-mask-{path}-{path.stat().st_size}-{path.stat().st_mtime_ns}"
    except OSError:  # told when the video is read
        return f"-mask-{path}"


def _names(paths: Sequence[Path]) -> list[str]:
    """What paths are called below the folder that holds them all: a data set may be moved."""
    absolute = [os.path.abspath(path) for path in paths]
    top = os.path.commonpath([os.path.dirname(path) for path in absolute])
    return [os.path.relpath(path, top) for path in absolute]


def _workers() -> int:
    """Threads that decode: this process's share of the processors."""
    return max(1, min(_MOST_WORKERS, (os.cpu_count() or 1) // local_world_size()))
