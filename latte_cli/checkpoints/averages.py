"""Power-function averages of weights, reconstructed from snapshots after training.

Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models" (EDM2, arXiv
2312.02696), section 3 and appendix C. The average of exponent gamma at step t weights the weights
of step s by s^gamma. Its relative width is the standard deviation of that profile over t: such an
average grows with the run, and has nothing of its initialization.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from latte_cli.checkpoints.choice import is_run
from latte_cli.checkpoints.folder import (
    FOR_SAMPLING,
    NARROW_AVERAGE,
    find_corruption,
    list_steps,
    read_checkpoint_config,
    read_checkpoint_meta,
    remove_checkpoint,
    save_for_sampling,
    step_of,
)
from latte_cli.checkpoints.names import last_stage, run_and_step
from latte_cli.runtime.claims import claimed
from latte_cli.runtime.errors import CheckpointError, ConfigError

WIDE, NARROW = 0.10, 0.05
"""The relative widths that training keeps (appendix C.2): of ema.safetensors, and of the other."""

LARGEST_WIDTH = 12**-0.5
"""The limit: that of the plain mean of all steps, gamma 0."""

_TOLERANCE = 0.15
_POLL_S = 0.2
_GRID = np.geomspace(0.002, 0.28, 100)
"""Widths that an error message looks through for those that snapshots can give."""

_Numbers = NDArray[np.float64]


@cache
def exponent(width: float) -> float:
    """Gamma of a relative width between 0 and 0.289 (equation 128 solved for it)."""
    # width^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3))
    roots = np.roots([1, 7, 16 - width**-2, 12 - width**-2])
    return float(roots.real.max())  # the one above -1


def power_weight(width: float, step: int) -> float:
    """The weight of a step's weights in the average up to it: 1 - (1 - 1/t)^(gamma + 1).

    Args:
        width: relative.
        step: t, from 1, where it is 1.
    """
    return 1.0 - math.pow(1.0 - 1.0 / step, exponent(width) + 1.0)


@dataclass(frozen=True)
class Combination:
    """Snapshots added up to an average.

    Attributes:
        coefficients: of the wide averages of all steps, then of the narrow ones.
        error: norm of the difference between the profile asked for and this one, over its norm.
    """

    coefficients: tuple[float, ...]
    error: float


def combine(steps: Sequence[int], step: int, width: float) -> Combination:
    """The combination of snapshots nearest to an average, by least squares (appendix C.2).

    The coefficients are made to add up to 1, which the paper does not ask: weights change little
    beside their size, so that a sum off by 0.001 was most of the error.

    Args:
        steps: of the snapshots, each with both averages.
        step: of the average.
        width: of the average, relative.
    """
    times = np.tile(np.asarray(steps, np.float64), 2)
    gammas = np.repeat([exponent(WIDE), exponent(NARROW)], len(steps))
    t, gamma = np.float64(step), np.float64(exponent(width))
    products = _inner_product(times[:, None], gammas[:, None], times[None], gammas[None])
    wanted = _inner_product(times, gammas, t, gamma)
    scale, ones = products.max(), np.ones((len(times), 1))
    system = np.block([[products / scale, ones], [ones.T, np.zeros((1, 1))]])
    found = np.linalg.lstsq(system, np.append(wanted / scale, 1.0), rcond=None)[0][:-1]
    whole = float(_inner_product(t, gamma, t, gamma))
    rest = whole - 2 * found @ wanted + found @ products @ found
    return Combination(tuple(map(float, found)), max(0.0, rest / whole) ** 0.5)


def _inner_product(
    t_a: _Numbers | np.float64,
    gamma_a: _Numbers | np.float64,
    t_b: _Numbers | np.float64,
    gamma_b: _Numbers | np.float64,
) -> _Numbers:
    """The integral of the product of two profiles, without overflow for large exponents."""
    first, last = np.minimum(t_a, t_b), np.maximum(t_a, t_b)
    of_longer = np.where(t_a < t_b, gamma_b, gamma_a)
    scale = (gamma_a + 1) * (gamma_b + 1) / (gamma_a + gamma_b + 1)
    return np.asarray(scale * (first / last) ** of_longer / last)


@dataclass(frozen=True)
class Average:
    """A reconstructed average.

    Attributes:
        weights: of the network, float32, by name.
        newest: the snapshot of its step, whose configuration it has.
        error: see `Combination`.
        snapshots: how many it is made of.
    """

    weights: Mapping[str, Tensor]
    newest: Path
    error: float
    snapshots: int


def reconstruct(source: Path, width: float) -> Average:
    """The average of a width, at the newest snapshot of a run or up to a checkpoint of it.

    Args:
        source: a run, or one of its checkpoints or snapshots.
        width: relative.

    Raises:
        ConfigError: if there is no average of that width.
        CheckpointError: if there are no snapshots, they are damaged, or too few for the width.
    """
    if not 0 < width < LARGEST_WIDTH:
        raise ConfigError(
            f"an average of relative width {width:g}: widths are above 0 and below "
            f"{LARGEST_WIDTH:.3f}, that of the mean of all steps",
            hint="0.05 to 0.15 is usual",
        )
    snapshots = _snapshots(source)
    steps = [step_of(path) for path in snapshots]
    combination = combine(steps, steps[-1], width)
    if combination.error > _TOLERANCE:
        within = [w for w in _GRID if combine(steps, steps[-1], w).error <= _TOLERANCE]
        raise CheckpointError(
            f"the snapshots of {len(steps)} steps in {snapshots[0].parent} give averages of "
            f"relative widths from {within[0]:.2g} to {within[-1]:.2g}, not {width:g}",
            hint="a run with a smaller train.ema_every gives more",
        )
    weights = _weighted_sum(snapshots, combination.coefficients)
    return Average(weights, snapshots[-1], combination.error, len(steps))


def save_reconstructed(source: Path, width: float) -> Path:
    """Reconstruct an average into the folder `averages` of its run, to sample from.

    An equal one that is already there stays as it is. Several processes may call it at once.

    Returns:
        Its folder.

    Raises:
        LatteError: see `reconstruct`.
    """
    average = reconstruct(source, width)
    newest = average.newest
    folder = newest.parents[1] / "averages" / f"{newest.name}-{width:g}"
    folder.parent.mkdir(exist_ok=True)
    while True:
        with claimed(folder.with_name(f"{folder.name}.claim")) as is_ours:
            if is_ours:
                if not _holds(folder, average.weights):
                    config, meta = read_checkpoint_config(newest), read_checkpoint_meta(newest)
                    save_for_sampling(folder, config, meta, average.weights)
                return folder
        time.sleep(_POLL_S)


def _holds(folder: Path, weights: Mapping[str, Tensor]) -> bool:
    """Whether a folder holds a whole checkpoint with these weights."""
    if not folder.is_dir() or find_corruption(folder) is not None:
        return False
    kept = load_file(folder / FOR_SAMPLING[0])
    return kept.keys() == weights.keys() and all(
        torch.equal(kept[name], value) for name, value in weights.items()
    )


def remove_later_snapshots(run: Path, step: int) -> None:
    """Delete a run's snapshots after a step that it goes on from: it may take another course."""
    for path in list_steps(run / "ema"):
        if step_of(path) > step and (path / NARROW_AVERAGE).is_file():
            remove_checkpoint(path)


