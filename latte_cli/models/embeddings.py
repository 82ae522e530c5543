"""Embeddings of patches, timesteps, labels and positions (Latte, section 3.3); unpatchify."""

# Axes: b clips, f frames, s tokens of a frame, d width, c latent channels, h w latent size,
# r frames in a tube, p patch, n tokens attended over, e width of a head.

import math
from functools import lru_cache

import torch
from einops import rearrange
from torch import Tensor, nn

_MAX_PERIOD = 10000
_TIME_FEATURES = 256


# Tables are computed and cached on the CPU, even inside torch.device(...), and moved when used.


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
    """The position of each frame: (1, f, d) float32. Read only: it is shared."""
    with torch.inference_mode(False):
        return sincos(torch.arange(num_frames, device="cpu"), width)[None].float()


@lru_cache(maxsize=64)
def spatial_table(
    rows: int, columns: int, width: int, base: int | None = None, scale: float = 1.0
) -> Tensor:
    """The position of each token of a frame: (1, s, d) float32; columns in the first half of d.

    A grid of another size is interpolated over the range of positions of the trained one, as in
    PixArt-alpha.

    Args:
        rows: tokens from top to bottom.
        columns: tokens from left to right.
        width: of a token.
        base: tokens along a side of the trained grid; by default, those of this grid.
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


def interpolate_grid(x: Tensor, base: int, grid: tuple[int, int]) -> Tensor:
    """Values at a trained grid's tokens, at those of another grid: (..., base base) -> (..., s).

    Bilinear, at the positions that `spatial_table` gives to the tokens; after the last trained one,
    its value.

    Args:
        x: values in reading order.
        base: tokens along a side of the trained grid.
        grid: rows and columns of the other one.
    """
    rows, columns = (_bilinear_table(n, base).to(x) for n in grid)
    values: Tensor = x.unflatten(-1, (base, base))
    return (rows @ values @ columns.T).flatten(-2)


@lru_cache(maxsize=64)
def _bilinear_table(length: int, base: int) -> Tensor:
    """The share of each trained token in each of another number of tokens: (n, base) float32."""
    with torch.inference_mode(False):
        trained = torch.arange(base, device="cpu").double()
        positions = torch.arange(length, device="cpu").double() * (base / length)
        distance = positions.clamp(max=base - 1)[:, None] - trained
        return (1 - distance.abs()).clamp(min=0).float()


@lru_cache(maxsize=64)
def rotary_table(length: int, head_width: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotation at each position: (n, e/2) float32 each."""
    with torch.inference_mode(False):
        angles = _angles(torch.arange(length, device="cpu"), head_width)
        return angles.cos().float(), angles.sin().float()


def rotate(x: Tensor) -> Tensor:
    """Rotate pairs of channels by angles proportional to position (RoFormer, equation 34).

    The dot product of two rotated vectors depends only on the distance of their positions.

    Args:
        x: queries or keys, (..., n, e), e even.

    Returns:
        The same shape and type.
    """
    cos, sin = (table.to(x.device) for table in rotary_table(x.shape[-2], x.shape[-1]))
    first, second = x.float().chunk(2, dim=-1)
    rotated = torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
    return rotated.to(x.dtype)


def forget_tables() -> None:
    """Drop all cached tables: those of a simulation hold no values."""
    for table in (temporal_table, spatial_table, _bilinear_table, rotary_table):
        table.cache_clear()


def timestep_features(t: Tensor, width: int = 256) -> Tensor:
    """Cosines, then sines, of timesteps: (…) -> (…, width) float32, or float64 as t (DiT)."""
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float32, device=t.device) / half
    t = t.to(torch.promote_types(t.dtype, torch.float32))
    angles = t[..., None] * torch.exp(-math.log(_MAX_PERIOD) * exponents)
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class PatchEmbedding(nn.Module):
    """Patches of single frames or, with a tube, of r frames as one token (Latte, section 3.3.1)."""

    def __init__(self, in_channels: int, width: int, patch: int, tube: int | None = None) -> None:
        super().__init__()
        self.proj: nn.Module
        if tube is None:
            self.proj = nn.Conv2d(in_channels, width, kernel_size=patch, stride=patch)
        else:
            size = (tube, patch, patch)
            self.proj = nn.Conv3d(in_channels, width, kernel_size=size, stride=size)

    def forward(self, x: Tensor) -> Tensor:
        """(b, f, c, h, w) -> (b, f or f/r, s, d), tokens in reading order, contiguous.

        Later layers keep the memory layout of their input, and another one would slow each.
        """
        if isinstance(self.proj, nn.Conv3d):
            tubes: Tensor = self.proj(rearrange(x, "b f c h w -> b c f h w"))
            return rearrange(tubes, "b d f h w -> b f (h w) d").contiguous()
        tokens: Tensor = self.proj(rearrange(x, "b f c h w -> (b f) c h w"))
        return rearrange(tokens, "(b f) d h w -> b f (h w) d", b=x.shape[0]).contiguous()


class TubeUpsampling(nn.Module):
    """Tubes to frames, by a 3D transposed convolution over time (Latte, section 3.3.1)."""

    def __init__(self, channels: int, tube: int) -> None:
        super().__init__()
        size = (tube, 1, 1)
        self.deconv = nn.ConvTranspose3d(channels, channels, kernel_size=size, stride=size)

    def forward(self, x: Tensor) -> Tensor:
        """(b, f/r, c, h, w) -> (b, f, c, h, w)."""
        frames: Tensor = self.deconv(rearrange(x, "b f c h w -> b c f h w"))
        return rearrange(frames, "b c f h w -> b f c h w")

    def init_as_copies(self) -> None:
        """Initialize so that each frame of a tube is the tube's own prediction."""
        weight = self.deconv.weight  # (c, c, r, 1, 1)
        with torch.no_grad():
            weight.copy_(torch.eye(len(weight))[:, :, None, None, None].expand_as(weight))


class TimestepEmbedding(nn.Module):
    """A timestep as a vector: (…) -> (…, d)."""

    def __init__(self, width: int, features: int = 256) -> None:
        super().__init__()
        self.features = features
        self.mlp = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """(…) -> (…, d)."""
        embedded: Tensor = self.mlp(timestep_features(t, self.features))
        return embedded


class TimeWeight(nn.Module):
    """The log of the error that is expected of a flow map's step, by its times; for training.

    Lee et al. 2025, "Decoupled MeanFlow", arXiv 2510.24474, section 4.1.
    """

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * _TIME_FEATURES, 1)

    def forward(self, t: Tensor, end: Tensor) -> Tensor:
        """Timesteps, (b,) each, to (b,) float32."""
        times = torch.stack([t, end], dim=1)
        weight: Tensor = self.linear(timestep_features(times, _TIME_FEATURES).flatten(1))
        return weight[:, 0].float()


class LabelEmbedding(nn.Module):
    """A class label as a vector; the row after the last class is the null label."""

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(num_classes + 1, width)

    def forward(self, y: Tensor) -> Tensor:
        """(b,) or (b, i) long -> (b, d) or (b, i, d)."""
        embedded: Tensor = self.embedding_table(y)
        return embedded


def unpatchify(x: Tensor, grid: tuple[int, int], patch: int) -> Tensor:
    """Patches to latents: (b, f, s, p p c) -> (b, f, c, h, w)."""
    return rearrange(
        x,
        "b f (rows columns) (p q c) -> b f c (rows p) (columns q)",
        rows=grid[0],
        p=patch,
        q=patch,
    )
