"""What a video is before its frames are read: a container that opens, its stream, its facts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition

from latte_cli.runtime.errors import VideoError


@dataclass(frozen=True)
class VideoFacts:
    """What decoding a whole file showed.

    Attributes:
        frames: that decode.
        fps: frames a second, on average; 0 where nothing tells.
        width: as displayed, pixels.
        height: as displayed, pixels.
        rotation: degrees by which frames are turned clockwise to be upright: 0, 90, 180 or 270.
        variable_fps: whether frames are unevenly spaced in time.
    """

    frames: int
    fps: float
    width: int
    height: int
    rotation: int = 0
    variable_fps: bool = False


def open_container(path: Path) -> Any:
    """A container with a video stream, opened by an absolute name (one may begin with a dash).

    Files only: a playlist named mp4 must not make anyone wait for a network.
    """
    container = av.open(
        str(path.absolute()), metadata_errors="replace", options={"protocol_whitelist": "file"}
    )
    try:
        video_stream(container)
    except VideoError as error:
        container.close()
        raise VideoError(f"{path}: {error}", hint=error.hint) from None
    return container


def video_stream(container: Any) -> Any:
    """The first video stream; the cover picture of an audio file is none.

    Raises:
        VideoError: if there is none, or no decoder for it.
    """
    for stream in container.streams.video:
        if stream.disposition & Disposition.attached_pic:
            continue
        if stream.codec_context is None:
            raise VideoError("holds video that no decoder is known for", hint="encode it anew")
        return stream
    raise VideoError("holds no video stream", hint="is it an audio file?")


def check_file(path: Path) -> None:
    """Raise VideoError for a file that is missing or empty."""
    if path.is_symlink() and not path.exists():
        raise VideoError(f"{path}: a link that leads nowhere", hint="was its target moved?")
    if not path.is_file():
        raise VideoError(f"{path}: no such file", hint="was it moved since it was prepared?")
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: the file is empty", hint="copy or download it again")


def cannot_decode(path: Path, error: Exception) -> VideoError:
    """A decoder's error in words."""
    reason = getattr(error, "strerror", None) or type(error).__name__
    return VideoError(
        f"{path}: cannot be decoded ({reason.lower()})",
        hint="play it to its end in a video player, or leave it out",
    )
