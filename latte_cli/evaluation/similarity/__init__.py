"""Frame similarity: cosine similarity of a clip's frames at each block of a network."""

from latte_cli.evaluation.similarity.collecting import SimilarityCollector, split_attention_output
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
    "split_attention_output",
    "unit_features",
]
