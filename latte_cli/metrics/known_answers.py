"""Reference outputs of the networks with pseudo-weights: a self-test that needs no downloads.

Every tensor is random, seeded by the checksum of its published name, so the outputs depend on all
names, shapes and layers. The references come from independent ports of the networks (I3D from a
port that loads DeepMind's numbers, Inception from torch-fidelity 0.4.0).
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latte_cli.metrics.networks import i3d, inception

# The first five outputs for noise from `default_rng(0)`: (1, 16, 64, 64, 3), (1, 2, 256, 256, 3).
_I3D = (-11.055987526674057, 5.101696695426431, -6.644034765503848, 10.854126309223773,
        2.1051541171348247)  # fmt: skip
_INCEPTION = (9.552462577819824, 1.2760286331176758, 0.08873873949050903, 2.6110074520111084,
              8.012176513671875)  # fmt: skip
_FIRST_PIXELS = (95, 130, 194)  # of both, unless NumPy changes its random numbers


@dataclass(frozen=True)
class KnownAnswer:
    """A network's output on this machine, and the reference.

    Attributes:
        network: its name.
        found: some of its features.
        expected: those of the reference.
        tolerance: the largest absolute difference that passes.
    """

    network: str
    found: tuple[float, ...]
    expected: tuple[float, ...]
    tolerance: float

    @property
    def right(self) -> bool:
        """Whether the output agrees with the reference."""
        return bool(np.allclose(self.found, self.expected, rtol=0, atol=self.tolerance))


def known_answers(device: torch.device | str = "cpu") -> Iterator[KnownAnswer]:
    """Run I3D and Inception; yields nothing if NumPy's random numbers have changed."""
    clips = noise_clips(16, 64)
    if tuple(clips.flatten()[:3].tolist()) != _FIRST_PIXELS:
        return
    network = i3d.I3D()
    network.load_published(pseudo_weights(i3d.published_shapes()))
    logits = network.to(device)(clips.to(device))[0, :5]
    yield KnownAnswer("i3d", tuple(logits.tolist()), _I3D, 1e-4)
    frames = inception.Inception()
    frames.load_published(pseudo_weights(inception.published_shapes()))
    features, _ = frames.to(device)(noise_clips(2, 256)[0].to(device))
    yield KnownAnswer("inception", tuple(features[0, :5].tolist()), _INCEPTION, 1e-3)


def noise_clips(frames: int, side: int, count: int = 1, seed: int = 0) -> Tensor:
    """Noise: (count, frames, side, side, 3) uint8."""
    shape = (count, frames, side, side, 3)
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def pseudo_weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Random weights of a network, float32, each a function of its name and shape."""
    return {name: _pseudo_weight(name, shape) for name, shape in shapes.items()}


def _pseudo_weight(name: str, shape: tuple[int, ...]) -> Tensor:
    """He initialization for convolutions, small biases, variances of batch norm near 1."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("bn.weight"):
        return torch.ones(shape)
    if name.endswith("running_var"):
        values = random.uniform(0.5, 1.5, shape)
    elif name.endswith((".bias", "running_mean")):
        values = 0.1 * random.standard_normal(shape)
    else:
        values = np.sqrt(2 / np.prod(shape[1:])) * random.standard_normal(shape)
    return torch.from_numpy(values.astype(np.float32))
