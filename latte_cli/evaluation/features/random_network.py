"""A small 3D network whose weights are drawn once and for all: a judge that needs no download.

Features of untrained convolutions tell textures, shapes and motions apart well enough to show which
of two checkpoints is nearer to the data. They say nothing about what people see, and a Fréchet
distance on them is no FVD.
"""

# Axes: b clips, f frames, h height, w width, c channels.

import hashlib
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latte_cli.runtime.randomness import seeded

WIDTH = 64
_SIDE = 64
_CHANNELS = (3, 16, 32, WIDTH)
_SEED = 2401_03048


class RandomNetwork(nn.Module):
    """Three convolutions over time and space, each halving all sides, and the mean over the rest.

    Clips are resized to 64 x 64 (bilinear, antialiased) and shifted to [-1, 1]. A clip's features
    do not depend on the others of its batch: clips go one by one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv3d(wide, wider, 3, stride=2, padding=1) for wide, wider in pairwise(_CHANNELS)
        )
        with torch.no_grad():
            for number, weight in enumerate(self.parameters()):
                fan_in = weight[0].numel() if weight.ndim > 1 else 64
                drawn = torch.randn(weight.shape, generator=seeded(_SEED, number))
                weight.copy_(drawn * (2 / fan_in) ** 0.5)
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
        if x.shape[-2:] != (_SIDE, _SIDE):
            x = F.interpolate(x, (_SIDE, _SIDE), mode="bilinear", antialias=True)
        x = x.movedim(0, 1)[None]
        for layer in self.layers:
            x = F.relu(layer(x))
        return x.mean(dim=(0, 2, 3, 4)).cpu()
