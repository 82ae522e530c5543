"""The inputs of the reference numbers: random features and clips, from seeds."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latte_cli.metrics.known_answers import noise_clips

GOLDENS = Path(__file__).parents[1] / "metrics" / "goldens"


def golden(name: str) -> Any:
    """A file of reference numbers."""
    path = GOLDENS / name
    return np.load(path) if path.suffix == ".npz" else json.loads(path.read_text())


def features(n: int, d: int, seed: int, scale: float, shift: float, power: float) -> NDArray:
    """(n, d) Gaussian features whose spread falls with the column."""
    columns = np.arange(d, dtype=np.float64)
    normal = np.random.default_rng(seed).standard_normal((n, d))
    return normal * (scale * (1 + columns) ** -power) + shift * np.cos(columns)


def noise(n: int, frames: int, side: int, seed: int) -> Tensor:
    """(n, f, h, w, 3) uint8 of independent pixels."""
    return noise_clips(frames, side, n, seed)


def squares(n: int, frames: int, side: int, seed: int, speed: int = 1) -> Tensor:
    """(n, f, h, w, 3) uint8 of one square each, which moves over a plain background and wraps."""
    clips = np.empty((n, frames, side, side, 3), np.uint8)
    positions = np.arange(side)
    for index in range(n):
        random = np.random.default_rng(1000 * seed + index)
        background, color = random.integers(0, 256, (2, 3))
        length = random.integers(side // 8, side // 3 + 1)
        left, top = random.integers(0, side), random.integers(0, side)
        across, down = random.integers(-3, 4, 2) * speed
        for t in range(frames):
            inside_x = (positions - left - across * t) % side < length
            inside_y = (positions - top - down * t) % side < length
            inside = inside_y[:, None, None] & inside_x[:, None]
            clips[index, t] = np.where(inside, color, background)
    return torch.from_numpy(clips)
