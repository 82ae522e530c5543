"""Captions of training clips, as a pure function of (seed, step, index) as the clips are."""

# Axes: b clips, i images, l tokens of a text, d width of the embeddings.

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latte_cli.data.table import VideoTable
from latte_cli.data.texts.store import NULL_TEXT, TextSet
from latte_cli.runtime.errors import DataError
from latte_cli.runtime.randomness import seeded

_CHECKED_AT_A_TIME = 10_000
_VIDEOS_KEPT = 1 << 16  # of which the numbers of captions are kept
_MULTIPLE = 8  # of tokens: few different lengths, and aligned products


@dataclass(frozen=True)
class Texts:
    """Embeddings of some texts, padded to the longest of them.

    Attributes:
        tokens: (…, l, d) bfloat16; zero where there is none.
        mask: which of them there are, (…, l) bool.
    """

    tokens: Tensor
    mask: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> "Texts":
        """The same with a function applied to each tensor."""
        return Texts(function(self.tokens), function(self.mask))


class TextSampler:
    """Chooses a caption for each clip and image, and pads their embeddings to one length.

    Args:
        texts: encoded captions.
        table: of the videos, whose lines hold their captions.
        seed: of the choice.
    """

    def __init__(self, texts: TextSet, table: VideoTable, seed: int) -> None:
        self._texts, self._table, self._seed = texts, table, seed
        self._null = texts.embedding(int(texts.numbers([NULL_TEXT])[0]))
        self._captions = lru_cache(_VIDEOS_KEPT)(self._find_captions)

    def check(self, videos: NDArray[np.intp]) -> None:
        """Check that videos have captions, and that these are encoded.

        Raises:
            DataError: if not; names the first.
        """
        used = np.zeros(len(self._table), bool)
        used[videos] = True
        rows = (row for row, is_used in zip(self._table.rows(), used, strict=True) if is_used)
        while some := list(islice(rows, _CHECKED_AT_A_TIME)):
            self._texts.numbers(text for row in some for text in _require_captions(row))

    def choose(self, step: int, index: int, videos: Sequence[tuple[int, bool]]) -> list[Tensor]:
        """Embeddings of the captions of a clip and its images, (l, d) bfloat16 each.

        Args:
            step: number of the training step.
            index: of the clip in the step's batch.
            videos: number of the clip's and each image's video, and whether its caption is told;
                else it is the null text, cut to the caption's length.
        """
        uniform = torch.rand(len(videos), generator=seeded(self._seed, step, index, 3))
        chosen = []
        for (video, is_told), where in zip(videos, uniform.tolist(), strict=True):
            numbers = self._captions(video)
            tokens = self._texts.embedding(numbers[int(where * len(numbers))])
            chosen.append(tokens if is_told else self._null[: len(tokens)])
        return chosen

    def _find_captions(self, video: int) -> list[int]:
        captions = _require_captions(self._table.row(video))
        return [int(number) for number in self._texts.numbers(captions)]


def padded(rows: Sequence[Sequence[Tensor]], run: Callable[..., Iterable[None]] = map) -> Texts:
    """Embeddings, (l, d) each, in rows of one length: (b, i, l, d).

    Args:
        rows: the embeddings.
        run: calls a function for each row; that of a pool of threads does so in parallel.
    """
    longest = max(len(tokens) for row in rows for tokens in row)
    length, width = -(-longest // _MULTIPLE) * _MULTIPLE, rows[0][0].shape[1]
    size = (len(rows), len(rows[0]), length)
    tokens = torch.empty(*size, width, dtype=torch.bfloat16)  # written once: memory is the limit
    mask = torch.zeros(size, dtype=torch.bool)

    def fill(row: Sequence[Tensor], row_tokens: Tensor, row_mask: Tensor) -> None:
        for number, each in enumerate(row):
            row_tokens[number, : len(each)] = each
            row_tokens[number, len(each) :] = 0
            row_mask[number, : len(each)] = True

    for _ in run(fill, rows, tokens, mask):
        pass
    return Texts(tokens, mask)


def _require_captions(row: dict[str, Any]) -> list[str]:
    if captions := captions_of(row):
        return captions
    raise DataError(
        f"{row['path']}: has no caption, but model.condition is text",
        hint="`latte prepare captions` takes a table of videos and captions",
    )


def captions_of(row: dict[str, Any]) -> list[str]:
    """The captions in a line of a manifest, or of an index of latents."""
    if "captions" in row:
        return list(row["captions"])
    first = row.get("caption")
    return [*([] if first is None else [first]), *row.get("more_captions", ())]
