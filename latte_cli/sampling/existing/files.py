"""The file of one clip that exists already: whether it is the result of the same request."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latte_cli.runtime.console import Console
from latte_cli.sampling.existing.rule import is_there
from latte_cli.video_io import format_of
from latte_cli.video_io.clip_settings import is_whole, read_clip_settings
from latte_cli.video_io.writing import encoding_of


def clip_is_there(
    path: Path, settings: Mapping[str, Any], console: Console, *, overwrite: bool
) -> bool:
    """Whether a file holds the clip of a request already; a damaged one does not.

    Args:
        path: of an mp4, GIF or PNG file.
        settings: all that the clip depends on.
        console: shows that the clip is there, or damaged.
        overwrite: whether the clip of another request may be replaced.

    Raises:
        ExistsError: if it holds anything else, which may not be replaced.
    """
    current, stored = _requests(path, settings)
    if not is_there(path, stored, current, overwrite=overwrite):
        return False
    if not is_whole(path):
        console.warning(f"{path} is damaged and sampled again")
        return False
    console.info(f"{path} is already there")
    return True


def refuse_other_clip(path: Path, known: Mapping[str, Any]) -> None:
    """Raise ExistsError if a file holds the clip of another request, by some of its settings.

    Args:
        path: of an mp4, GIF or PNG file.
        known: those settings of the clip that are known already.
    """
    current, stored = _requests(path, known)
    if stored is not None:
        stored = {key: stored[key] for key in current if key in stored}
    is_there(path, stored, current, overwrite=False)


def _requests(
    path: Path, settings: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
    """The settings that a file would be written with, and those that it was written with."""
    current = json.loads(json.dumps({**settings, **encoding_of(format_of(path))}))
    return current, read_clip_settings(path) if path.is_file() else None
