"""The part of a checkpoint that only resuming reads: its folder `state/`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from latte_cli.runtime.files import write_tensors, write_text

OPTIMIZER = "state/optimizer.safetensors"
"""The file of the optimizer's moments."""

_GROUPS = "state/optimizer.json"
_GUARD = "state/guard.safetensors"
_PROGRESS = "state/progress.json"


def write_state(
    folder: Path,
    optimizer: Mapping[str, Any],
    guard: Mapping[str, Tensor],
    progress: Mapping[str, int],
) -> None:
    """Write what a run resumes from.

    Args:
        folder: of the checkpoint.
        optimizer: its `state_dict`; tensors are named by parameter number.
        guard: the spike guard's `state_dict`.
        progress: position in the data, and counts of bad steps and rollbacks, by name.
    """
    write_tensors(folder / OPTIMIZER, named_moments(optimizer["state"]))
    write_text(folder / _GROUPS, json.dumps(optimizer["param_groups"]) + "\n")
    write_tensors(folder / _GUARD, guard)
    write_text(folder / _PROGRESS, json.dumps(progress, indent=2) + "\n")


def named_moments(moments: Mapping[int, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """An optimizer's state by its names in the file, such as `12.exp_avg` of parameter 12."""
    return {f"{n}.{key}": value for n, kept in moments.items() for key, value in kept.items()}


def empty_moments(folder: Path, parameters: Sequence[Tensor]) -> dict[int, dict[str, Tensor]]:
    """Zeros to read a checkpoint's moments into, by parameter number, sharded as those are."""
    moments: dict[int, dict[str, Tensor]] = {}
    with safe_open(folder / OPTIMIZER, "pt") as file:
        for name in file.keys():  # noqa: SIM118  # it is no mapping
            number, _, key = name.partition(".")
            shape = file.get_slice(name).get_shape()  # empty for a count of steps
            value = torch.zeros_like(parameters[int(number)]) if shape else torch.zeros(())
            moments.setdefault(int(number), {})[key] = value
    return moments


def read_guard(folder: Path) -> dict[str, Tensor] | None:
    """The spike guard's state; None in a checkpoint of a version that had no guard."""
    path = folder / _GUARD
    return load_file(path) if path.is_file() else None


def read_progress(folder: Path) -> dict[str, int]:
    """Position in the data and counts of bad steps; empty in a checkpoint without a guard."""
    path = folder / _PROGRESS
    found: dict[str, int] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found
