"""Which label each clip is drawn with: given ones in turn, all, or as a data set has them."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from latte_cli.data.manifest import read_dataset
from latte_cli.models.weights.trained import label_number
from latte_cli.runtime.errors import ConfigError, DataError

ALL, DATA = "all", "data"


def label_order(
    words: Sequence[str],
    kind: str | None,
    num_classes: int | None,
    classes: Sequence[str],
    dataset: Path,
    split: str,
) -> Iterator[int | None]:
    """Labels without end; each depends on its place alone, not on how many are taken.

    Args:
        words: labels by number or name, to be taken in turn.
        kind: `all` takes all that the network knows in turn, and is the default; `data` takes them
            as often as a data set has them.
        num_classes: labels that the network knows; None: it is unconditional.
        classes: their names, where they have names.
        dataset: a prepared data set, read for `data` alone.
        split: of its videos.

    Raises:
        ConfigError: if the network knows no such label, or `words` and `kind` are both given.
        DataError: if the data set is missing, has no labels, or other ones than the network.
    """
    if words and kind:
        raise ConfigError("--label and --labels exclude each other", hint="give one of them")
    if kind not in (None, ALL, DATA):
        raise ConfigError(f"--labels {kind} is unknown", hint="--labels all or --labels data")
    if kind and num_classes is None:
        raise ConfigError(
            f"this network is unconditional, it takes no --labels {kind}", hint="leave it out"
        )
    if kind == DATA and num_classes is not None:
        return in_proportion(_counts(dataset, split, num_classes, classes))
    numbers = [label_number(text, num_classes, classes) for text in words]
    turns: Sequence[int | None] = numbers or range(num_classes or 0) or [None]
    return itertools.cycle(turns)


def in_proportion(counts: Sequence[int]) -> Iterator[int]:
    """Numbers of kinds, as often as counted: any number of them is about as the whole.

    Each next one is the kind whose share has been waiting for the longest, counted in halves
    (Sainte-Laguë's method of seats), the first of them on a tie.
    """
    shares = np.asarray(counts, np.float64)
    seats = np.zeros(len(counts))
    while True:
        chosen = int((shares / (2 * seats + 1)).argmax())
        seats[chosen] += 1
        yield chosen


def _counts(dataset: Path, split: str, num_classes: int, classes: Sequence[str]) -> list[int]:
    """How many videos of a data set have each of the network's labels."""
    found = read_dataset(dataset)
    if classes and found.classes and tuple(classes) != found.classes:
        raise DataError(
            f"{dataset} has other labels than the network was trained with",
            hint="set data.root to the data set of its training, or give --label",
        )
    labels = [video.label for video in found.of_split(split) if video.label is not None]
    if not labels:
        raise DataError(f"{dataset}: no video has a label", hint="--labels all, or --label")
    if max(labels) >= num_classes:
        raise DataError(
            f"{dataset} has the label {max(labels)}, the network knows 0 to {num_classes - 1}",
            hint="set data.root to the data set of its training, or give --label",
        )
    return [int(count) for count in np.bincount(labels, minlength=num_classes)]
