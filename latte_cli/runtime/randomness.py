"""Generators seeded by purpose: order, batch size and number of devices change nothing."""

import numpy as np
import torch


def random_positions(total: int, count: int, generator: torch.Generator) -> torch.Tensor:
    """Some of the numbers below a total, each once, ascending: (count,) long."""
    return torch.randperm(total, generator=generator)[:count].sort().values


def seeded(*numbers: int) -> torch.Generator:
    """A CPU generator for a tuple of non-negative integers, say (seed, index).

    NumPy's SeedSequence mixes them, so that neighboring tuples give unrelated streams. Their count
    is mixed in, too, since SeedSequence does not tell (0,) from (0, 0).
    """
    state = np.random.SeedSequence([len(numbers), *numbers]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)
