"""What goes on inside a network: how alike the frames of a clip are at each of its blocks."""

from latte_cli.evaluation.similarity.collecting import SimilarityCollector, shares
from latte_cli.evaluation.similarity.measures import (
    BlockSimilarity,
    Inversions,
    Similarity,
    SimilarityAt,
    as_values,
    cosines,
    count_inversions,
    off_diagonal,
    unit_features,
)
from latte_cli.evaluation.similarity.plots import plot_similarity

__all__ = [
    "BlockSimilarity",
    "Inversions",
    "Similarity",
    "SimilarityAt",
    "SimilarityCollector",
    "as_values",
    "cosines",
    "count_inversions",
    "off_diagonal",
    "plot_similarity",
    "shares",
    "unit_features",
]
