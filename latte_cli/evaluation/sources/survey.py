"""What a folder's videos are: each is decoded once, and remembered while its files look alike."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from latte_cli.data.manifest import SourceVideo
from latte_cli.data.preparing.verdicts import stamp_of
from latte_cli.runtime.claims import claimed
from latte_cli.runtime.console import Console
from latte_cli.runtime.errors import VideoError
from latte_cli.runtime.files import write_text
from latte_cli.runtime.prefetch import ahead
from latte_cli.video_io import inspect_video
from latte_cli.video_io.frame_folders import inspect_frame_folder

_LOOK_AGAIN_S = 0.2  # while another process decodes


@dataclass(frozen=True)
class Seen:
    """What decoding a video showed.

    Attributes:
        stamp: sizes and times of its files when that was.
        frames: that decode; 0 if it cannot be read.
        width: pixels.
        height: pixels.
        reason: why it cannot be read; empty if it can.
    """

    stamp: str
    frames: int = 0
    width: int = 0
    height: int = 0
    reason: str = ""


def survey(
    folder: Path, paths: Sequence[Path], memory: Path, workers: int, console: Console
) -> dict[Path, Seen]:
    """Decode every video that is not known yet.

    Args:
        folder: that holds them all.
        paths: of the videos: files, and folders of frames.
        memory: folder in which is kept what was seen.
        workers: videos decoded at a time.
        console: tells how it goes.

    Returns:
        What was seen of each, in the order of `paths`.
    """
    name = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogateescape")).hexdigest()
    file = memory / f"{name[:16]}.json"
    while True:
        with claimed(memory / f"{name[:16]}.claim") as is_ours:
            if not is_ours:  # another process is at it; what it sees need not be seen again
                time.sleep(_LOOK_AGAIN_S)
                continue
            known = _read(file)
            seen = {path: known.get(_name(path, folder)) for path in paths}
            stamps = {path: _stamp(path) for path in paths}
            todo = [p for p in paths if (s := seen[p]) is None or s.stamp != stamps[p]]
            if todo:
                with console.progress("looking", len(todo), "videos") as bar:
                    asked = [(path, stamps[path]) for path in todo]
                    for (path, _), facts in ahead(_look, asked, workers):
                        seen[path] = facts
                        bar.advance()
                _write(file, {_name(path, folder): found for path, found in seen.items() if found})
            return {path: found for path, found in seen.items() if found}


def _look(asked: tuple[Path, str]) -> Seen:
    path, stamp = asked
    try:
        facts = inspect_frame_folder(path) if path.is_dir() else inspect_video(path)
    except VideoError as error:
        return Seen(stamp, reason=str(error).removeprefix(f"{path}: "))
    except OSError as error:
        return Seen(stamp, reason=(error.strerror or str(error)).lower())
    return Seen(stamp, facts.frames, facts.width, facts.height)


def _stamp(path: Path) -> str:
    return json.dumps(stamp_of(SourceVideo(path)))


def _name(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder))


def _read(file: Path) -> dict[str, Seen]:
    try:
        rows: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return {name: Seen(**row) for name, row in rows.items()}
    except (OSError, ValueError, TypeError, AttributeError):  # not there, or not ours: look again
        return {}


def _write(file: Path, seen: dict[str, Seen]) -> None:
    rows = {name: asdict(found) for name, found in seen.items()}
    write_text(file, json.dumps(rows, indent=0) + "\n")
