"""What the networks answer with pseudo-weights: a test of a machine that needs no weights at all.

Every tensor is drawn from the checksum of its published name, so that names, shapes and layers are
all in the answer. The answers come from independent ports of the networks (I3D from a port that
loads DeepMind's numbers, Inception from torch-fidelity 0.4.0).
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latte_cli.metrics.networks import i3d, inception

# The first five of each, of noise from `default_rng(0)`: (1, 16, 64, 64, 3), (1, 2, 256, 256, 3).
_I3D = (-11.055987526674057, 5.101696695426431, -6.644034765503848, 10.854126309223773,
        2.1051541171348247)  # fmt: skip
_INCEPTION = (9.552462577819824, 1.2760286331176758, 0.08873873949050903, 2.6110074520111084,
              8.012176513671875)  # fmt: skip
_FIRST_PIXELS = (95, 130, 194)  # of both, as long as NumPy's streams stay what they are


@dataclass(frozen=True)
class KnownAnswer:
    """A network's answer on this machine, beside what it should be.

    Attributes:
        network: its name.
        found: some of its features.
        expected: the same of the reference.
        tolerance: by how much they may differ.
    """

    network: str
    found: tuple[float, ...]
    expected: tuple[float, ...]
    tolerance: float

    @property
    def right(self) -> bool:
        """Whether all agree."""
        return bool(np.allclose(self.found, self.expected, rtol=0, atol=self.tolerance))


def known_answers(device: torch.device | str = "cpu") -> Iterator[KnownAnswer]:
    """Ask I3D and Inception; nothing where NumPy draws other numbers than it did."""
    clips = draw_clips(16, 64)
    if tuple(clips.flatten()[:3].tolist()) != _FIRST_PIXELS:
        return
    network = i3d.I3D()
    network.load_published(draw_weights(i3d.published_shapes()))
    logits = network.to(device)(clips.to(device))[0, :5]
    yield KnownAnswer("i3d", tuple(logits.tolist()), _I3D, 1e-4)
    frames = inception.Inception()
    frames.load_published(draw_weights(inception.published_shapes()))
    features, _ = frames.to(device)(draw_clips(2, 256)[0].to(device))
    yield KnownAnswer("inception", tuple(features[0, :5].tolist()), _INCEPTION, 1e-3)


def draw_clips(frames: int, side: int, count: int = 1, seed: int = 0) -> Tensor:
    """Noise: (count, frames, side, side, 3) uint8."""
    shape = (count, frames, side, side, 3)
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def draw_weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Pseudo-weights of a network, float32, each a function of its name and shape."""
    return {name: _draw(name, shape) for name, shape in shapes.items()}


def _draw(name: str, shape: tuple[int, ...]) -> Tensor:
    """He's spread for convolutions, small biases, scales of norms near 1."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    if name.endswith("bn.weight"):
        return torch.ones(shape)
    if name.endswith("running_var"):
        drawn = random.uniform(0.5, 1.5, shape)
    elif name.endswith((".bias", "running_mean")):
        drawn = 0.1 * random.standard_normal(shape)
    else:
        drawn = np.sqrt(2 / np.prod(shape[1:])) * random.standard_normal(shape)
    return torch.from_numpy(drawn.astype(np.float32))
