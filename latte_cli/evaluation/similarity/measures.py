"""How alike frames are, as numbers (Latte, section 4.2, figures 6 and 8)."""

# Axes: b clips, f frames (tubes, where tokens are tubes), s tokens of a frame, d width.

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from latte_cli.runtime.errors import ShapeError

Place = Literal["output", "space", "time", "mutual"]
PLACES: tuple[Place, ...] = get_args(Place)

_DIGITS = 8  # of a cosine, as a value to write down
# What is larger by no more than this is so by rounding: equal frames have no inversions.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Inversions:
    """Inverted triples of frames, and all there are; see `count_inversions`."""

    count: int
    triples: int


@dataclass(frozen=True)
class Similarity:
    """How alike frames are at one place of the network.

    Attributes:
        matrix: cosines, (f, f) float64 on the CPU, [i, j] of frame i with frame j, averaged over
            clips.
        mean: over all pairs of different frames.
        variance: over the same pairs, of the population.
        inverted: frames that are more alike than nearer ones.
    """

    matrix: Tensor
    mean: float
    variance: float
    inverted: Inversions

    @classmethod
    def of(cls, matrix: Tensor) -> "Similarity":
        """Sum up a matrix of cosines, (f, f).

        Raises:
            ShapeError: if there are no two frames to compare.
        """
        matrix = matrix.detach().double().cpu()
        if len(matrix) < 2:
            raise ShapeError(
                f"{len(matrix)} frame in a clip, similarity takes at least 2",
                hint="take a network of longer clips, or of shorter tubes",
            )
        pairs = off_diagonal(matrix)
        variance = float(pairs.var(correction=0))
        return cls(matrix, float(pairs.mean()), variance, count_inversions(matrix))


@dataclass(frozen=True)
class BlockSimilarity:
    """One block of the network.

    Attributes:
        number: of the block, from 0.
        axes: of each attention, those that its heads are shared out among.
        output: of what the block hands on.
        space: of its spatial attention's output, where the block has one in time, too.
        time: of its temporal attention's output, likewise.
        mutual: [i, j] of frame i from the spatial with frame j from the temporal attention.
    """

    number: int
    axes: tuple[tuple[str, ...], ...]
    output: Similarity
    space: Similarity | None = None
    time: Similarity | None = None
    mutual: Similarity | None = None

    @property
    def attention(self) -> str:
        """Where it attends, in words: `space`, `space, then time` or `space and time`."""
        return ", then ".join(" and ".join(axes) for axes in self.axes)

    def at(self, place: Place) -> Similarity | None:
        """What was found at a place, if the block has it."""
        return {
            "output": self.output,
            "space": self.space,
            "time": self.time,
            "mutual": self.mutual,
        }[place]


@dataclass(frozen=True)
class SimilarityAt:
    """The similarities of all blocks at one timestep."""

    timestep: int
    blocks: tuple[BlockSimilarity, ...]


def unit_features(tokens: Tensor) -> Tensor:
    """Each frame's feature, all its tokens in one vector of length 1.

    Args:
        tokens: (b, f, s, d), any floating type.

    Returns:
        (b, f, s d) float64; a frame of zeros stays zero and is like no other.
    """
    return F.normalize(tokens.detach().double().flatten(2), dim=-1)


def cosines(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of every frame of one with every frame of the other.

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
    """How often a frame is more like a farther frame than like a nearer one.

    A triple is a frame i and two others, j and k, on the same side of it, k farther away than j. It
    is inverted where similarity [i, k] is larger than [i, j], as when the first frame is more like
    the fifth than like the second (section 4.2). Of f frames there are f (f - 1) (f - 2) / 3
    triples; a clip that only drifts away from each of its frames has no inverted one.

    Args:
        matrix: similarities, (f, f).
    """
    frame = torch.arange(len(matrix), device=matrix.device)
    i, j, k = frame[:, None, None], frame[None, :, None], frame[None, None, :]
    triples = ((j - i) * (k - i) > 0) & ((k - i).abs() > (j - i).abs())
    inverted = triples & (matrix[:, None, :] > matrix[:, :, None] + _ROUNDING)
    return Inversions(int(inverted.sum()), int(triples.sum()))


def as_values(measured: SimilarityAt) -> dict[str, Any]:
    """Everything as JSON has it; places that a block does not have are left out."""
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
