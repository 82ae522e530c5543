"""Videos on disk: a prepared data set, or any folder of videos and frame folders."""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from latte_cli.data.frames import Crop, prepare_frame, prepared_frames
from latte_cli.data.manifest import Dataset, VideoRecord, read_dataset
from latte_cli.evaluation.sources.scanning import ScannedVideo, scan_videos
from latte_cli.evaluation.sources.videos import (
    Clip,
    Encoding,
    ReadClips,
    ReadRequest,
    Transform,
    Video,
    unchanged,
)
from latte_cli.runtime.console import Console
from latte_cli.runtime.cpus import cpu_share
from latte_cli.runtime.errors import DataError, VideoError
from latte_cli.runtime.workers import prefetch
from latte_cli.sampling.clip_list import read_samples
from latte_cli.sources.folder_tree import find_videos_below
from latte_cli.video_io import Frame, iter_frames
from latte_cli.video_io.encoders import encoder_of
from latte_cli.video_io.frame_folders import frame_files
from latte_cli.video_io.suffixes import is_video_name

_ReadFrames = Callable[[Video, range], Iterator[Frame]]
"""Decodes the given frames of a video, cropped and resized."""

_MAX_WORKERS = 8
_LABEL = re.compile(r"-label(\d+)(?:-.+)?$")  # in names of files that `latte sample` writes
_JPEG = (".jpg", ".jpeg")


class PreparedSource:
    """The videos of a prepared data set.

    Args:
        folder: of the data set.
        split: train, test or all.
        size: height and width of the clips' frames, pixels.
        crop: order of crop and resize; a video with a mask is cropped to the face.

    Raises:
        DataError: if the folder is no data set, or has no videos of the split.
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

    def origin(self, video: Video) -> str:
        """See `Source`."""
        return encoder_of(self._dataset.path_of(self._records[video.name]))

    def read(
        self, requests: Sequence[ReadRequest], transform: Transform = unchanged
    ) -> Iterator[ReadClips]:
        """See `Source`."""
        yield from _read_ahead(self._frames, requests, transform)

    def _frames(self, video: Video, numbers: range) -> Iterator[Frame]:
        record = self._records[video.name]
        return prepared_frames(self._dataset, record, self._size, self._crop, numbers)

    def _video(self, name: str, record: VideoRecord) -> Video:
        return Video(
            name=name,
            key=f"{record.sha256}-{record.frames}{_mask_key(self._dataset, record)}"
            + (f"-{record.pixel_aspect}" if record.pixel_aspect != 1 else ""),
            frames=record.frames,
            width=record.width,
            height=record.height,
            label=record.label,
            encoding=_encoding(self._dataset.path_of(record)),
            captions=record.captions,
        )


class FolderSource:
    """Videos and frame folders below a folder; each is decoded once to find out its length.

    Args:
        folder: holds them, at any depth.
        size: height and width of the clips' frames, pixels; None leaves frames as they are.
        crop: order of crop and resize.
        scan_cache: folder in which length and size of the videos are cached.
        console: shows progress.

    Raises:
        DataError: if there are no videos, or none is readable.
    """

    def __init__(
        self, folder: Path, size: int | None, crop: Crop, scan_cache: Path, console: Console
    ) -> None:
        self.place = str(folder)
        self._folder, self._size, self._crop = folder, size, crop
        paths = find_videos_below(folder)
        scanned = scan_videos(folder, paths, scan_cache, cpu_share(_MAX_WORKERS), console)
        self._paths = {str(path.relative_to(folder)): path for path in paths}
        # Of clips that `latte t2v` has sampled.
        samples = read_samples(folder).values()
        self._prompts = {row["file"]: str(row["prompt"]) for row in samples if "prompt" in row}
        by_name = {name: scanned[path] for name, path in self._paths.items()}
        self.unreadable = {name: video.reason for name, video in by_name.items() if video.reason}
        self.videos = [
            self._video(name, video) for name, video in sorted(by_name.items()) if not video.reason
        ]
        if not self.videos:
            problem = "no videos in this folder"
            if self.unreadable:
                name, reason = next(iter(self.unreadable.items()))
                problem = (
                    f"none of its {len(paths)} videos can be read, the first is {name} ({reason})"
                )
            arrays = sorted(path.name for path in folder.glob("*.npz"))
            raise DataError(
                f"{folder}: {problem}",
                hint=f"give the npz file itself, {folder / arrays[0]}"
                if arrays
                else "give a folder of videos or of frame folders, a prepared data set, or an npz "
                "file",
            )
        folders = sum(path.is_dir() for path in paths)
        self.kind = "folder of frame folders" if folders > len(paths) / 2 else "folder of videos"

    def origin(self, video: Video) -> str:
        """See `Source`."""
        return encoder_of(self._paths[video.name])

    def read(
        self, requests: Sequence[ReadRequest], transform: Transform = unchanged
    ) -> Iterator[ReadClips]:
        """See `Source`."""
        yield from _read_ahead(self._frames, requests, transform)

    def _frames(self, video: Video, numbers: range) -> Iterator[Frame]:
        for frame in iter_frames(self._paths[video.name], numbers):
            yield frame if self._size is None else prepare_frame(frame, self._size, self._crop)

    def _video(self, name: str, scanned: ScannedVideo) -> Video:
        stem = Path(name).stem if is_video_name(name) else name
        label = _LABEL.search(stem)
        return Video(
            name=name,
            # The full path: unpacked archives may have equal names, sizes and times in two folders.
            key=f"{self._paths[name].resolve()}-{scanned.stamp}"
            + (f"-{scanned.pixel_aspect}" if scanned.pixel_aspect != 1 else ""),
            frames=scanned.frames,
            width=scanned.width,
            height=scanned.height,
            label=int(label[1]) if label else None,
            encoding=_encoding(self._paths[name]),
            captions=(self._prompts[name],) if name in self._prompts else (),
        )


def _read_ahead(
    read_frames: _ReadFrames, requests: Sequence[ReadRequest], transform: Transform
) -> Iterator[ReadClips]:
    """Decode and transform in threads, a few videos in advance."""

    def read(request: ReadRequest) -> ReadClips:
        clips = _clips(read_frames, request)
        return ReadClips(request, [transform(clip, request.video) for clip in clips])

    for _, clips in prefetch(read, requests, cpu_share(_MAX_WORKERS)):
        yield clips


def _clips(read_frames: _ReadFrames, request: ReadRequest) -> list[Clip]:
    """The clips of one video, decoded in one pass."""
    windows = request.windows
    first, last = min(w[0] for w in windows), max(w[-1] for w in windows)
    numbers = windows[0] if len(windows) == 1 else range(first, last + 1)
    needed = {number for window in windows for number in window}
    decoded = zip(numbers, read_frames(request.video, numbers), strict=False)
    found = {number: frame for number, frame in decoded if number in needed}
    if len(found) < len(needed):
        raise VideoError(
            f"{request.video.name}: frame {min(needed - found.keys())} is missing now",
            hint="prepare the data set again if the file changed; else run the same command again",
        )
    return [np.stack([found[number] for number in window]) for window in windows]


def _encoding(path: Path) -> Encoding:
    """How a video's pixels are stored; a missing file is reported when it is read."""
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
    except OSError:  # reported when the video is read
        return f"-mask-{path}"


def _names(paths: Sequence[Path]) -> list[str]:
    """Paths relative to the folder that holds them all, so that a data set may be moved."""
    absolute = [os.path.abspath(path) for path in paths]
    top = os.path.commonpath([os.path.dirname(path) for path in absolute])
    return [os.path.relpath(path, top) for path in absolute]
