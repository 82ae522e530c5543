"""Weights of the feature networks: how they are read, and which they are."""

import hashlib
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from latte_cli.runtime.errors import CheckpointError


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file or a pickle; code in a pickle is not run.

    Raises:
        CheckpointError: if it is damaged or holds anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: holds more than tensors, or is damaged",
            hint="code in files of weights is not run; take the published file",
        ) from error
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, SafetensorError) as error:
        raise CheckpointError(
            f"{path}: cannot be read as weights ({error})", hint="take the published file"
        ) from error
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{path}: holds no table of weights", hint="take the published file")
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def check_shapes(
    state: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], source: str
) -> None:
    """Check that weights are exactly those of a network.

    Args:
        state: the weights.
        shapes: of the network's weights.
        source: their file, for the message.

    Raises:
        CheckpointError: that names the first one that is missing, unknown or of another shape.
    """
    for name in sorted(state.keys() | shapes.keys()):
        found = tuple(state[name].shape) if name in state else None
        if found != shapes.get(name):
            raise CheckpointError(
                f"{source}: {name} is {found or 'missing'}, the network has "
                f"{shapes.get(name) or 'no such weight'}",
                hint="take the published file",
            )


@dataclass(frozen=True)
class Origin:
    """Which weights a network has.

    Attributes:
        kind: of file: `checkpoint`, `state dict`, `npz` or `torchscript`.
        files: that they were read from.
        sha256: of names and numbers, in hex, and so the same for every file format; of a
            TorchScript archive, that of the file.
    """

    kind: str
    files: tuple[Path, ...]
    sha256: str


def origin_of(kind: str, files: Iterable[Path], state: Mapping[str, Tensor]) -> Origin:
    """The origin of weights, with a checksum of their numbers."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(f"{name} {tuple(state[name].shape)}\n".encode())
        digest.update(state[name].contiguous().numpy().tobytes())
    return Origin(kind, tuple(files), digest.hexdigest())
