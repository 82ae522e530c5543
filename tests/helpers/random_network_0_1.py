"""The random network of `fd-random` in version 0.1, whose features lie in `old_files`."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latte_cli.runtime.randomness import seeded

CHANNELS = (3, 16, 32, 64)


class RandomNetwork(nn.Module):
    """Three strided 3D convolutions, averaged over time and space."""

    fingerprint = "13f0e735feed3010e2427a23cf8b0cc72bad9faa5554f4db6ea1c777557937ad"

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Conv3d(width, out, 3, stride=2, padding=1) for width, out in pairwise(CHANNELS)
        )
        with torch.no_grad():
            for number, weight in enumerate(self.parameters()):
                fan_in = weight[0].numel() if weight.ndim > 1 else 64
                normal = torch.randn(weight.shape, generator=seeded(2401_03048, number))
                weight.copy_(normal * (2 / fan_in) ** 0.5)

    @torch.no_grad()
    def forward(self, clips: Tensor) -> Tensor:
        """(b, f, h, w, 3) uint8 to (b, 64) float32."""
        rows = []
        for clip in clips:
            x = clip.float().movedim(-1, 1) / 127.5 - 1
            x = F.interpolate(x, (64, 64), mode="bilinear", antialias=True).movedim(0, 1)[None]
            for layer in self.layers:
                x = F.relu(layer(x))
            rows.append(x.mean(dim=(0, 2, 3, 4)))
        return torch.stack(rows)
