"""The files of a source that are no videos of the data set, counted so that users hear of them."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from latte_cli.runtime.errors import DataError
from latte_cli.sources.folder_tree import entries_of, own_outputs_in
from latte_cli.video_io.frame_folders import FRAME_SUFFIXES


def left_out(source: Path, used: Iterable[Path]) -> Counter[str]:
    """Count the files below a folder that are not used, by suffix in lower case.

    Hidden files, links and outputs of this program are not counted.

    Args:
        source: the folder; nothing is counted if it is a file.
        used: video files, and folders of frames, whose contents are not looked at.
    """
    known = _real_paths(used)
    counts: Counter[str] = Counter()
    waiting, visited = [source] if source.is_dir() else [], set(known)
    while waiting:
        folder = waiting.pop()
        real = os.path.realpath(folder)
        if real in visited:
            continue
        visited.add(real)
        try:
            entries = entries_of(folder)
        except (DataError, OSError):  # reported by the search for videos
            continue
        made = own_outputs_in(folder)
        waiting += [path for name in entries.folders if (path := folder / name) not in made]
        for name in (*entries.videos, *entries.images, *entries.others):
            file = os.path.join(real, name)
            if file not in known and not os.path.islink(file):
                counts[os.path.splitext(name)[1].lower() or "no suffix"] += 1
    return counts


def _real_paths(paths: Iterable[Path]) -> set[str]:
    """Paths without links; each folder is resolved once."""
    folders: dict[str, str] = {}
    found = set()
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        real = os.path.join(folders[folder], name)
        found.add(os.path.realpath(real) if not name or os.path.islink(real) else real)
    return found


def no_videos(source: Path, hint: str = "") -> DataError:
    """The error for a folder without videos; the hint says what was expected."""
    files = ", ".join(f"{count} x {kind}" for kind, count in left_out(source, ()).most_common(5))
    return DataError(
        f"{source}: no videos in this folder" + (f"; it holds {files}" if files else ""),
        hint=hint
        or "videos are known by their suffix, .mp4 and some 100 others; a folder of images "
        f"({' '.join(sorted(FRAME_SUFFIXES))}) is a video, too; to use an archive, name the file "
        "itself",
    )
