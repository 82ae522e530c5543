"""Feature extractors without weights files: the motion of `shapes`, and a fixed random network.

Motion. The background of a `shapes` clip stands still, so the difference of two neighboring frames
shows only the moving shapes, and the next difference shows the same picture shifted by one frame's
motion. The shift at which the two correlate best is the motion; all pairs at distances of one and
two frames contribute.

Random network. Features of untrained convolutions separate textures, shapes and motions well enough
to show which of two checkpoints is nearer to the data. They do not follow human perception, and a
Fréchet distance on them is no FVD.
"""

# Axes: b clips, f frames, h height, w width, c channels.

import hashlib
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from latte_cli.runtime.randomness import seeded
from latte_cli.sources.shapes import DIRECTIONS_DEG

_LAGS = (1, 2)
_SPEEDS = np.arange(1.5, 10.0, 0.25)  # pixels a frame, at 64 pixels

_SIZE = 64
_CHANNELS = (3, 16, 32, 64)
_SEED = 2401_03048


def direction_of(frames: NDArray[np.uint8]) -> int:
    """The label whose direction fits the motion of a `shapes` clip best.

    Args:
        frames: (f, h, w, 3) uint8, f >= 4, h = w.

    Returns:
        An index into `shapes.DIRECTIONS_DEG`.
    """
    change = np.diff(frames.astype(np.float64), axis=0)
    spectrum = np.fft.fft2(change, axes=(1, 2))
    correlation = {
        lag: np.fft.ifft2((spectrum[lag:] * spectrum[:-lag].conj()).sum(axis=(0, 3))).real
        / len(spectrum[lag:])
        for lag in _LAGS
    }
    speeds = _SPEEDS * frames.shape[1] / 64
    angles = np.radians(DIRECTIONS_DEG)[:, None]
    scores = sum(
        _interpolate(correlation[lag], lag * speeds * np.sin(angles), lag * speeds * np.cos(angles))
        for lag in _LAGS
    )
    return int(np.max(scores, axis=1).argmax())


def _interpolate(
    image: NDArray[np.float64], y: NDArray[np.float64], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Bilinear interpolation with periodic boundaries."""
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    height, width = image.shape
    total = np.zeros_like(y)
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (1 - abs(y - top - dy)) * (1 - abs(x - left - dx))
            total += weight * image[(top + dy) % height, (left + dx) % width]
    return total


class RandomNetwork(nn.Module):
    """Three strided 3D convolutions with fixed random weights, averaged over time and space.

    Clips are resized to 64 x 64 (bilinear, antialiased) and shifted to [-1, 1]. Each clip runs
    alone, so its features do not depend on the others of its batch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv3d(width, out, 3, stride=2, padding=1) for width, out in pairwise(_CHANNELS)
        )
        with torch.no_grad():
            for number, weight in enumerate(self.parameters()):
                fan_in = weight[0].numel() if weight.ndim > 1 else 64
                normal = torch.randn(weight.shape, generator=seeded(_SEED, number))
                weight.copy_(normal * (2 / fan_in) ** 0.5)
        self.requires_grad_(False).eval()

    @property
    def fingerprint(self) -> str:
        """Checksum of the weights, 64 hex digits."""
        digest = hashlib.sha256()
        for weight in self.parameters():
            digest.update(weight.cpu().numpy().tobytes())
        return digest.hexdigest()

    @torch.no_grad()
    def forward(self, clips: Tensor) -> Tensor:
        """(b, f, h, w, 3) uint8 to (b, 64) float32 features, on the CPU."""
        return torch.stack([self._features(clip) for clip in clips])

    def _features(self, clip: Tensor) -> Tensor:
        device = next(self.parameters()).device
        x = clip.to(device).float().movedim(-1, 1) / 127.5 - 1
        if x.shape[-2:] != (_SIZE, _SIZE):
            x = F.interpolate(x, (_SIZE, _SIZE), mode="bilinear", antialias=True)
        x = x.movedim(0, 1)[None]
        for layer in self.layers:
            x = F.relu(layer(x))
        return x.mean(dim=(0, 2, 3, 4)).cpu()
