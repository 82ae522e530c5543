"""What a prepared data set holds, in the numbers that a preset depends on."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latte_cli.data.manifest import read_classes, require_manifest
from latte_cli.data.table import NO_LABEL, VideoTable
from latte_cli.runtime.errors import DataError

_RATES_READ = 500  # videos whose frame rate is read; they share one, or a few


@dataclass(frozen=True)
class DataSurvey:
    """A prepared data set in numbers.

    Attributes:
        folder: of the data set.
        videos: how many there are.
        frames: of each video, (n,) int32.
        size: width and height of most videos, pixels.
        shorter_side: the median of the shorter sides, pixels.
        fps: frames per second of the median video; 0 if unknown.
        classes: names of the classes, or their numbers; empty if no video has a label.
        unlabelled: videos of each split that have no label.
    """

    folder: Path
    videos: int
    frames: NDArray[np.int32]
    size: tuple[int, int]
    shorter_side: int
    fps: float
    classes: tuple[str, ...]
    unlabelled: dict[str, int]

    def share_of_length(self, frames: int) -> float:
        """The share of videos that have at least so many frames."""
        return float(np.mean(self.frames >= frames))

    def has_labels(self, split: str) -> bool:
        """Whether every video of a split, or of all, has a label."""
        counts = self.unlabelled
        missing = sum(counts.values()) if split == "all" else counts.get(split, 0)
        return bool(self.classes) and not missing


def survey(folder: Path) -> DataSurvey:
    """Read the numbers of a prepared data set.

    Raises:
        DataError: if the folder holds none, or it has no videos or is damaged.
    """
    table = VideoTable.read(require_manifest(folder), ("width", "height"), ("split",))
    if not len(table):
        raise DataError(f"{table.path}: holds no videos", hint="see rejected.jsonl beside it")
    sizes = list(
        zip(table.columns["width"].tolist(), table.columns["height"].tolist(), strict=True)
    )
    largest = int(table.labels.max(initial=NO_LABEL))
    names = read_classes(folder) or tuple(map(str, range(largest + 1)))
    no_label = table.labels == NO_LABEL
    return DataSurvey(
        folder=folder,
        videos=len(table),
        frames=table.frames,
        size=Counter(sizes).most_common(1)[0][0],
        shorter_side=int(np.median([min(size) for size in sizes])),
        fps=_median_rate(table),
        classes=() if largest == NO_LABEL else names,
        unlabelled={
            word: int((table.where("split", word) & no_label).sum())
            for word in table.words["split"]
        },
    )


def _median_rate(table: VideoTable) -> float:
    """The median frame rate of some videos, evenly spaced; 0 if none is known."""
    step = -(-len(table) // _RATES_READ)
    rows: list[dict[str, Any]] = [table.row(number) for number in range(0, len(table), step)]
    rates = [rate for row in rows if (rate := float(row.get("fps") or 0))]
    return round(median_low(rates), 3) if rates else 0.0
