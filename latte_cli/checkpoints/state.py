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
"""The file of what the optimizer keeps for each parameter."""

_GROUPS = "state/optimizer.json"
_GUARD = "state/guard.safetensors"
_PROGRESS = "state/progress.json"


def write_state(
    folder: Path,
    optimizer: Mapping[str, Any],
    guard: Mapping[str, Tensor],
    progress: Mapping[str, int],
) -> None:
    """Write what training goes on from.

    Args:
        folder: of the checkpoint.
        optimizer: its `state_dict`; tensors are named by parameter number.
        guard: the spike guard's `state_dict`.
        progress: where in the data the run stands, and what befell it, by name.
    """
    write_tensors(folder / OPTIMIZER, by_name(optimizer["state"]))
    write_text(folder / _GROUPS, json.dumps(optimizer["param_groups"]) + "\n")
    write_tensors(folder / _GUARD, guard)
    write_text(folder / _PROGRESS, json.dumps(progress, indent=2) + "\n")


def by_name(moments: Mapping[int, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """What an optimizer keeps, as it is named in the file: by the number of the parameter."""
    return {f"{n}.{key}": value for n, kept in moments.items() for key, value in kept.items()}


def moments_to_fill(folder: Path, parameters: Sequence[Tensor]) -> dict[int, dict[str, Tensor]]:
    """Tensors for what an optimizer kept for each parameter, still zero, sharded as that is."""
    moments: dict[int, dict[str, Tensor]] = {}
    with safe_open(folder / OPTIMIZER, "pt") as held:
        for name in held.keys():  # noqa: SIM118  # it is no mapping
            number, _, key = name.partition(".")
            of_each = held.get_slice(name).get_shape()  # a count of steps has none
            value = torch.zeros_like(parameters[int(number)]) if of_each else torch.zeros(())
            moments.setdefault(int(number), {})[key] = value
    return moments


def read_guard(folder: Path) -> dict[str, Tensor] | None:
    """The spike guard's state; None in a checkpoint of before there was one."""
    path = folder / _GUARD
    return load_file(path) if path.is_file() else None


def read_progress(folder: Path) -> dict[str, int]:
    """Where in the data the run stood, and what had befallen it; empty as for the guard."""
    path = folder / _PROGRESS
    found: dict[str, int] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found
