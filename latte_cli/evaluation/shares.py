"""Shares of clips of `shapes`: those that move as asked, in the color asked for, as one figure."""

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
from latte_cli.sources.shapes import (
    COLORS,
    DIRECTIONS,
    DIRECTIONS_DEG,
    GRAY,
    color_in,
    color_name,
    direction_in,
)

_NAMES = 20  # of clips in a result
_LEAVE_OUT = "leave the metric out of --metrics"


def share_moving_as_asked(draws: ClipDraws, store: FeatureStore) -> Number:
    """The share of clips that move as their label or caption says, with Wilson's interval.

    By the correlation of frames.

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


def share_of_named_color(draws: ClipDraws, store: FeatureStore) -> Number:
    """The share of clips whose moving pixels have, in the mean, the color that the caption names.

    With Wilson's interval. Details of the first draw: which color each clip has.
    """
    asked = [[_color_asked(ref) for ref in refs] for refs in draws.fake]
    found = [[_color_name(row) for row in _rows(refs, store)] for refs in draws.fake]
    shares = [float(np.mean(np.array(a) == np.array(b))) for a, b in zip(asked, found, strict=True)]
    verdicts = (
        "its color as captioned" if wanted == seen else seen
        for wanted, seen in zip(asked[0], found[0], strict=True)
    )
    return number_of(
        "color",
        draws,
        shares,
        interval=wilson_interval(shares[0], len(found[0])),
        details={BY_CLIP: _by_clip(draws.fake[0], verdicts)},
    )


def _color_asked(ref: ClipRef) -> str:
    """The color that a clip's caption names.

    Raises:
        DataError: if it has no caption, or one that names no color, or several.
    """
    if not ref.video.captions:
        raise DataError(
            f"`color` needs the caption of every clip, and {ref.video.name} has none",
            hint=f"give clips of `latte t2v` or a network that takes text, or {_LEAVE_OUT}",
        )
    color = color_in(ref.video.captions[0])
    if color is None:
        raise DataError(
            f"`color` needs captions that name one color: `{ref.video.captions[0]}` does not",
            hint=f"known: {', '.join((*COLORS, GRAY))}; or {_LEAVE_OUT}",
        )
    return color


def _color_name(row: NDArray[np.float32]) -> str:
    color = row.astype(np.float64)
    return "nothing moves" if (color < 0).any() else color_name(color)


def _by_clip(refs: ClipRefs, verdicts: Iterable[str]) -> dict[str, str]:
    """The verdict on each clip, by its name."""
    return {ref.video.name: verdict for ref, verdict in zip(refs, verdicts, strict=True)}


def _direction(ref: ClipRef, row: NDArray[np.float32]) -> str:
    """Where a clip moves, beside its label or caption."""
    moves = int(row[Columns.CORRELATED])
    if moves == _direction_asked(ref):
        return f"moves as {'captioned' if ref.video.label is None else 'labeled'}"
    return f"moves to {DIRECTIONS_DEG[moves]}°"


def _right(refs: ClipRefs, store: FeatureStore, column: int) -> NDArray[np.bool_]:
    """Whether each clip moves as its label or caption says."""
    asked = [_direction_asked(ref) for ref in refs]
    right: NDArray[np.bool_] = _rows(refs, store)[:, column] == np.array(asked)
    return right


def _direction_asked(ref: ClipRef) -> int:
    """The label of a clip, or that of the direction that its caption names.

    Raises:
        DataError: if it has neither, or a caption that names no direction, or several.
    """
    video = ref.video
    if video.label is not None:
        return video.label
    if not video.captions:
        raise DataError(
            f"`direction` needs the label or caption of every clip, and {video.name} has neither",
            hint="name files as `latte sample` does, give clips of `latte t2v` or a checkpoint, or "
            + _LEAVE_OUT,
        )
    direction = direction_in(video.captions[0])
    if direction is None:
        raise DataError(
            f"`direction` needs captions that name one direction: `{video.captions[0]}` does not",
            hint=f"known: {', '.join(DIRECTIONS)}; or {_LEAVE_OUT}",
        )
    return direction


def _rows(refs: ClipRefs, store: FeatureStore) -> NDArray[np.float32]:
    """(n, columns), as the metric's extractor numbers them."""
    return store.matrix([ref.key for ref in refs])
