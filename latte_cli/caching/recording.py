"""What a plan of skipped steps needs to know: how blocks change, and which steps weigh most."""

# Axes: b clips, f frames, c latent channels, s steps, k looked-at numbers.

from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latte_cli.caching.planning import Array
from latte_cli.caching.progress import Network, SamplingProgress, counted, pairs_of, shadowed
from latte_cli.diffusion import Sampler, denoise
from latte_cli.runtime.randomness import seeded

_LOOKED_AT = 2048  # numbers of a block's change of a clip; all of them do not fit memory


@dataclass(frozen=True)
class Recording:
    """A policy that computes everything and remembers a part of what blocks add.

    The part is the same random one at every step, so that inner products of steps are right but
    for a factor.

    Attributes:
        name: see `Policy`.
        one_by_one: see `Policy`.
        seen: by pair and block, and by step, the parts of each batch.
    """

    name: str = "recording"
    one_by_one: bool = False
    seen: dict[tuple[int, int], dict[int, list[Tensor]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )

    def install(self, model: Network, progress: SamplingProgress, stack: ExitStack) -> None:
        """Look on at every block; see `Policy`."""
        for number, pair in enumerate(pairs_of(model)):
            for place, block in enumerate(pair):
                watched = self._watched(block.forward, progress, (number, place))
                stack.enter_context(shadowed(block, "forward", watched))

    def _watched(self, compute: Any, progress: SamplingProgress, key: tuple[int, int]) -> Any:
        compute = counted(compute, progress)

        def forward(x: Tensor, *values: Any) -> Tensor:
            out: Tensor = compute(x, *values)
            chosen = torch.randint(out[0].numel(), (_LOOKED_AT,), generator=seeded(*key))
            change = (out - x).flatten(1)[:, chosen.to(x.device)]
            self.seen[key][progress.step].append(change.float().cpu())
            return out

        return forward

    def products(self) -> list[Array]:
        """For each pair of blocks the inner products of its changes, (s, s), over their size."""
        return [
            sum((_products(self.seen[key]) for key in self.seen if key[0] == pair), np.zeros(()))
            for pair in range(1 + max(pair for pair, _ in self.seen))
        ]

    def starts(self) -> tuple[int, ...]:
        """The steps before which blocks have nothing to go by, ascending.

        They are the first, and those where a batch grows or shrinks, as where an interval of guided
        steps begins or ends (see `Residual`).
        """
        seen = next(iter(self.seen.values()))
        sizes = [[len(part) for part in seen[step]] for step in range(len(seen))]
        return (0, *(step for step in range(1, len(sizes)) if sizes[step] != sizes[step - 1]))


def _products(seen: dict[int, list[Tensor]]) -> Array:
    """Of one block, from its parts by step, of each batch (b, k)."""
    # Where only an interval of steps is guided, half of a batch is not there at the others.
    sizes = [min(map(len, batches)) for batches in zip(*seen.values(), strict=True)]
    kept = [
        torch.cat([part[:size].flatten() for part, size in zip(seen[step], sizes, strict=True)])
        for step in range(len(seen))
    ]
    changes = torch.stack(kept).double()
    # A line through two steps does not mind where zero is, but rounding does.
    changes = changes - changes.mean(dim=0)
    return np.asarray((changes @ changes.T / changes.shape[1]).numpy())


def step_gains(sampler: Sampler) -> Array:
    """How far an error of one in a step's output takes the clip, by itself, (s,).

    Samplers are linear in the network's outputs, so it is found by walking with an output of one at
    a single step, zero at the others: each step a clip of a batch. What later outputs do about the
    error is left out.
    """
    steps = len(sampler.timesteps)
    walked = 0

    def one_at_a_step(x: Tensor, t: Tensor) -> Tensor:
        nonlocal walked
        out = torch.zeros(steps + 1, 1, 2, 1, 1)  # noise, then covariance, which stays as it is
        out[walked, :, 0] = 1
        walked += 1
        return out

    generators = [seeded(0) for _ in range(steps + 1)]
    ends = denoise(one_at_a_step, torch.zeros(steps + 1, 1, 1, 1, 1), sampler, generators)
    reached = ends.flatten().double()
    return np.asarray((reached[:-1] - reached[-1]).abs().numpy())
