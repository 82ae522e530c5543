"""What a clip that `write_clip` wrote says of itself, and whether it is whole."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
from PIL import Image

from latte_cli.runtime.errors import VideoError
from latte_cli.video_io.inspecting import inspect_video
from latte_cli.video_io.pyav import open_container


def read_clip_settings(path: Path) -> Mapping[str, Any] | None:
    """The settings in an mp4, GIF or PNG file; None if it has none, or cannot be read."""
    try:
        if path.suffix.lower() == ".mp4":
            with open_container(path) as container:
                text = container.metadata.get("comment", "")
        else:
            with Image.open(path) as picture:
                text = picture.info.get("comment") or picture.info.get("settings", "")
        settings = json.loads(text)
    except (OSError, ValueError, SyntaxError, VideoError, av.FFmpegError):
        return None
    return settings if isinstance(settings, dict) else None


def is_whole(path: Path) -> bool:
    """Whether an mp4, GIF or PNG file can be decoded to its end."""
    try:
        if path.suffix.lower() != ".png":
            inspect_video(path)
            return True
        with Image.open(path) as picture:
            picture.load()
    except (OSError, ValueError, SyntaxError, VideoError):
        return False
    return True
