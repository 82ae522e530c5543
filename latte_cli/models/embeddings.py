"""The network's two ends: latents, timesteps and labels to vectors, and vectors to latents."""

# Axes: b clips, f frames, s tokens of a frame, d width, c latent channels, h w latent size,
# r frames in a tube, p patch.

import torch
from einops import rearrange
from torch import Tensor, nn

from latte_cli.models.positions import timestep_features


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

        All layers keep the order in memory that they are given, so another would slow each.
        """
        if isinstance(self.proj, nn.Conv3d):
            tubes: Tensor = self.proj(rearrange(x, "b f c h w -> b c f h w"))
            return rearrange(tubes, "b d f h w -> b f (h w) d").contiguous()
        tokens: Tensor = self.proj(rearrange(x, "b f c h w -> (b f) c h w"))
        return rearrange(tokens, "(b f) d h w -> b f (h w) d", b=x.shape[0]).contiguous()


class TubeUpsampling(nn.Module):
    """Frames out of tubes, by a 3D transposed convolution over time (Latte, section 3.3.1)."""

    def __init__(self, channels: int, tube: int) -> None:
        super().__init__()
        size = (tube, 1, 1)
        self.deconv = nn.ConvTranspose3d(channels, channels, kernel_size=size, stride=size)

    def forward(self, x: Tensor) -> Tensor:
        """(b, f/r, c, h, w) -> (b, f, c, h, w)."""
        frames: Tensor = self.deconv(rearrange(x, "b f c h w -> b c f h w"))
        return rearrange(frames, "b c f h w -> b f c h w")

    def begin_as_copies(self) -> None:
        """Let each frame of a tube begin as the tube's own prediction."""
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


class LabelEmbedding(nn.Module):
    """A class label as a vector. The row after the last class is the null label."""

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(num_classes + 1, width)

    def forward(self, y: Tensor) -> Tensor:
        """(b,) or (b, i) long -> (b, d) or (b, i, d)."""
        embedded: Tensor = self.embedding_table(y)
        return embedded


def unpatchify(x: Tensor, grid: tuple[int, int], patch: int) -> Tensor:
    """Patches to pictures: (b, f, s, p p c) -> (b, f, c, h, w)."""
    return rearrange(
        x,
        "b f (rows columns) (p q c) -> b f c (rows p) (columns q)",
        rows=grid[0],
        p=patch,
        q=patch,
    )
