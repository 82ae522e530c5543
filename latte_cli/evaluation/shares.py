"""Shares of clips of `shapes`: those that move as labeled, and those with one clear figure."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from latte_cli.evaluation.features.figures import FLAWS
from latte_cli.evaluation.features.motion import Columns
from latte_cli.evaluation.features.store import FeatureStore
from latte_cli.evaluation.numbers import ClipDraws, ClipRefs, number_of, rounded, wilson_interval
from latte_cli.evaluation.plan import ClipRef
from latte_cli.evaluation.results.result import BY_CLIP, Number
from latte_cli.runtime.errors import DataError
from latte_cli.sources.shapes import DIRECTIONS_DEG

_NAMES = 20  # of clips in a result


def share_moving_as_labeled(draws: ClipDraws, store: FeatureStore) -> Number:
    """The share by the correlation of frames, with Wilson's interval.

    Details of the first draw: the share by the tracked figure, and the clips for which the two
    estimates differ; one of them is then wrong, or the clip shows no clear motion.
    """
    values = [_right(refs, store, Columns.CORRELATED).mean() for refs in draws.fake]
    first = draws.fake[0]
    rows = _rows(first, store)
    differ = np.flatnonzero(rows[:, Columns.CORRELATED] != rows[:, Columns.TRACKED])
    return number_of(
        "direction",
        draws,
        [float(value) for value in values],
        interval=wilson_interval(float(values[0]), len(first)),
        details={
            "by tracking": rounded(float(_right(first, store, Columns.TRACKED).mean())),
            "estimates differ": len(differ),
            "they differ for": [first[number].video.name for number in differ[:_NAMES]],
            BY_CLIP: _by_clip(first, map(_direction, first, rows)),
        },
    )


def share_with_one_shape(draws: ClipDraws, store: FeatureStore) -> Number:
    """The share of clips with exactly one figure, of one kind and color, in every frame.

    Details of the first draw: the mean overlap (intersection over union) with the shapes that fit
    best, over all clips, and how many clips have which flaw.
    """
    flaws = [_rows(refs, store)[:, Columns.FLAW].astype(int) for refs in draws.fake]
    shares = [float((each == FLAWS.index("none")).mean()) for each in flaws]
    counts = Counter(FLAWS[number] for number in flaws[0].tolist())
    overlap = float(_rows(draws.fake[0], store)[:, Columns.OVERLAP].mean())
    return number_of(
        "shape",
        draws,
        shares,
        interval=wilson_interval(shares[0], len(flaws[0])),
        details={
            "overlap": rounded(overlap),
            **{flaw: counts[flaw] for flaw in FLAWS if flaw != "none"},
            BY_CLIP: _by_clip(
                draws.fake[0],
                (
                    "one figure" if flaw == "none" else flaw
                    for flaw in map(FLAWS.__getitem__, flaws[0])
                ),
            ),
        },
    )


def _by_clip(refs: ClipRefs, verdicts: Iterable[str]) -> dict[str, str]:
    """The verdict on each clip, by its name."""
    return {ref.video.name: verdict for ref, verdict in zip(refs, verdicts, strict=True)}


def _direction(ref: ClipRef, row: NDArray[np.float32]) -> str:
    """Where a clip moves, beside its label."""
    moves, labeled = int(row[Columns.CORRELATED]), ref.video.label
    if moves == labeled:
        return "moves as labeled"
    return f"moves to {DIRECTIONS_DEG[moves]}°"


def _flaw(number: int) -> str:
    """What a clip shows, by the index of its flaw."""
    return "one figure" if FLAWS[number] == "none" else FLAWS[number]


def _right(refs: ClipRefs, store: FeatureStore, column: int) -> NDArray[np.bool_]:
    """Whether each clip moves as its label says.

    Raises:
        DataError: if a clip has no label.
    """
    labels = [ref.video.label for ref in refs]
    if None in labels:
        raise DataError(
            "`direction` needs the label of every clip, some are without a label",
            hint="name files as `latte sample` does, give a checkpoint, or remove `direction` "
            "from --metrics",
        )
    right: NDArray[np.bool_] = _rows(refs, store)[:, column] == np.array(labels)
    return right


def _rows(refs: ClipRefs, store: FeatureStore) -> NDArray[np.float32]:
    """(n, columns), as `features.motion.Columns` numbers them."""
    return store.matrix([ref.key for ref in refs])
