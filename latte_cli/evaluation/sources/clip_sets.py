"""One side of an evaluation: a source, what is chosen of it, and what is left out."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from latte_cli.evaluation.features.extractors import FeatureExtractor
from latte_cli.evaluation.features.store import FeatureStore
from latte_cli.evaluation.plan import ClipSetName, ClipSetPlan, plan_clip_set
from latte_cli.evaluation.results.files import content_of
from latte_cli.evaluation.sources.compression import Compression
from latte_cli.evaluation.sources.videos import Source, Video
from latte_cli.metrics.protocol import PUBLISHED_CLIPS, Protocol
from latte_cli.runtime.distributed import is_main
from latte_cli.runtime.errors import DataError, LatteWarning

_NAMED = 3  # videos left out that a warning names


@dataclass(frozen=True)
class ClipSet:
    """A source, the clips chosen of it, and where their features lie.

    Attributes:
        name: real or fake.
        source: its videos.
        plan: the clips.
        compression: what they go through.
        stores: of their features, by network.
    """

    name: ClipSetName
    source: Source
    plan: ClipSetPlan
    compression: Compression
    stores: Mapping[str, FeatureStore]


def choose(
    name: ClipSetName,
    source: Source,
    protocol: Protocol,
    draws: int,
    extractors: Mapping[str, FeatureExtractor],
    features: Path,
) -> ClipSet:
    """The clips of a source.

    Args:
        name: real or fake.
        source: its videos.
        protocol: by which clips are chosen.
        draws: how often.
        extractors: the networks.
        features: folder of features.

    Raises:
        DataError: if no video is long enough, or fakes are of several sizes.
    """
    plan = plan_of(name, source, protocol, draws)
    if name == "fake":
        _refuse_mixed_sizes(source.place, plan.videos)
    words = protocol.real_compression if name == "real" else protocol.fake_compression
    made = {"size": protocol.size, "crop": protocol.crop, "compression": words}
    stores = {
        key: FeatureStore(features, key, {**made, "weights": extractor.weights})
        for key, extractor in extractors.items()
    }
    return ClipSet(name, source, plan, Compression.named(words), stores)


def plan_of(name: ClipSetName, source: Source, protocol: Protocol, draws: int) -> ClipSetPlan:
    """The clips of a source; see `plan_clip_set`.

    Raises:
        DataError: if no video is long enough.
    """
    plan = plan_clip_set(source.videos, protocol, name, draws)
    if not plan.videos:
        longest = max((video.frames for video in source.videos), default=0)
        raise DataError(
            f"{source.place}: no video has {_needed(name, protocol)}, the longest has {longest}",
            hint="lower --interval, or -o data.frames",
        )
    return plan


def real_content(source: Source, protocol: Protocol, draws: int) -> str:
    """Checksum of the real videos that results are against, before any is described.

    Raises:
        DataError: if no video is long enough.
    """
    return content_of(plan_of("real", source, protocol, draws))


def tell_left_out(clip_set: ClipSet, protocol: Protocol) -> None:
    """Warn of videos that are not measured, and of few clips."""
    if not is_main():
        return
    plan, source = clip_set.plan, clip_set.source
    if plan.too_short:
        _warn(
            f"{clip_set.name}: {len(plan.too_short)} of {len(source.videos)} videos left out, "
            f"shorter than {_needed(clip_set.name, protocol)}: {_some(plan.too_short)}"
        )
    if source.unreadable:
        told = [f"{video} ({reason})" for video, reason in source.unreadable.items()]
        _warn(f"{clip_set.name}: {len(told)} videos left out, unreadable: {_some(told)}")
    count = len(plan.draws[0])
    if count < PUBLISHED_CLIPS:
        _warn(
            f"{clip_set.name}: {count} clips, published numbers take {PUBLISHED_CLIPS}; Fréchet "
            "distances of fewer are larger"
        )


def refuse_fewer(clip_set: ClipSet, asked: int) -> None:
    """Refuse a source with fewer clips than were asked for by number.

    Raises:
        DataError: if it has fewer.
    """
    count = len(clip_set.plan.draws[0])
    if count < asked:
        raise DataError(
            f"{clip_set.source.place}: {count} clips, {asked} were asked for",
            hint=f"--clips {count}, or more videos",
        )


def _needed(name: ClipSetName, protocol: Protocol) -> str:
    interval = protocol.real_interval if name == "real" else protocol.fake_interval
    return f"{protocol.frames * interval} frames ({protocol.frames} x {interval})"


def _refuse_mixed_sizes(place: str, videos: Sequence[Video]) -> None:
    sizes = {(video.width, video.height): video.name for video in videos}
    if len(sizes) > 1:
        told = [f"{video} is {w} x {h}" for (w, h), video in sizes.items()]
        raise DataError(
            f"{place} holds clips of several sizes: {_some(told)}",
            hint="evaluate those of one size at a time",
        )


def _warn(text: str) -> None:
    """Each text is shown once, however many checkpoints are measured."""
    warnings.warn(LatteWarning(text), stacklevel=3)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
