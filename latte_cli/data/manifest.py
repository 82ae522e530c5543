"""The manifest: one record for each video of a prepared data set."""

import json
import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from latte_cli.runtime.errors import DataError
from latte_cli.runtime.files import atomic_file, read_json_lines, write_text
from latte_cli.runtime.records import record_from
from latte_cli.runtime.remote.urls import is_url, local_path

MANIFEST = "manifest.jsonl"
REJECTED = "rejected.jsonl"
_META = "meta.json"
_RUN_AGAIN = "run `latte prepare` again"


@dataclass(frozen=True)
class SourceVideo:
    """A video found by a native layout, not yet opened.

    Attributes:
        path: a video file, or a folder of one video's frames.
        label: number of its class.
        split: `train` or `test`.
        caption: text that describes it.
        mask: a video of the same frames, dark where the face is; frames are cropped to it.
        more_captions: other texts that describe it.
    """

    path: Path
    label: int | None = None
    split: str = "train"
    caption: str | None = None
    mask: Path | None = None
    more_captions: tuple[str, ...] = ()


@dataclass(frozen=True)
class VideoRecord:
    """One line of the manifest: a video that decodes to its last frame.

    Attributes:
        path: of a file, or of a folder of frames; relative to the data set's folder if it is
            inside it, else absolute; of one that lies elsewhere its URL.
        frames: number of frames that decode.
        fps: frames per second, on average; 0 if unknown, as for a folder of frames.
        width: as displayed, pixels.
        height: as displayed, pixels.
        label: number of its class; None if it has none.
        caption: text that describes it; None if there is none.
        split: `train` or `test`.
        bytes: of the file, or of all frames.
        sha256: of the file, or of all frames, names included.
        rotation: degrees by which frames are turned clockwise to be upright.
        variable_fps: whether frames are unevenly spaced in time.
        mask: path of the mask video, as `path`; None: frames are cropped to their center.
        mirrored: whether frames are mirrored left to right before they are turned.
        pixel_aspect: width of a pixel over its height in the file, by which frames are stretched;
            1: they are not.
        end: `known` if the file's format tells that it is whole; `unknown` if it cannot tell, as
            MPEG-TS.
        more_captions: other texts that describe it.
    """

    path: str
    frames: int
    fps: float
    width: int
    height: int
    label: int | None
    caption: str | None
    split: str
    bytes: int
    sha256: str
    rotation: int = 0
    variable_fps: bool = False
    mask: str | None = None
    mirrored: bool = False
    pixel_aspect: float = 1.0
    end: str = "known"
    more_captions: tuple[str, ...] = ()

    @property
    def captions(self) -> tuple[str, ...]:
        """All texts that describe it."""
        return (() if self.caption is None else (self.caption,)) + self.more_captions

    def with_stored_pixels(self) -> "VideoRecord":
        """The same video, not stretched: sizes as they are in the file, but turned upright."""
        size = [self.width, self.height]
        sideways = self.rotation in (90, 270)
        if self.pixel_aspect > 1:
            size[sideways] = round(size[sideways] / self.pixel_aspect)
        else:
            size[not sideways] = round(size[not sideways] * self.pixel_aspect)
        return replace(self, width=size[0], height=size[1], pixel_aspect=1.0)


@dataclass(frozen=True)
class Rejection:
    """One line of rejected.jsonl: a file that is not a usable video, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """A prepared data set: its folder, its videos in the manifest's order, and its class names."""

    folder: Path
    videos: tuple[VideoRecord, ...]
    classes: tuple[str, ...]

    def path_of(self, video: VideoRecord) -> Path:
        """Full path of a video; of one that lies elsewhere, which may have to be fetched there."""
        return self.place(video.path)

    def place(self, stored: str) -> Path:
        """Full path of a video or a mask, by its path in the manifest."""
        return local_path(stored) if is_url(stored) else self.folder / stored

    def of_split(self, split: str) -> tuple[VideoRecord, ...]:
        """The videos of `train` or `test`, or all."""
        return tuple(video for video in self.videos if split in ("all", video.split))


def without_duplicates(
    outcomes: Iterable[VideoRecord | Rejection],
) -> Iterator[VideoRecord | Rejection]:
    """Reject a video with the bytes, label, caption and mask of one before it."""
    first: dict[tuple[object, ...], str] = {}
    for outcome in outcomes:
        if isinstance(outcome, VideoRecord):
            key = (outcome.sha256, outcome.label, outcome.captions, outcome.mask)
            kept = first.setdefault(key, outcome.path)
            if kept != outcome.path:
                yield Rejection(outcome.path, f"a duplicate (its bytes are those of {kept})")
                continue
        yield outcome


