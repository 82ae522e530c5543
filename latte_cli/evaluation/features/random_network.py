"""Features without weights files: fixed random convolutions of several views of a clip.

Random convolutions separate textures, outlines and motions well enough to show which of two
checkpoints is nearer to the data. They do not follow human perception, and a Fréchet distance on
them is no FVD.

Colors differ more from clip to clip than anything else and would drown the rest. So most views show
what the eye sees at once instead: edges, differences between frames, and how edges change.
"""

# Axes: b clips, f frames, h height, w width, c channels, d width of a row.

import hashlib
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latte_cli.runtime.randomness import seeded

_SEED = 2401_03048
_FILTERS = 12


@dataclass(frozen=True)
class _View:
    """A way to look at a clip.

    Attributes:
        kind: what is shown, see `_show`.
        size: to which frames are resized (bilinear, antialiased), pixels.
        channels: of what is shown.
        spread: root of the summed variances of its features over clips of `shapes`, by which they
            are divided, so that all views count alike; twice that for pixels, which count half.
    """

    kind: str
    size: int
    channels: int
    spread: float


_VIEWS = (
    _View("pixels", 16, 3, 1.24),
    _View("edges", 16, 1, 0.17),
    _View("changes", 32, 3, 0.218),
    _View("sizes of changes", 32, 1, 0.177),
    _View("changes of edges", 16, 1, 0.253),
)


class RandomNetwork(nn.Module):
    """For each view a strided 3D convolution with fixed random weights, and a ReLU.

    A clip's features are each filter's mean and standard deviation over time and space. Each clip
    runs alone, so its features do not depend on the others of its batch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.ModuleList(
            nn.Conv3d(view.channels, _FILTERS, 3, stride=(1, 2, 2)) for view in _VIEWS
        )
        with torch.no_grad():
            for number, weight in enumerate(self.parameters()):
                fan_in = weight[0].numel() if weight.ndim > 1 else 64
                normal = torch.randn(weight.shape, generator=seeded(_SEED, number))
                weight.copy_(normal * (2 / fan_in) ** 0.5)
        self.requires_grad_(False).eval()

    @property
    def fingerprint(self) -> str:
        """Checksum of the weights and of the views, 64 hex digits."""
        digest = hashlib.sha256(repr(_VIEWS).encode())
        for weight in self.parameters():
            digest.update(weight.cpu().numpy().tobytes())
        return digest.hexdigest()

    @torch.no_grad()
    def forward(self, clips: Tensor) -> Tensor:
        """(b, f, h, w, 3) uint8, f at least 2, to (b, d) float32 features, on the CPU."""
        return torch.stack([self._features(clip) for clip in clips])

    def _features(self, clip: Tensor) -> Tensor:
        x = clip.to(next(self.parameters()).device).float().movedim(-1, 1) / 127.5 - 1
        found = []
        for view, convolution in zip(_VIEWS, self.filters, strict=True):
            small = F.interpolate(x, (view.size, view.size), mode="bilinear", antialias=True)
            shown = _show(view.kind, small.movedim(0, 1))
            # Circular as the motion in `shapes`: a border would be an edge of its own.
            padded = F.pad(shown[None], (1, 1, 1, 1, 0, 0), mode="circular")
            out = F.relu(convolution(F.pad(padded, (0, 0, 0, 0, 1, 1))))
            moments = [out.mean(dim=(0, 2, 3, 4)), out.std(dim=(0, 2, 3, 4))]
            found.append(torch.cat(moments) / view.spread)
        return torch.cat(found).cpu()


def _show(kind: str, x: Tensor) -> Tensor:
    """(3, f, h, w) in [-1, 1] to what a view shows, (c, f or f - 1, h, w)."""
    if kind == "pixels":
        return x
    if "edges" in kind:
        slopes = [x - x.roll(1, axis) for axis in (-1, -2)]
        strength = torch.cat(slopes).square().sum(dim=0, keepdim=True).sqrt()
        return strength if kind == "edges" else strength[:, 1:] - strength[:, :-1]
    change = x[:, 1:] - x[:, :-1]
    return change if kind == "changes" else change.square().sum(dim=0, keepdim=True).sqrt()
