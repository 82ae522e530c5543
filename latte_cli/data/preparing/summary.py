"""A prepared data set in numbers."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from latte_cli.data.manifest import Rejection, VideoRecord

_CLIP = 16  # frames of a clip in the paper
_DETAILS = re.compile(r" \(.*\)", re.DOTALL)
_WITH_NUMBER = re.compile(r"\S*\d\S*")


@dataclass(frozen=True)
class DatasetSummary:
    """What checking a data set's videos came to.

    Attributes:
        out: the data set's folder.
        accepted: videos in the manifest.
        rejected: files in rejected.jsonl.
        reasons: why, in words that many files share, and how many they are.
        frames: of the accepted videos.
        hours: of the accepted videos; folders of frames, whose rate nothing tells, count as none.
        classes: that labels can be of.
        labels: classes that accepted videos are of.
        splits: accepted videos of each split.
        shorter_than_16_frames: accepted videos that hold no clip of the paper's length.
    """

    out: Path
    accepted: int
    rejected: int
    reasons: dict[str, int]
    frames: int
    hours: float
    classes: int
    labels: int
    splits: dict[str, int]
    shorter_than_16_frames: int


def summarize(
    out: Path, outcomes: Iterable[VideoRecord | Rejection], classes: int
) -> DatasetSummary:
    """Count what came of each video, one at a time."""
    reasons: Counter[str] = Counter()
    splits: Counter[str] = Counter()
    labels: set[int] = set()
    frames = short = 0
    seconds = 0.0
    for outcome in outcomes:
        if isinstance(outcome, Rejection):
            reasons[in_general(outcome.reason)] += 1
            continue
        frames += outcome.frames
        short += outcome.frames < _CLIP
        seconds += outcome.frames / outcome.fps if outcome.fps else 0
        splits[outcome.split] += 1
        if outcome.label is not None:
            labels.add(outcome.label)
    return DatasetSummary(
        out=out,
        accepted=splits.total(),
        rejected=reasons.total(),
        reasons=dict(reasons.most_common()),
        frames=frames,
        hours=seconds / 3600,
        classes=classes,
        labels=len(labels),
        splits=dict(sorted(splits.items())),
        shorter_than_16_frames=short,
    )


def in_general(reason: str) -> str:
    """A reason in the words that it shares with others, details and numbers left out."""
    return _WITH_NUMBER.sub("…", _DETAILS.sub("", reason))
