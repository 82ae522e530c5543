"""The paper's tables (arXiv 2401.03048v3), with the user's value among the published ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from latte_cli.evaluation.metric_table import METRICS

Values = Sequence[float | None]

DATASETS = ("faceforensics", "skytimelapse", "ucf101", "taichi-hd")

# Table 3: FVD, in the order of DATASETS.
_FVD: Mapping[str, Values] = {
    "MoCoGAN": (124.7, 206.6, 2886.9, None),
    "VideoGPT": (185.9, 222.7, 2880.6, None),
    "MoCoGAN-HD": (111.8, 164.1, 1729.6, 128.1),
    "DIGAN": (62.5, 83.11, 1630.2, 156.7),
    "StyleGAN-V": (47.41, 79.52, 1431.0, None),
    "PVDM": (355.92, 55.41, 343.6, 540.2),
    "MoStGAN-V": (39.70, 65.30, 1380.3, None),
    "LVDM": (None, 95.20, 372.0, 99.0),
    "VDT": (None, None, 225.7, None),
    "W.A.L.T": (None, None, 258.1, None),
    "Latte": (34.00, 59.82, 477.97, 159.60),
    "Latte+IMG": (27.08, 42.67, 202.23, 97.09),
}

# Section 4.4, of Table 5: FID on FaceForensics, Inception Score on UCF101.
_FID: Mapping[str, Values] = {"Latte+IMG": (3.87, None, None, None)}
_IS: Mapping[str, Values] = {"Latte+IMG": (None, None, 73.31, None)}

_TABLES = {"fvd": _FVD, "fid": _FID, "is": _IS}

YOURS = "this result"


@dataclass(frozen=True)
class PaperTable:
    """A metric's published values and the user's, best first.

    Attributes:
        metric: fvd, fid or is.
        rows: a method's name and its values in the order of DATASETS; None: not published.
    """

    metric: str
    rows: Sequence[tuple[str, Values]]

    @property
    def place(self) -> int:
        """The rank of the user's value."""
        return 1 + [name for name, _ in self.rows].index(YOURS)


def dataset_of(preset: str, real: str | Path) -> str:
    """The data set of the paper that the preset or the folder of real videos is named after."""
    return next((name for name in (preset, Path(real).name) if name in DATASETS), "")


def paper_table(metric: str, dataset: str, value: float) -> PaperTable | None:
    """The paper's table of a metric; None if it has no value for the data set.

    Args:
        metric: by name.
        dataset: by the name of its preset; the rows are sorted by its values.
        value: the user's.
    """
    if metric not in _TABLES or dataset not in DATASETS:
        return None
    column, published = DATASETS.index(dataset), _TABLES[metric]
    if all(values[column] is None for values in published.values()):
        return None
    yours = [value if name == dataset else None for name in DATASETS]
    sign = -1 if METRICS[metric].higher_is_better else 1

    def order(row: tuple[str, Values]) -> tuple[bool, float]:
        score = row[1][column]
        return score is None, sign * (score or 0)

    rows = [(name, tuple(values)) for name, values in {YOURS: yours, **published}.items()]
    return PaperTable(metric, tuple(sorted(rows, key=order)))
