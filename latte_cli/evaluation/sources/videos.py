"""What a source of videos is to everything after it: a list, and a way to read windows of them."""

# Axes: f frames, h height, w width, 3 colour channels (RGB).

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Clip = NDArray[np.uint8]
"""(f, h, w, 3) RGB; h and w are the protocol's size."""

Written = Literal["video", "jpeg", "lossless"]
"""What its files did to the pixels: a video codec, JPEG, or nothing."""


@dataclass(frozen=True)
class Video:
    """A video of a source.

    Attributes:
        name: where it lies in the source; draws go by it, and users are told it.
        key: what tells its content from that of any other.
        frames: in all.
        width: pixels.
        height: pixels.
        label: number of its class, where it has one.
        written: how its pixels were kept.
    """

    name: str
    key: str
    frames: int
    width: int
    height: int
    label: int | None = None
    written: Written = "video"


@dataclass(frozen=True)
class Wanted:
    """Windows of one video, each a range of frame numbers."""

    video: Video
    windows: tuple[range, ...]


@dataclass(frozen=True)
class ReadClips:
    """The clips of a video's windows, in their order; `seconds` is what drawing them took."""

    wanted: Wanted
    clips: list[Clip]
    seconds: float = 0.0


Finish = Callable[[Clip, Video], Clip]
"""What is done to each clip of a video once it is read: compression, say."""


def as_it_is(clip: Clip, video: Video) -> Clip:
    """Do nothing to a clip."""
    return clip


class Source(Protocol):
    """Videos of one kind: a data set, a folder, an array, a network that draws them."""

    @property
    def kind(self) -> str:
        """In words."""

    @property
    def place(self) -> str:
        """Where it lies."""

    @property
    def videos(self) -> Sequence[Video]:
        """All that can be read, sorted by name."""

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Names of those that cannot be, and why."""

    def read(self, wanted: Sequence[Wanted], finish: Finish = as_it_is) -> Iterator[ReadClips]:
        """Read windows, in the order asked, a few videos at a time in memory.

        Args:
            wanted: videos of this source, none twice, in its order.
            finish: applied to each clip, where it is read: in threads, if there are any.

        Raises:
            VideoError: if a video cannot be read any more.
        """
