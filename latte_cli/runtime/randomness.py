"""Generators seeded from what they are for: order, batch and device count change nothing."""

import numpy as np
import torch


def seeded(*words: int) -> torch.Generator:
    """A CPU generator for this tuple of non-negative integers, say (seed, index).

    The words are mixed by NumPy's SeedSequence, so that neighbouring tuples give unrelated streams;
    their number goes in, too, since it takes (0,) and (0, 0) for the same.
    """
    state = np.random.SeedSequence([len(words), *words]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)
