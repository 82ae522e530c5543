"""Files of pseudo-weights in the published formats, and checksums to go with them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from latte_cli.metrics import loading
from latte_cli.metrics.known_answers import pseudo_weights
from latte_cli.metrics.networks import c3d, inception, lpips
from latte_cli.metrics.networks.i3d import published_shapes
from latte_cli.runtime.files import sha256_of
from latte_cli.runtime.weight_files import metric_networks as weights
from latte_cli.runtime.weight_files.published import git_blob


def i3d_state():
    return pseudo_weights(published_shapes())


def expect(monkeypatch: pytest.MonkeyPatch, name: str, path: Path) -> None:
    """Make a file the published one of a name such as `I3D_CHECKPOINT`."""
    file = getattr(weights, name)
    blob = git_blob(path.read_bytes()) if file.git_blob else None
    digest = sha256_of(path) if file.sha256 else None
    known = replace(file, size=path.stat().st_size, sha256=digest, git_blob=blob)
    monkeypatch.setattr(loading, name, known)


def write_checkpoint(folder: Path) -> Path:
    """DeepMind's data file of I3D, with pseudo-weights."""
    path = folder / "model.ckpt.data-00000-of-00001"
    path.write_bytes(loading.i3d_checkpoint_bytes(i3d_state()))
    return path


def write_inception(folder: Path) -> Path:
    path = folder / weights.INCEPTION.name
    counter = {"Conv2d_1a_3x3.bn.num_batches_tracked": torch.tensor(7)}
    torch.save(pseudo_weights(inception.published_shapes()) | counter, path)
    return path


def write_c3d(folder: Path) -> list[Path]:
    """Chainer's file of C3D, and the mean clip beside it."""
    paths = [folder / weights.C3D.name, folder / weights.C3D_MEAN.name]
    shapes = {name: s for name, s in c3d.published_shapes().items() if name != "mean"}
    kinds = {"weight": "W", "bias": "b"}
    arrays = {
        f"{name.split('.')[0]}/{kinds[name.split('.')[1]]}": tensor.numpy()
        for name, tensor in pseudo_weights(shapes).items()
    }
    np.savez(paths[0], **arrays)
    mean = 90 + 20 * np.random.default_rng(5).random(c3d.MEAN_SHAPE)
    np.savez(paths[1], mean=mean.astype(np.float32))
    return paths


def write_lpips(folder: Path) -> list[Path]:
    """torchvision's file of AlexNet, classifier and all, and the weights of its channels."""
    paths = [folder / weights.ALEXNET.name, folder / "alex.pth"]
    state = pseudo_weights(lpips.published_shapes())
    alexnet = {name: tensor for name, tensor in state.items() if name.startswith("features")}
    torch.save(alexnet | {"classifier.1.bias": torch.zeros(3)}, paths[0])
    channels = {name: tensor.abs() for name, tensor in state.items() if name.startswith("lin")}
    torch.save(channels, paths[1])
    return paths
