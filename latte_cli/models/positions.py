"""Fixed sin-cos position tables, rotary positions and timestep features (Latte, section 3.3)."""

# Axes: f frames, s tokens of a frame, d width, n tokens attended over, e width of a head.

import math
from functools import lru_cache

import torch
from torch import Tensor

_MAX_PERIOD = 10000


# Tables are made and kept on the CPU, wherever a network is being built, and moved when used.


def sincos(positions: Tensor, width: int) -> Tensor:
    """Sines, then cosines, of each position at width/2 frequencies: (n,) -> (n, width) float64."""
    angles = _angles(positions, width)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _angles(positions: Tensor, width: int) -> Tensor:
    """Each position times width/2 frequencies: (n,) -> (n, width/2) float64."""
    omega = _MAX_PERIOD ** -(
        torch.arange(width // 2, dtype=torch.float64, device="cpu") / (width / 2)
    )
    return positions.double()[:, None] * omega


@lru_cache(maxsize=64)
def temporal_table(num_frames: int, width: int) -> Tensor:
    """The position of each frame: (1, f, d) float32. Not to be changed: it is shared."""
    with torch.inference_mode(False):
        return sincos(torch.arange(num_frames, device="cpu"), width)[None].float()


@lru_cache(maxsize=64)
def spatial_table(
    rows: int, columns: int, width: int, base: int | None = None, scale: float = 1.0
) -> Tensor:
    """The place of each token of a frame: (1, s, d) float32, columns' half first.

    A grid of another size than the trained one is stretched over the same span of positions, as
    PixArt-alpha does, so that the network meets none that it has never seen.

    Args:
        rows: tokens from top to bottom.
        columns: tokens from left to right.
        width: of a token.
        base: tokens along a side of the trained grid; by default this grid is the trained one.
        scale: what the trained grid's positions were divided by.
    """
    with torch.inference_mode(False):
        steps = [
            torch.arange(n, device="cpu").double() * ((base or n) / n / scale)
            for n in (rows, columns)
        ]
        row, column = torch.meshgrid(*steps, indexing="ij")
        halves = [sincos(axis.flatten(), width // 2) for axis in (column, row)]
        return torch.cat(halves, dim=1)[None].float()


@lru_cache(maxsize=64)
def rotary_table(length: int, head_width: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines that turn each position's pairs of channels: (n, e/2) float32 each."""
    with torch.inference_mode(False):
        angles = _angles(torch.arange(length, device="cpu"), head_width)
        return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor) -> Tensor:
    """Turn pairs of channels by angles that grow with position (RoFormer, equation 34).

    The product of two turned vectors depends on how far apart they stand, not on where.

    Args:
        x: queries or keys, (..., n, e), e even.

    Returns:
        The same shape and type.
    """
    cos, sin = (table.to(x.device) for table in rotary_table(x.shape[-2], x.shape[-1]))
    first, second = x.float().chunk(2, dim=-1)
    turned = torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
    return turned.to(x.dtype)


def timestep_features(t: Tensor, width: int = 256) -> Tensor:
    """Cosines, then sines, of timesteps: (…) -> (…, width) float32 (DiT)."""
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float32, device=t.device) / half
    angles = t.float()[..., None] * torch.exp(-math.log(_MAX_PERIOD) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)
