"""The real or the fake clips of an evaluation: their source, selection, compression, features."""

import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from latte_cli.evaluation.features.extractors import FeatureExtractor
from latte_cli.evaluation.features.store import FeatureStore
from latte_cli.evaluation.plan import ClipSetName, ClipSetPlan, plan_clip_set
from latte_cli.evaluation.protocol import PUBLISHED_CLIPS, Protocol
from latte_cli.evaluation.sources.videos import Clip, Encoding, Source, Video
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.errors import DataError, LatteWarning
from latte_cli.runtime.workers import prefetch
from latte_cli.video_io.compressing import through_jpeg, through_mp4

_WORKERS = 8  # read headers of files
_NAMES_SHOWN = 3  # in a warning
_COMPRESSION_STEP = re.compile(r"(mp4-crf|jpeg-)(\d+)")


@dataclass(frozen=True)
class Compression:
    """The compression of a protocol: mp4 of a rate factor, then JPEG of a quality; None skips one.

    Compression that a source's files have already been through is not repeated: a video file has
    been through its codec, and JPEG frames of the protocol's size through both steps.
    """

    crf: int | None = None
    quality: int | None = None

    @classmethod
    def parse(cls, text: str) -> "Compression":
        """From a protocol's field, such as `mp4-crf5 jpeg-75` or `none`."""
        found = {kind: int(number) for kind, number in _COMPRESSION_STEP.findall(text)}
        return cls(found.get("mp4-crf"), found.get("jpeg-"))

    def apply(self, clip: Clip, video: Video) -> Clip:
        """Compress a clip of a video, (f, size, size, 3), by the remaining steps."""
        resized = (video.height, video.width) != clip.shape[1:3]
        steps = self.remaining(video.encoding, resized=resized)
        if steps.crf is not None:
            clip = through_mp4(clip, steps.crf)
        return clip if steps.quality is None else through_jpeg(clip, steps.quality)

    def remaining(self, encoding: Encoding, *, resized: bool) -> "Compression":
        """The steps that files of this encoding have not been through yet."""
        if encoding == "jpeg" and not resized:
            return Compression()
        return self if encoding == "lossless" else Compression(None, self.quality)

    def __str__(self) -> str:
        steps = [] if self.crf is None else [f"mp4 crf {self.crf}"]
        steps += [] if self.quality is None else [f"JPEG {self.quality}"]
        return ", then ".join(steps) or "none"


@dataclass(frozen=True)
class ClipSet:
    """A source, the clips selected from it, and where their features are stored.

    Attributes:
        name: real or fake.
        source: its videos.
        plan: the selected clips.
        compression: applied to each clip, except for what its files have been through.
        stores: of the clips' features, by network.
        size: height and width of the clips' frames, pixels.
    """

    name: ClipSetName
    source: Source
    plan: ClipSetPlan
    compression: Compression
    stores: Mapping[str, FeatureStore]
    size: int

    @cached_property
    def applied(self) -> str:
        """What the frames have been through, as far as the files tell; all kinds, if several."""
        videos = {ref.video.name: ref.video for draw in self.plan.draws for ref in draw}
        return summarized(self._applied, list(videos.values()))

    def _applied(self, video: Video) -> str:
        resized = (video.height, video.width) != (self.size, self.size)
        steps = self.compression.remaining(video.encoding, resized=resized)
        if self.name == "real" and (video.encoding == "video" or steps == self.compression):
            return str(steps)  # data sets are measured as they are, whatever their codec
        if not (origin := self.source.origin(video)):
            return str(steps)
        place = f" at {video.width} x {video.height}" if resized else ""
        return f"as given, {origin}{place}" + (f", then {steps}" if steps != Compression() else "")


