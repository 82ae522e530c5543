"""Finds out length and size of a folder's videos by decoding each once; results are cached."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from latte_cli.data.journal import RULES, stamp_of
from latte_cli.data.manifest import SourceVideo
from latte_cli.runtime.claims import claimed
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import VideoError
from latte_cli.runtime.files import write_text
from latte_cli.runtime.records import record_from
from latte_cli.runtime.workers import prefetch
from latte_cli.video_io import inspect_video

_RETRY_S = 0.2  # while another process scans the folder


@dataclass(frozen=True)
class ScannedVideo:
    """What decoding a video showed.

    Attributes:
        stamp: sizes and modification times of its files at that time.
        frames: number that decode; 0 if it is unreadable.
        width: pixels.
        height: pixels.
        reason: why it is unreadable; empty if it is readable.
        pixel_aspect: by which frames are stretched, so that their pixels are square.
        rules: version of the rules that it was checked by.
    """

    stamp: str
    frames: int = 0
    width: int = 0
    height: int = 0
    reason: str = ""
    pixel_aspect: float = 1.0
    rules: int = 0


def scan_videos(
    folder: Path, paths: Sequence[Path], cache: Path, workers: int, console: Console
) -> dict[Path, ScannedVideo]:
    """Decode every video that is not in the cache yet, or whose files have changed.

    Args:
        folder: the folder that holds all of them.
        paths: of the videos: files and frame folders.
        cache: folder of the cache.
        workers: videos decoded at a time.
        console: shows progress.

    Returns:
        The facts of each video, in the order of `paths`.
    """
    digest = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    name = digest[:16]
    while True:
        with claimed(cache / f"{name}.claim") as is_ours:
            if is_ours:
                return _scan(folder, paths, cache / f"{name}.json", workers, console)
        time.sleep(_RETRY_S)  # another process scans this folder; its results are used then


def _scan(
    folder: Path, paths: Sequence[Path], file: Path, workers: int, console: Console
) -> dict[Path, ScannedVideo]:
    cached = _read_cache(file)
    stamps = {path: json.dumps(stamp_of(SourceVideo(path))) for path in paths}
    found = {path: cached.get(str(path.relative_to(folder))) for path in paths}
    todo = [(p, stamps[p]) for p in paths if (s := found[p]) is None or s.stamp != stamps[p]]
    scanned = {path: video for path, video in found.items() if video is not None}
    if todo:
        with console.progress("scanning", len(todo), "videos") as bar:
            for (path, _), video in prefetch(_decode, todo, workers):
                scanned[path] = video
                bar.advance()
        rows = {str(path.relative_to(folder)): asdict(scanned[path]) for path in paths}
        write_text(file, json.dumps(rows, indent=0) + "\n")
    return {path: scanned[path] for path in paths}


def _decode(video: tuple[Path, str]) -> ScannedVideo:
    path, stamp = video
    try:
        facts = inspect_video(path)
    except VideoError as error:
        return ScannedVideo(stamp, reason=str(error).removeprefix(f"{path}: "), rules=RULES)
    except OSError as error:
        return ScannedVideo(stamp, reason=(error.strerror or str(error)).lower(), rules=RULES)
    size = facts.width, facts.height
    return ScannedVideo(stamp, facts.frames, *size, pixel_aspect=facts.pixel_aspect, rules=RULES)


def _read_cache(file: Path) -> dict[str, ScannedVideo]:
    """The cached facts; nothing if the file is missing or damaged, and all videos are scanned."""
    try:
        rows: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        scanned = {name: record_from(ScannedVideo, row) for name, row in rows.items()}
        return {name: video for name, video in scanned.items() if video.rules == RULES}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
