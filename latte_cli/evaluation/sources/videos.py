"""What every source offers: a list of its videos, and a way to read clips of them."""

# Axes: f frames, h height, w width, 3 color channels (RGB).

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from latte_cli.runtime.errors import ConfigError

Clip = NDArray[np.uint8]
"""(f, h, w, 3) RGB; h and w are the protocol's size."""

Encoding = Literal["video", "jpeg", "lossless"]
"""How the pixels were stored: by a video codec, as JPEG, or without loss."""


@dataclass(frozen=True)
class Video:
    """A video of a source.

    Attributes:
        name: its path within the source. Clips are selected by name, and messages show it.
        key: identifies its content; features are stored under it.
        frames: number of frames.
        width: pixels.
        height: pixels.
        label: class index, if it has one.
        encoding: how its pixels were stored.
        captions: what it shows, in words, if it has any.
    """

    name: str
    key: str
    frames: int
    width: int
    height: int
    label: int | None = None
    encoding: Encoding = "video"
    captions: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadRequest:
    """A request to read clips of one video, each a range of frame numbers."""

    video: Video
    windows: tuple[range, ...]


@dataclass(frozen=True)
class ReadClips:
    """The requested clips of a video, in order; `seconds` is the time it took to generate them."""

    request: ReadRequest
    clips: list[Clip]
    seconds: float = 0.0


Transform = Callable[[Clip, Video], Clip]
"""Applied to each clip of a video after reading, for example compression."""


def open_again(kind: "Callable[..., Source]", arguments: Sequence[Any], key: str) -> "Source":
    """Open a source in another process, of which the first video must have the same key.

    Raises:
        ConfigError: if it has another one.
    """
    source = kind(*arguments)
    if source.videos[0].key != key:
        raise ConfigError(
            f"{source.place}: clips generated here differ from those of the machine where the "
            "command was started",
            hint="start it on a machine with the same kind of device, and the same weights",
        )
    return source


def unchanged(clip: Clip, video: Video) -> Clip:
    """The transform that returns a clip as it is."""
    return clip


class Source(Protocol):
    """A collection of videos: a data set, a folder, an array, or a network that generates them."""

    @property
    def kind(self) -> str:
        """What kind of source it is, for people."""

    @property
    def place(self) -> str:
        """Its path."""

    @property
    def videos(self) -> Sequence[Video]:
        """All readable videos, sorted by name."""

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Names of the unreadable videos, and the reasons."""

    def origin(self, video: Video) -> str:
        """Encoder and quality of a video's files as far as they tell; empty for exact pixels."""

    def read(
        self, requests: Sequence[ReadRequest], transform: Transform = unchanged
    ) -> Iterator[ReadClips]:
        """Read clips in the order of the requests, with a few videos in memory at a time.

        Args:
            requests: at most one per video, in the order of `videos`.
            transform: applied to each clip where it is read, possibly in a thread.

        Raises:
            VideoError: if a video can no longer be read.
        """
