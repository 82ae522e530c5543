"""A prepared data set in numbers."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from latte_cli.data.manifest import REJECTED, Rejection, VideoRecord

_CLIP_FRAMES = 16  # of a clip in the paper
_DETAILS = re.compile(r" \(.*\)", re.DOTALL)
_WORD_WITH_DIGIT = re.compile(r"\S*\d\S*")


@dataclass(frozen=True)
class DatasetSummary:
    """A prepared data set in numbers.

    Attributes:
        out: the data set's folder.
        accepted: number of videos in the manifest.
        rejected: number of files in rejected.jsonl.
        reasons: number of rejected files by reason, without what is particular to a file.
        left_out: number of the source's files that are no videos of the data set, by suffix.
        frames: of the accepted videos.
        hours: of the accepted videos; folders of frames, whose rate is unknown, count as 0.
        classes: number of classes of the data set.
        labels: number of classes with accepted videos.
        splits: number of accepted videos of each split.
        shorter_than_16_frames: accepted videos shorter than the paper's clips.
    """

    out: Path
    accepted: int
    rejected: int
    reasons: dict[str, int]
    left_out: dict[str, int]
    frames: int
    hours: float
    classes: int
    labels: int
    splits: dict[str, int]
    shorter_than_16_frames: int

    @property
    def told(self) -> str:
        """What was made, in a sentence."""
        videos = "1 video" if self.accepted == 1 else f"{self.accepted} videos"
        verb = "was" if self.rejected == 1 else "were"
        why = f", and {self.out / REJECTED} says why {self.rejected} {verb} rejected"
        return f"{self.out} holds {videos}{why if self.rejected else ''}."


def summarize(
    out: Path, outcomes: Iterable[VideoRecord | Rejection], classes: int
) -> DatasetSummary:
    """Count the outcomes, one at a time."""
    reasons: Counter[str] = Counter()
    splits: Counter[str] = Counter()
    labels: set[int] = set()
    frames = short = 0
    seconds = 0.0
    for outcome in outcomes:
        if isinstance(outcome, Rejection):
            reasons[general_reason(outcome.reason)] += 1
            continue
        frames += outcome.frames
        short += outcome.frames < _CLIP_FRAMES
        seconds += outcome.frames / outcome.fps if outcome.fps else 0
        splits[outcome.split] += 1
        if outcome.label is not None:
            labels.add(outcome.label)
    return DatasetSummary(
        out=out,
        accepted=splits.total(),
        rejected=reasons.total(),
        reasons=dict(reasons.most_common()),
        left_out={},
        frames=frames,
        hours=seconds / 3600,
        classes=classes,
        labels=len(labels),
        splits=dict(sorted(splits.items())),
        shorter_than_16_frames=short,
    )


def general_reason(reason: str) -> str:
    """A reason without details and numbers, the same for many files."""
    return _WORD_WITH_DIGIT.sub("…", _DETAILS.sub("", reason))