def _snapshots(source: Path) -> list[Path]:
    """The snapshots with both averages, up to the source's step, oldest first.

    Raises:
        CheckpointError: if there are none, or one is damaged.
    """
    source = last_stage(source)
    step, run = None, source
    if not is_run(source):
        found = run_and_step(source)
        if found is None:
            raise CheckpointError(
                f"{source}: not a run, nor a checkpoint of one",
                hint="averages are reconstructed from the snapshots in runs/NAME/ema",
            )
        run, step = found
    elif source.name in ("checkpoints", "ema"):
        run = source.parent
    known = [path for path in list_steps(run / "ema") if (path / NARROW_AVERAGE).is_file()]
    if not known:
        raise CheckpointError(
            f"{run} has no snapshots of power-function averages",
            hint="they are written by a run with -o train.ema=power",
        )
    usable = [path for path in known if step is None or step_of(path) <= step]
    if not usable:
        raise CheckpointError(
            f"{source}: the first snapshot of {run} is of step {step_of(known[0])}",
            hint="give a later checkpoint, or the run",
        )
    for path in usable:
        if broken := find_corruption(path, (FOR_SAMPLING[0], NARROW_AVERAGE)):
            raise CheckpointError(broken, hint=f"delete {path}: the others may be enough")
    return usable


def _weighted_sum(snapshots: Sequence[Path], coefficients: Sequence[float]) -> dict[str, Tensor]:
    """Add up parameters in float32; tables of positions, which do not change, are copied."""
    wide, narrow = np.split(np.asarray(coefficients), 2)
    total: dict[str, Tensor] = {}
    for path, of_wide, of_narrow in zip(snapshots, wide, narrow, strict=True):
        tensors, others = load_file(path / FOR_SAMPLING[0]), load_file(path / NARROW_AVERAGE)
        for name, value in tensors.items():
            if name not in others:
                total[name] = value
                continue
            if name not in total:
                total[name] = torch.zeros_like(value, dtype=torch.float32)
            if total[name].shape != value.shape:
                raise CheckpointError(
                    f"{path}: {name} is of another size than in {snapshots[0]}",
                    hint="these are snapshots of two networks: delete those of the other",
                )
            total[name].add_(value.float(), alpha=of_wide)
            total[name].add_(others[name].float(), alpha=of_narrow)
    return total
