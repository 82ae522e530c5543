"""Builds the feature networks with their published weights, from any of the published formats.

I3D's numbers come from DeepMind's TensorFlow checkpoint or from a conversion of it. The data file
of the checkpoint is its tensors one after another, in the order of their names, little-endian
float32 without gaps; names and shapes follow from the network. A conversion is checked by writing
its numbers in this format: the result must be DeepMind's file, byte for byte.
"""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from latte_cli.metrics.networks import c3d, i3d, inception, lpips
from latte_cli.metrics.weights import Origin, check_shapes, origin_of, read_tensors
from latte_cli.runtime.array_files import ARRAY_ERRORS, no_password_needed
from latte_cli.runtime.errors import CheckpointError
from latte_cli.runtime.files import sha256_of
from latte_cli.runtime.weight_files.metric_networks import (
    ALEXNET,
    C3D,
    C3D_MEAN,
    I3D_CHECKPOINT,
    I3D_STATE,
    I3D_TORCHSCRIPT,
    INCEPTION,
    LPIPS_LINEAR,
)
from latte_cli.runtime.weight_files.published import WeightFolders, check_published, git_blob

# TensorFlow's names of I3D's layers and parameters.
_BRANCHES = {
    "b0": "Branch_0/Conv3d_0a_1x1",
    "b1a": "Branch_1/Conv3d_0a_1x1",
    "b1b": "Branch_1/Conv3d_0b_3x3",
    "b2a": "Branch_2/Conv3d_0a_1x1",
    "b2b": "Branch_2/Conv3d_0b_3x3",
    "b3b": "Branch_3/Conv3d_0b_1x1",
}
_IRREGULAR_LAYERS = {
    "Mixed_5b.b2b": "Mixed_5b/Branch_2/Conv3d_0a_3x3",  # sic
    "logits": "Logits/Conv3d_0c_1x1",
}
_PARAMETERS = {
    "conv3d.weight": "conv_3d/w",
    "conv3d.bias": "conv_3d/b",
    "bn.bias": "batch_norm/beta",
    "bn.running_mean": "batch_norm/moving_mean",
    "bn.running_var": "batch_norm/moving_variance",
}
_TO_TORCH, _TO_TENSORFLOW = (4, 3, 0, 1, 2), (2, 3, 4, 1, 0)  # axes t h w in out


@dataclass(frozen=True)
class LoadedNetwork:
    """A network in eval mode on the CPU, and the origin of its weights."""

    module: nn.Module
    origin: Origin


def load_network(
    name: str, folders: WeightFolders, *, trust_torchscript: bool = False
) -> LoadedNetwork:
    """A network with its published weights.

    Args:
        name: i3d, inception, c3d or lpips.
        folders: where weights are looked for.
        trust_torchscript: whether a TorchScript archive, which contains code, may replace I3D's
            weights.

    Raises:
        CheckpointError: if weights are missing, damaged or not the published ones.
    """
    if name == "i3d":
        return _load_i3d(folders, trust_torchscript)
    return _LOADERS[name](folders)