def select_clips(
    name: ClipSetName,
    source: Source,
    protocol: Protocol,
    draws: int,
    extractors: Mapping[str, FeatureExtractor],
    features: Path,
) -> ClipSet:
    """Select the clips of a source by a protocol.

    Args:
        name: real or fake.
        source: its videos.
        protocol: the rules of the selection.
        draws: number of selections.
        extractors: the feature networks, by name.
        features: folder of the feature stores.

    Raises:
        DataError: if no video is long enough, or fake videos have several sizes.
    """
    plan = plan_source(name, source, protocol, draws)
    sizes = {(video.width, video.height): video.name for video in plan.videos}
    if name == "fake" and len(sizes) > 1:
        examples = [f"{video} is {w} x {h}" for (w, h), video in sizes.items()]
        raise DataError(
            f"{source.place} holds clips of several sizes: {_shortened(examples)}",
            hint="evaluate those of one size at a time",
        )
    compression = protocol.real_compression if name == "real" else protocol.fake_compression
    settings = {"size": protocol.size, "crop": protocol.crop, "compression": compression}
    stores = {
        key: FeatureStore(features, key, {**settings, "weights": extractor.weights})
        for key, extractor in extractors.items()
    }
    return ClipSet(name, source, plan, Compression.parse(compression), stores, protocol.size)


def plan_source(name: ClipSetName, source: Source, protocol: Protocol, draws: int) -> ClipSetPlan:
    """`plan_clip_set` for the videos of a source.

    Raises:
        DataError: if no video is long enough.
    """
    plan = plan_clip_set(source.videos, protocol, name, draws)
    if not plan.videos:
        longest = max((video.frames for video in source.videos), default=0)
        raise DataError(
            f"{source.place}: no video has {_required_length(name, protocol)}, the longest has "
            f"{longest}",
            hint=_shorter_clips(name, longest, protocol),
        )
    return plan


def _shorter_clips(name: ClipSetName, longest: int, protocol: Protocol) -> str:
    """The option by which a source has clips that are long enough."""
    if name == "real" and longest >= protocol.frames:
        return f"--interval {longest // protocol.frames} takes frames that are closer together"
    return f"-o data.frames={max(longest, 1)} takes shorter clips"


def warn_about_left_out(clip_set: ClipSet, protocol: Protocol) -> None:
    """Warn about videos that are not measured, and about few clips; in the main process only."""
    if not is_main():
        return
    plan, source = clip_set.plan, clip_set.source
    if plan.too_short:
        _warn(
            f"{clip_set.name}: {len(plan.too_short)} of {len(source.videos)} videos left out, "
            f"shorter than {_required_length(clip_set.name, protocol)}: "
            f"{_shortened(plan.too_short)}"
        )
    if source.unreadable:
        reasons = [f"{video} ({reason})" for video, reason in source.unreadable.items()]
        _warn(f"{clip_set.name}: {len(reasons)} videos left out, unreadable: {_shortened(reasons)}")
    count = len(plan.draws[0])
    if count < PUBLISHED_CLIPS:
        _warn(
            f"{clip_set.name}: {count} clips, published numbers take {PUBLISHED_CLIPS}; Fréchet "
            "distances of fewer clips are larger"
        )


def summarized(text_of: Callable[[Video], str], videos: Sequence[Video]) -> str:
    """The text of all videos; if it is not the same, each with the number of its videos."""
    texts = Counter(text for _, text in prefetch(text_of, videos, _WORKERS))
    if len(texts) == 1:
        return next(iter(texts))
    return "; ".join(f"{count} of {len(videos)} {text}" for text, count in sorted(texts.items()))


def require_clips(clip_set: ClipSet, count: int) -> None:
    """Check that a source has at least this many clips.

    Raises:
        DataError: if it has fewer.
    """
    found = len(clip_set.plan.draws[0])
    if found < count:
        raise DataError(
            f"{clip_set.source.place}: {found} clips, {count} were asked for",
            hint=f"--clips {found}, or more videos",
        )


def _required_length(name: ClipSetName, protocol: Protocol) -> str:
    interval = protocol.real_interval if name == "real" else protocol.fake_interval
    return f"{protocol.frames * interval} frames ({protocol.frames} x {interval})"


def _warn(text: str) -> None:
    """Warn once per text, however many checkpoints are measured."""
    warnings.warn(LatteWarning(text), stacklevel=3)


def _shortened(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more
