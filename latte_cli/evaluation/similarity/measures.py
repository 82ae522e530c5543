"""Statistics of frame similarity (Latte, section 4.2, figures 6 and 8)."""

# Axes: b clips, f frames (tubes, where tokens are tubes), s tokens of a frame, d width.

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from latte_cli.runtime.errors import ShapeError

Place = Literal["output", "space", "time", "mutual"]
PLACES: tuple[Place, ...] = get_args(Place)

_DIGITS = 8  # of a cosine in JSON
_TOLERANCE = 1e-9  # of rounding: equal frames have no inversions


@dataclass(frozen=True)
class Inversions:
    """The number of inverted triples of frames, and of all triples; see `count_inversions`."""

    count: int
    triples: int


@dataclass(frozen=True)
class Similarity:
    """Frame similarity at one place of the network.

    Attributes:
        matrix: cosine similarities, (f, f) float64 on the CPU, [i, j] of frame i with frame j,
            averaged over clips.
        mean: over all pairs of different frames.
        variance: population variance over the same pairs.
        inverted: triples in which the farther frame is more similar.
    """

    matrix: Tensor
    mean: float
    variance: float
    inverted: Inversions

    @classmethod
    def from_matrix(cls, matrix: Tensor) -> "Similarity":
        """Compute the statistics of a matrix, (f, f).

        Raises:
            ShapeError: if there are fewer than two frames.
        """
        matrix = matrix.detach().double().cpu()
        if len(matrix) < 2:
            raise ShapeError(
                f"{len(matrix)} frame in a clip, similarity needs at least 2",
                hint="use a network of longer clips or shorter tubes",
            )
        pairs = off_diagonal(matrix)
        variance = float(pairs.var(correction=0))
        return cls(matrix, float(pairs.mean()), variance, count_inversions(matrix))


@dataclass(frozen=True)
class BlockSimilarity:
    """Frame similarity in one block of the network.

    Attributes:
        number: of the block, from 0.
        axes: for each attention, the axes that it attends along.
        output: of the block's output.
        space: of its spatial attention's output, if it also has a temporal one.
        time: of its temporal attention's output, likewise.
        mutual: [i, j] of frame i of the spatial with frame j of the temporal attention.
    """

    number: int
    axes: tuple[tuple[str, ...], ...]
    output: Similarity
    space: Similarity | None = None
    time: Similarity | None = None
    mutual: Similarity | None = None

    @property
    def attention(self) -> str:
        """Where it attends: `space`, `time`, `space, then time` and the like."""
        return ", then ".join(" and ".join(axes) for axes in self.axes)

    def at(self, place: Place) -> Similarity | None:
        """The similarity at a place, if the block has it."""
        return {
            "output": self.output,
            "space": self.space,
            "time": self.time,
            "mutual": self.mutual,
        }[place]


@dataclass(frozen=True)
class SimilarityAt:
    """Frame similarities of all blocks at one timestep."""

    timestep: int
    blocks: tuple[BlockSimilarity, ...]


def unit_features(tokens: Tensor) -> Tensor:
    """Features of frames: all tokens of a frame as one unit vector.

    Args:
        tokens: (b, f, s, d), any floating type.

    Returns:
        (b, f, s d) float64; a frame of zeros stays zero, with similarity 0 to all.
    """
    return F.normalize(tokens.detach().double().flatten(2), dim=-1)


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """Cosine similarities of all frames of one with all frames of the other.

    Args:
        a: of `unit_features`, (b, f, n).
        b: shaped as a.

    Returns:
        (b, f, f), [i, j] of a's frame i with b's frame j.
    """
    return a @ b.mT


def off_diagonal(matrix: Tensor) -> Tensor:
    """The entries of different frames: (f, f) -> (f (f - 1),)."""
    return matrix[~torch.eye(len(matrix), dtype=torch.bool, device=matrix.device)]


def count_inversions(matrix: Tensor) -> Inversions:
    """How often a frame is more similar to a farther frame than to a nearer one.

    A triple is a frame i and two others, j and k, on the same side of it, k farther away than j. It
    is inverted if similarity [i, k] is larger than [i, j], for example if the first frame is more
    similar to the fifth than to the second (section 4.2). f frames have f (f - 1) (f - 2) / 3
    triples; if similarity only falls with distance, none is inverted.

    Args:
        matrix: similarities, (f, f).
    """
    frame = torch.arange(len(matrix), device=matrix.device)
    i, j, k = frame[:, None, None], frame[None, :, None], frame[None, None, :]
    triples = ((j - i) * (k - i) > 0) & ((k - i).abs() > (j - i).abs())
    inverted = triples & (matrix[:, None, :] > matrix[:, :, None] + _TOLERANCE)
    return Inversions(int(inverted.sum()), int(triples.sum()))


def as_values(measured: SimilarityAt) -> dict[str, Any]:
    """The content of the JSON file; places that a block does not have are left out."""
    return {
        "timestep": measured.timestep,
        "blocks": [
            {"block": block.number, "attention": block.attention}
            | {place: _values(found) for place in PLACES if (found := block.at(place))}
            for block in measured.blocks
        ],
    }


def _values(similarity: Similarity) -> dict[str, Any]:
    return {
        "mean": similarity.mean,
        "variance": similarity.variance,
        "inverted": similarity.inverted.count,
        "triples": similarity.inverted.triples,
        "matrix": [[round(value, _DIGITS) for value in row] for row in similarity.matrix.tolist()],
    }