def write_dataset(
    folder: Path,
    videos: Iterable[VideoRecord],
    rejections: Iterable[Rejection],
    classes: Iterable[str],
    source: str | None = None,
) -> None:
    """Write a data set's files, the manifest last: if it is there, the others are, too.

    Args:
        folder: the data set's.
        videos: lines of the manifest.
        rejections: lines of rejected.jsonl.
        classes: names of the labels, in order.
        source: what the data set was made from, for people; None if unknown.
    """
    write_rejections(folder, rejections)
    meta = {"classes": [as_text(name) for name in classes], "source": source}
    write_text(folder / _META, json.dumps(meta, ensure_ascii=False) + "\n")
    _write_lines(folder / MANIFEST, videos)


def write_rejections(folder: Path, rejections: Iterable[Rejection]) -> None:
    """Write why files were rejected, and leave the manifest as it is."""
    _write_lines(folder / REJECTED, rejections)


def as_text(name: str) -> str:
    """A file's name as valid text: bytes that are not UTF-8 become escapes."""
    return name.encode(errors="backslashreplace").decode()


def _write_lines(path: Path, rows: Iterable[VideoRecord | Rejection]) -> None:
    """Write a whole file line by line: there may be too many rows to hold in memory at once."""
    with atomic_file(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)


def prepared_datasets(root: Path) -> list[Path]:
    """The prepared data sets in a folder, by name."""
    return sorted(path.parent for path in root.glob(f"*/{MANIFEST}"))


def require_manifest(folder: Path, dataset: str = "folder --source VIDEOS") -> Path:
    """The manifest of a prepared data set.

    Args:
        folder: of the data set.
        dataset: what `latte prepare` is to be called with to make it, for the hint.

    Raises:
        DataError: if the folder holds none.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise DataError(
            f"{folder}: no prepared data set here",
            hint="this makes one:",
            command=f"latte prepare {dataset} --out {shlex.quote(str(folder))}",
        )
    return manifest


def read_dataset(folder: Path) -> Dataset:
    """Read a prepared data set.

    Raises:
        DataError: if the folder holds none, or a line does not parse.
    """
    manifest = require_manifest(folder)
    try:
        rows = read_json_lines(manifest)
        videos = tuple(video_from(row) for row in rows)
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{manifest}: a line is damaged ({error})", hint=_RUN_AGAIN) from error
    if not videos:
        raise DataError(f"{manifest}: holds no videos", hint="see rejected.jsonl beside it")
    return Dataset(folder, videos, read_classes(folder))


def read_classes(folder: Path) -> tuple[str, ...]:
    """Names of the labels of a prepared data set; empty if labels have no names.

    Raises:
        DataError: if the file that holds them is missing or damaged.
    """
    meta = folder / _META
    try:
        return tuple(json.loads(meta.read_text(encoding="utf-8"))["classes"])
    except FileNotFoundError as error:
        raise DataError(f"{meta}: is missing; it holds the class names", hint=_RUN_AGAIN) from error
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{meta}: is damaged ({error})", hint=_RUN_AGAIN) from error


@dataclass(frozen=True)
class PreviousDataset:
    """What an earlier data set was made from, and its videos' names, as far as readable."""

    source: str | None
    names: frozenset[str]


def read_previous(folder: Path) -> PreviousDataset:
    """Read the data set in a folder before it is replaced; never fails."""
    source, names = None, set()
    with suppress(OSError, ValueError, TypeError, KeyError):
        source = json.loads((folder / _META).read_text(encoding="utf-8"))["source"]
    with suppress(OSError), (folder / MANIFEST).open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            with suppress(ValueError, TypeError, KeyError):
                names.add(json.loads(line)["path"])
    return PreviousDataset(source, frozenset(names))


def video_from(row: dict[str, object]) -> VideoRecord:
    """A manifest line as a record; unknown keys, of later versions, are ignored.

    Raises:
        ValueError, TypeError: if it is none.
    """
    known = {field.name for field in fields(VideoRecord)}
    if not isinstance(row, dict):
        raise TypeError("not an object")
    return record_from(VideoRecord, {key: row[key] for key in row if key in known})
