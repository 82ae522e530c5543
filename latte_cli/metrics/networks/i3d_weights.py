"""I3D's weights, from DeepMind's own checkpoint or from a file of the same numbers.

The data file of a TensorFlow checkpoint is its tensors one after another, in the order of their
names, little-endian float32 with nothing between; the network tells names and shapes. So a file of
another format can be checked, too: written out again it must be DeepMind's file, byte for byte.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latte_cli.metrics.networks.i3d import published_shapes
from latte_cli.metrics.networks.layers import check_shapes
from latte_cli.metrics.weight_files import I3D_CHECKPOINT, I3D_STATE
from latte_cli.metrics.weights import WeightFolders, check, git_blob, read_tensors
from latte_cli.runtime.errors import CheckpointError

_BRANCHES = {
    "b0": "Branch_0/Conv3d_0a_1x1",
    "b1a": "Branch_1/Conv3d_0a_1x1",
    "b1b": "Branch_1/Conv3d_0b_3x3",
    "b2a": "Branch_2/Conv3d_0a_1x1",
    "b2b": "Branch_2/Conv3d_0b_3x3",
    "b3b": "Branch_3/Conv3d_0b_1x1",
}
_ODD_NAMES = {
    "Mixed_5b.b2b": "Mixed_5b/Branch_2/Conv3d_0a_3x3",  # as DeepMind wrote it
    "logits": "Logits/Conv3d_0c_1x1",
}
_PARTS = {
    "conv3d.weight": "conv_3d/w",
    "conv3d.bias": "conv_3d/b",
    "bn.bias": "batch_norm/beta",
    "bn.running_mean": "batch_norm/moving_mean",
    "bn.running_var": "batch_norm/moving_variance",
}
_TO_TORCH, _TO_TENSORFLOW = (4, 3, 0, 1, 2), (2, 3, 4, 1, 0)  # axes t h w in out


def layout() -> dict[str, str]:
    """TensorFlow's names of the tensors, in the order of the file, and the network's.

    Normalisation has no factor there: it is 1.
    """
    names = {}
    for name in published_shapes():
        layer, module, kind = name.rsplit(".", 2)
        part = _PARTS.get(f"{module}.{kind}")
        if part is not None:
            names[f"RGB/inception_i3d/{_place(layer)}/{part}"] = name
    return dict(sorted(names.items()))


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint's data file under the network's names.

    Raises:
        CheckpointError: if the file has another size than they have.
    """
    shapes, content = published_shapes(), path.read_bytes()
    numbers = sum(math.prod(shapes[name]) for name in layout().values())
    if len(content) != 4 * numbers:
        raise CheckpointError(
            f"{path}: {len(content)} bytes, I3D's tensors have {4 * numbers}",
            hint=f"take {I3D_CHECKPOINT.url}",
        )
    values, start = np.frombuffer(content, "<f4").astype(np.float32), 0
    state = {
        name: torch.ones(shape) for name, shape in shapes.items() if name.endswith("bn.weight")
    }
    for name in layout().values():
        shape = shapes[name]
        part = torch.from_numpy(values[start : start + math.prod(shape)])
        start += part.numel()
        if len(shape) == 5:
            part = part.reshape([shape[axis] for axis in _TO_TENSORFLOW]).permute(_TO_TORCH)
        state[name] = part.contiguous()
    return state


def write_checkpoint(state: Mapping[str, Tensor]) -> bytes:
    """The data file of a checkpoint with these tensors."""
    return b"".join(_parts(state))


def load_i3d_state(folders: WeightFolders) -> tuple[str, Path, dict[str, Tensor]]:
    """I3D's weights: the kind of file, the file, and the tensors.

    Raises:
        CheckpointError: if there are none, or those found are others.
    """
    converted = folders.find(I3D_STATE)
    if converted is not None and folders.find(I3D_CHECKPOINT) is None:
        return "state dict", converted, _read_converted(converted)
    path = folders.fetch(I3D_CHECKPOINT)
    return "checkpoint", path, read_checkpoint(path)


def _read_converted(path: Path) -> dict[str, Tensor]:
    """A converted file's tensors: its bytes are known, or its numbers are DeepMind's."""
    state = {
        name: tensor.float()
        for name, tensor in read_tensors(path).items()
        if not name.endswith("num_batches_tracked")
    }
    check_shapes(state, published_shapes(), str(path))
    factors = (tensor for name, tensor in state.items() if name.endswith("bn.weight"))
    plain = all(bool((tensor == 1).all()) for tensor in factors)
    if not plain or git_blob(write_checkpoint(state)) != I3D_CHECKPOINT.git_blob:
        check(path, I3D_STATE)
    return state


def _parts(state: Mapping[str, Tensor]) -> Iterator[bytes]:
    for name in layout().values():
        tensor = state[name].float()
        if tensor.ndim == 5:
            tensor = tensor.permute(_TO_TENSORFLOW)
        yield tensor.contiguous().numpy().astype("<f4").tobytes()


def _place(layer: str) -> str:
    """TensorFlow's name of a layer."""
    if layer in _ODD_NAMES:
        return _ODD_NAMES[layer]
    block, _, branch = layer.partition(".")
    return f"{block}/{_BRANCHES[branch]}" if branch else block
