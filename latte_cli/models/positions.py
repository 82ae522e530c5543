"""Fixed sin-cos position tables and the sinusoidal embedding of timesteps (Latte, section 3.3)."""

# Axes: f frames, s tokens of a frame, d width.

import math

import torch
from torch import Tensor

_MAX_PERIOD = 10000


def sincos(positions: Tensor, width: int) -> Tensor:
    """Sines, then cosines, of each position at width/2 frequencies: (n,) -> (n, width) float64."""
    omega = _MAX_PERIOD ** -(torch.arange(width // 2, dtype=torch.float64) / (width / 2))
    angles = positions.double()[:, None] * omega
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def temporal_table(num_frames: int, width: int) -> Tensor:
    """The position of each frame: (1, f, d) float32."""
    return sincos(torch.arange(num_frames), width)[None].float()


def spatial_table(grid: int, width: int) -> Tensor:
    """The place of each token in a grid x grid picture: (1, s, d) float32, columns' half first."""
    row, column = torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij")
    halves = [sincos(axis.flatten(), width // 2) for axis in (column, row)]
    return torch.cat(halves, dim=1)[None].float()


def timestep_features(t: Tensor, width: int = 256) -> Tensor:
    """Cosines, then sines, of timesteps: (b,) -> (b, width) float32 (DiT)."""
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float32, device=t.device) / half
    angles = t.float()[:, None] * torch.exp(-math.log(_MAX_PERIOD) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=1)
