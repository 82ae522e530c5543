"""Captions in text files beside videos and pictures: `clip.mp4` and `clip.txt`."""

from collections.abc import Iterator
from pathlib import Path

from latte_cli.data.manifest import SourceVideo
from latte_cli.runtime.errors import DataError
from latte_cli.sources.editions import warn
from latte_cli.sources.spellings import is_visual_name

_SUFFIXES = (".txt", ".caption")
_HINT = "expected a table of captions, or a text file beside each video: clip.mp4 and clip.txt"


def has_caption_files(folder: Path) -> bool:
    """Whether any text file of a folder lies beside a video or a picture of its name."""
    return any(beside is not None for _, beside in _pairs(folder))


def find_beside(folder: Path) -> list[SourceVideo]:
    """The videos and pictures of a folder, and of those inside it, with the text beside each.

    Those without one, and empty ones, are left out with a warning.

    Raises:
        DataError: if there are none, or a text is not UTF-8.
    """
    found, without = [], []
    for path, beside in _pairs(folder):
        text = "" if beside is None else _text(beside)
        if text:
            found.append(SourceVideo(path, caption=text))
        else:
            without.append(path.relative_to(folder).as_posix())
    if not found:
        raise DataError(f"{folder}: no video has a caption beside it", hint=_HINT)
    if without:
        warn(f"{folder}: {len(without)} videos have no caption beside them, first: {without[0]}")
    return found


def _pairs(folder: Path) -> Iterator[tuple[Path, Path | None]]:
    """Every video and picture below a folder, sorted, and the text file of its name."""
    files = sorted(path for path in folder.rglob("*") if not _is_hidden(path, folder))
    there = set(files)
    for path in files:
        if is_visual_name(path.name) and path.is_file():
            beside = (path.with_suffix(suffix) for suffix in _SUFFIXES)
            yield path, next((text for text in beside if text in there), None)


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.relative_to(folder).parts)


def _text(path: Path) -> str:
    """The words of a file, on one line."""
    try:
        return " ".join(path.read_text(encoding="utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text", hint="save it as UTF-8") from error
