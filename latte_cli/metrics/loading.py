"""Feature networks with their published weights."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor, nn

from latte_cli.metrics.networks import c3d, inception, lpips
from latte_cli.metrics.networks.i3d import CLASSES, I3D
from latte_cli.metrics.networks.i3d_weights import load_i3d_state
from latte_cli.metrics.networks.layers import check_shapes
from latte_cli.metrics.weight_files import (
    ALEXNET,
    C3D,
    C3D_MEAN,
    I3D_CHECKPOINT,
    I3D_STATE,
    I3D_TORCHSCRIPT,
    INCEPTION,
    LPIPS_LINEAR,
)
from latte_cli.metrics.weights import Origin, WeightFolders, check, origin_of, read_tensors
from latte_cli.runtime.errors import CheckpointError
from latte_cli.runtime.files import sha256_of


@dataclass(frozen=True)
class Loaded:
    """A network in eval mode on the CPU, and where its weights come from."""

    module: nn.Module
    origin: Origin


def load_network(name: str, folders: WeightFolders, *, trust_torchscript: bool = False) -> Loaded:
    """A network with its published weights.

    Args:
        name: i3d, inception, c3d or lpips.
        folders: where weights are looked for.
        trust_torchscript: whether a TorchScript archive, which is a program, may stand in for I3D.

    Raises:
        CheckpointError: if weights are missing, damaged or not the published ones.
    """
    if name == "i3d":
        return _load_i3d(folders, trust_torchscript)
    return _LOADERS[name](folders)


class TorchScriptI3D(nn.Module):
    """StyleGAN-V's archive of I3D, run as it is.

    Args:
        program: the loaded archive; it resizes and shifts clips itself.
    """

    def __init__(self, program: torch.jit.ScriptModule) -> None:
        super().__init__()
        self.program = program

    def forward(self, frames: Tensor) -> Tensor:
        """(b, f, h, w, 3) uint8 to logits, (b, 400) float32."""
        clips = frames.movedim(-1, 1).contiguous()
        logits: Tensor = self.program(clips, rescale=True, resize=True, return_features=True)
        assert logits.shape == (len(frames), CLASSES)
        return logits.float()


def _load_i3d(folders: WeightFolders, trust_torchscript: bool) -> Loaded:
    archive = folders.find(I3D_TORCHSCRIPT)
    if archive is not None and not any(map(folders.find, (I3D_CHECKPOINT, I3D_STATE))):
        if trust_torchscript:
            return _load_torchscript(archive)
        try:
            kind, path, state = load_i3d_state(folders)
        except CheckpointError as error:
            raise CheckpointError(
                f"{error}; {archive} is a program rather than weights",
                hint=f"{error.hint}; or let the program run: --trust-torchscript",
            ) from error
    else:
        kind, path, state = load_i3d_state(folders)
    network = I3D()
    network.load_published(state)
    return Loaded(network, origin_of(kind, [path], state))


def _load_torchscript(archive: Path) -> Loaded:
    check(archive, I3D_TORCHSCRIPT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the format, which is all there is
        program = torch.jit.load(archive, map_location="cpu").eval()
    return Loaded(TorchScriptI3D(program), Origin("torchscript", (archive,), sha256_of(archive)))


def _load_inception(folders: WeightFolders) -> Loaded:
    path = folders.fetch(INCEPTION)
    state = {
        name: tensor
        for name, tensor in read_tensors(path).items()
        if not name.endswith("num_batches_tracked")
    }
    check_shapes(state, inception.published_shapes(), str(path))
    network = inception.Inception()
    network.load_published(state)
    return Loaded(network, origin_of("state dict", [path], state))


def _load_c3d(folders: WeightFolders) -> Loaded:
    path, mean = folders.fetch(C3D), folders.fetch(C3D_MEAN)
    state = {"mean": _read_npz(mean)["mean"].float().reshape(c3d.MEAN_SHAPE)}
    for name, tensor in _read_npz(path).items():  # Chainer writes conv1a/W and conv1a/b
        layer, _, kind = name.partition("/")
        state[f"{layer}.{'weight' if kind == 'W' else 'bias'}"] = tensor.float()
    check_shapes(state, c3d.published_shapes(), str(path))
    network = c3d.C3D()
    network.load_published(state)
    return Loaded(network, origin_of("npz", [path, mean], state))


def _read_npz(path: Path) -> dict[str, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise CheckpointError(f"{path}: cannot be read as weights", hint=str(error)) from error


def _load_lpips(folders: WeightFolders) -> Loaded:
    paths = [folders.fetch(ALEXNET), folders.fetch(LPIPS_LINEAR)]
    shapes = lpips.published_shapes()
    found = read_tensors(paths[0]) | read_tensors(paths[1])
    state = {name: tensor for name, tensor in found.items() if name in shapes}  # no classifier
    check_shapes(state, shapes, f"{paths[0]} and {paths[1]}")
    network = lpips.Lpips()
    network.load_published(state)
    return Loaded(network, origin_of("state dict", paths, state))


_LOADERS: dict[str, Callable[[WeightFolders], Loaded]] = {
    "inception": _load_inception,
    "c3d": _load_c3d,
    "lpips": _load_lpips,
}