class TorchScriptI3D(nn.Module):
    """StyleGAN-V's TorchScript archive of I3D, run unchanged.

    Args:
        program: the loaded archive; it resizes and normalizes clips itself.
    """

    def __init__(self, program: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.program = program

    def forward(self, frames: Tensor) -> Tensor:
        """(b, f, h, w, 3) uint8 to logits, (b, 400) float32."""
        clips = frames.movedim(-1, 1).contiguous()
        logits: Tensor = self.program(clips, rescale=True, resize=True, return_features=True)
        assert logits.shape == (len(frames), i3d.CLASSES)
        return logits.float()


def _load_i3d(folders: WeightFolders, trust_torchscript: bool) -> LoadedNetwork:
    converted, checkpoint = folders.find(I3D_STATE), folders.find(I3D_CHECKPOINT)
    archive = folders.find(I3D_TORCHSCRIPT)
    if converted is not None and checkpoint is None:
        kind, path, state = "state dict", converted, _read_converted(converted)
    elif archive is not None and checkpoint is None and trust_torchscript:
        return _load_torchscript(archive)
    else:
        try:
            path = folders.fetch(I3D_CHECKPOINT)
        except CheckpointError as error:
            if archive is None or checkpoint is not None:
                raise
            raise CheckpointError(
                f"{error}; {archive} contains code and is not loaded",
                hint=f"{error.hint}; or run its code: --trust-torchscript",
            ) from error
        kind, state = "checkpoint", read_i3d_checkpoint(path)
    network = i3d.I3D()
    network.load_published(state)
    return LoadedNetwork(network, origin_of(kind, [path], state))


def _load_torchscript(archive: Path) -> LoadedNetwork:
    check_published(archive, I3D_TORCHSCRIPT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript itself is deprecated
        program = torch.jit.load(archive, map_location="cpu").eval()
    origin = Origin("torchscript", (archive,), sha256_of(archive))
    return LoadedNetwork(TorchScriptI3D(program), origin)


def i3d_layout() -> dict[str, str]:
    """TensorFlow's names of I3D's tensors, in the order of the file, mapped to the network's.

    The weights of batch normalization are not in the file: they are 1.
    """
    names = {}
    for name in i3d.published_shapes():
        layer, module, kind = name.rsplit(".", 2)
        parameter = _PARAMETERS.get(f"{module}.{kind}")
        if parameter is not None:
            block, _, branch = layer.partition(".")
            path = f"{block}/{_BRANCHES[branch]}" if branch else block
            path = _IRREGULAR_LAYERS.get(layer, path)
            names[f"RGB/inception_i3d/{path}/{parameter}"] = name
    return dict(sorted(names.items()))


def read_i3d_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint's data file, under the network's names.

    Raises:
        CheckpointError: if the file does not have the size of these tensors.
    """
    shapes, content = i3d.published_shapes(), path.read_bytes()
    numbers = sum(math.prod(shapes[name]) for name in i3d_layout().values())
    if len(content) != 4 * numbers:
        raise CheckpointError(
            f"{path}: {len(content)} bytes, I3D's tensors have {4 * numbers}",
            hint=f"take {I3D_CHECKPOINT.url}",
        )
    values, start = np.frombuffer(content, "<f4").astype(np.float32), 0
    state = {
        name: torch.ones(shape) for name, shape in shapes.items() if name.endswith("bn.weight")
    }
    for name in i3d_layout().values():
        shape = shapes[name]
        tensor = torch.from_numpy(values[start : start + math.prod(shape)])
        start += tensor.numel()
        if len(shape) == 5:
            tensor = tensor.reshape([shape[axis] for axis in _TO_TENSORFLOW]).permute(_TO_TORCH)
        state[name] = tensor.contiguous()
    return state


def i3d_checkpoint_bytes(state: Mapping[str, Tensor]) -> bytes:
    """The data file of a checkpoint with these tensors."""
    tensors = (state[name].float() for name in i3d_layout().values())
    ordered = (t.permute(_TO_TENSORFLOW) if t.ndim == 5 else t for t in tensors)
    return b"".join(t.contiguous().numpy().astype("<f4").tobytes() for t in ordered)


def _read_converted(path: Path) -> dict[str, Tensor]:
    """The tensors of a conversion, whose numbers are DeepMind's or whose checksum is published."""
    state = {name: tensor.float() for name, tensor in _without_counters(path).items()}
    check_shapes(state, i3d.published_shapes(), str(path))
    factors = (tensor for name, tensor in state.items() if name.endswith("bn.weight"))
    all_ones = all(bool((tensor == 1).all()) for tensor in factors)
    if not all_ones or git_blob(i3d_checkpoint_bytes(state)) != I3D_CHECKPOINT.git_blob:
        check_published(path, I3D_STATE)
    return state


def _without_counters(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, without the step counters of PyTorch's batch normalization."""
    found = read_tensors(path).items()
    return {name: tensor for name, tensor in found if not name.endswith("num_batches_tracked")}


def _load_inception(folders: WeightFolders) -> LoadedNetwork:
    path = folders.fetch(INCEPTION)
    state = _without_counters(path)
    check_shapes(state, inception.published_shapes(), str(path))
    network = inception.Inception()
    network.load_published(state)
    return LoadedNetwork(network, origin_of("state dict", [path], state))


def _load_c3d(folders: WeightFolders) -> LoadedNetwork:
    path, mean = folders.fetch(C3D), folders.fetch(C3D_MEAN)
    state = {"mean": _read_npz(mean)["mean"].float().reshape(c3d.MEAN_SHAPE)}
    for name, tensor in _read_npz(path).items():  # Chainer writes conv1a/W and conv1a/b
        layer, _, kind = name.partition("/")
        state[f"{layer}.{'weight' if kind == 'W' else 'bias'}"] = tensor.float()
    check_shapes(state, c3d.published_shapes(), str(path))
    network = c3d.C3D()
    network.load_published(state)
    return LoadedNetwork(network, origin_of("npz", [path, mean], state))


def _read_npz(path: Path) -> dict[str, Tensor]:
    try:
        with no_password_needed(), np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except (*ARRAY_ERRORS, OSError) as error:
        raise CheckpointError(
            f"{path}: cannot be read as weights ({error})", hint="take the published file"
        ) from error


def _load_lpips(folders: WeightFolders) -> LoadedNetwork:
    paths = [folders.fetch(ALEXNET), folders.fetch(LPIPS_LINEAR)]
    shapes = lpips.published_shapes()
    found = read_tensors(paths[0]) | read_tensors(paths[1])  # including AlexNet's classifier
    state = {name: tensor for name, tensor in found.items() if name in shapes}
    check_shapes(state, shapes, f"{paths[0]} and {paths[1]}")
    network = lpips.Lpips()
    network.load_published(state)
    return LoadedNetwork(network, origin_of("state dict", paths, state))


_LOADERS: dict[str, Callable[[WeightFolders], LoadedNetwork]] = {
    "inception": _load_inception,
    "c3d": _load_c3d,
    "lpips": _load_lpips,
}
