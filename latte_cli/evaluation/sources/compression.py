"""What the published pipeline does to frames on their way to the metric, by a protocol's words."""

import re
from dataclasses import dataclass

from latte_cli.evaluation.sources.videos import Clip, Video, Written
from latte_cli.video_io.compressing import through_jpeg, through_mp4

_WORD = re.compile(r"(mp4-crf|jpeg-)(\d+)")


@dataclass(frozen=True)
class Compression:
    """Steps that a clip goes through: mp4 of a rate factor, then JPEG of a quality; None: not.

    What a source's files did already is not done again: a video file has been through its codec,
    and JPEG frames of the protocol's size through both.
    """

    crf: int | None = None
    quality: int | None = None

    @classmethod
    def named(cls, words: str) -> "Compression":
        """From a protocol's words, such as `mp4-crf5 jpeg-75` or `none`."""
        found = {kind: int(number) for kind, number in _WORD.findall(words)}
        return cls(found.get("mp4-crf"), found.get("jpeg-"))

    def apply(self, clip: Clip, video: Video) -> Clip:
        """A clip of a video, (f, size, size, 3), after the steps that are left to do."""
        rest = self.left_for(video.written, resized=(video.height, video.width) != clip.shape[1:3])
        if rest.crf is not None:
            clip = through_mp4(clip, rest.crf)
        return clip if rest.quality is None else through_jpeg(clip, rest.quality)

    def left_for(self, written: Written, *, resized: bool) -> "Compression":
        """The steps that such files have not done yet."""
        if written == "jpeg" and not resized:
            return Compression()
        return self if written == "lossless" else Compression(None, self.quality)

    def in_words(self) -> str:
        """For a result file."""
        steps = [] if self.crf is None else [f"mp4 crf {self.crf}"]
        steps += [] if self.quality is None else [f"JPEG {self.quality}"]
        return ", then ".join(steps) or "none"
