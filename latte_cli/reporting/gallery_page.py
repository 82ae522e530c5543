"""What the page about one or two folders of clips shows."""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from latte_cli.reporting.clip_files import Clip, ClipFiles
from latte_cli.reporting.media import Budget, animation, embedded, is_playable, link_to, poster
from latte_cli.reporting.verdicts import Findings
from latte_cli.runtime.errors import LatteError
from latte_cli.sampling.clip_stack import iter_clips
from latte_cli.video_io import read_video

POSTER_WIDTH = 240
FRAMES = 12
"""Frames that are shown of a folder of frames, and of a clip that browsers cannot play."""
MOST_PICTURES = 300
"""Clips that browsers cannot play, and rejected files, for which a picture is made."""

_VIDEOS = (".mp4", ".m4v", ".webm", ".mov")  # played; other files that browsers show are pictures
_LEAST_PICTURE_BYTES = 6_000_000  # they are made whatever is to be embedded
_MOST_SECONDS = 60.0  # for all pictures


def gallery_page(
    folders: Sequence[ClipFiles],
    findings: Sequence[Findings],
    page: Path,
    embed_bytes: int,
) -> dict[str, Any]:
    """The variables of the template.

    Args:
        folders: one, or two whose clips are compared.
        findings: of evaluations on each folder.
        page: the file that will be written, for links.
        embed_bytes: how many bytes of clips are embedded.
    """
    data, notes = [], []
    for folder, found in zip(folders, findings, strict=True):
        media = _Media(page, embed_bytes // len(folders), folder)
        clips = [*folder.clips, *folder.rejected]
        data.append(
            {
                "name": folder.folder.resolve().name,
                "folder": str(folder.folder),
                "clips": [{**media.of(clip), **_words(clip, found.verdicts)} for clip in clips],
            }
        )
        notes += [*folder.notes, *media.notes()]
    views = [
        {
            "name": folder.folder.resolve().name,
            "folder": str(folder.folder),
            "kind": folder.kind,
            "settings": folder.settings,
            "count": len(folder.clips),
            "rejected": len(folder.rejected),
            "numbers": list(found.numbers),
        }
        for folder, found in zip(folders, findings, strict=True)
    ]
    title = " against ".join(str(view["name"]) for view in views)
    return {"title": title, "folders": views, "notes": notes, "data": {"folders": data}}


def _words(clip: Clip, verdicts: Mapping[str, str]) -> dict[str, Any]:
    """What the page says of a clip, by short names; what is empty is left out."""
    stem = str(Path(clip.name).with_suffix(""))
    verdict = verdicts.get(clip.name) or verdicts.get(stem) or ""
    found = {
        "n": clip.name,
        "k": clip.key,
        "l": clip.label,
        "p": clip.prompt,
        "s": clip.seed,
        "t": clip.split,
        "f": clip.facts,
        "v": verdict,
        "r": clip.reason,
    }
    return {key: value for key, value in found.items() if value not in ("", None)}


class _Media:
    """How each clip of a folder is shown: a link, an embedded file, frames, or a picture."""

    def __init__(self, page: Path, embed_bytes: int, folder: ClipFiles) -> None:
        self._page = page
        paths = [clip.path for clip in folder.clips if is_playable(clip.path)]
        self._embedded = Budget(embed_bytes).chosen(paths) if embed_bytes else frozenset()
        self._left = max(embed_bytes, _LEAST_PICTURE_BYTES)
        self._pictures = self._without_picture = self._gone = 0
        self._started = time.monotonic()
        self._stacks: dict[Path, Iterator[Any]] = {}

    def of(self, clip: Clip) -> dict[str, Any]:
        """Kind `m` and source of a clip, by short names."""
        if not clip.path.exists():
            self._gone += not clip.reason
            return {"m": "gone"}
        if clip.row is None and clip.frames:
            step = max(1, len(clip.frames) // FRAMES)
            names = clip.frames[::step][:FRAMES]
            return {"m": "frames", "u": [link_to(clip.path / name, self._page) for name in names]}
        if clip.row is None and is_playable(clip.path) and not clip.reason:
            kind = "video" if clip.path.suffix.lower() in _VIDEOS else "image"
            content = embedded(clip.path) if clip.path in self._embedded else None
            return {"m": kind, "u": content or link_to(clip.path, self._page)}
        picture = self._picture(clip)
        if picture is None:
            self._without_picture += not clip.reason
            return {"m": "none", "u": link_to(clip.path, self._page)}
        return {"m": "image", "u": picture}

    def notes(self) -> Iterator[str]:
        """What is not shown, as messages."""
        if self._gone:
            yield f"{self._gone} clips are listed, but their files are not there any more."
        if self._without_picture:
            yield (
                f"Browsers cannot play {self._without_picture} of these clips, and pictures were "
                f"made of the first ones only."
            )

    def _picture(self, clip: Clip) -> str | None:
        """A small moving picture of a clip, or a still one of a rejected file, as a data URI."""
        late = time.monotonic() - self._started > _MOST_SECONDS
        if self._pictures >= MOST_PICTURES or self._left <= 0 or late:
            return None
        self._pictures += 1
        try:
            found = poster(clip.path, POSTER_WIDTH) if clip.reason else self._moving(clip)
        except (LatteError, OSError, ValueError, StopIteration):
            return None
        self._left -= len(found or "")
        return found

    def _moving(self, clip: Clip) -> str | None:
        if clip.row is not None:  # rows of a file of many clips follow each other
            stack = self._stacks.setdefault(clip.path, iter_clips(clip.path))
            return animation(next(stack), POSTER_WIDTH)
        frames = read_video(clip.path)
        return animation(frames[:: max(1, len(frames) // FRAMES)][:FRAMES], POSTER_WIDTH)
