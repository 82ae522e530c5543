"""The network of Variant 1 written a second time, as plainly as the published code is.

Float32, softmax attention written out, tokens flattened and unflattened between blocks, and
conditioning repeated for every token. It shares no line with the package: tests hold the package to
it, and the benchmarks measure against it. Parameter names are the published ones.
"""

# Axes: b clips, f frames, c latent channels, h w latent size, s tokens a frame, d width, n tokens.

import math

import torch
from einops import rearrange, repeat
from torch import Tensor, nn


def table(positions: Tensor, width: int) -> Tensor:
    """Sines then cosines of positions: (n,) -> (n, width)."""
    rates = 1 / 10000 ** (torch.arange(width // 2).double() / (width // 2))
    angles = torch.outer(positions.double(), rates)
    return torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1).float()


def timestep_table(t: Tensor, width: int = 256) -> Tensor:
    rates = torch.exp(-math.log(10000) * torch.arange(width // 2).float() / (width // 2))
    angles = t.float()[:, None] * rates
    return torch.cat([torch.cos(angles), torch.sin(angles)], dim=-1)


class ReferenceAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        weights = (q @ k.transpose(-2, -1) * (d // self.heads) ** -0.5).softmax(dim=-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(b, n, d))


class ReferenceBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.attn = ReferenceAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)}
        )
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Tokens (n, s, d) and their conditioning (n, s, d)."""
        parts = self.adaLN_modulation(c).chunk(6, dim=-1)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = parts
        x = x + gate_a * self.attn(self.norm1(x) * (1 + scale_a) + shift_a)
        inside = self.mlp["fc1"](self.norm2(x) * (1 + scale_m) + shift_m)
        return x + gate_m * self.mlp["fc2"](nn.functional.gelu(inside, approximate="tanh"))


class ReferenceLatte(nn.Module):
    """Variant 1 alone: S-AdaLN, uniform patches, absolute positions, no images.

    Args:
        latent_size: side of the latents.
        num_frames: of a clip.
        patch: side of a patch.
        width: of a token.
        depth: blocks.
        heads: of each attention.
        num_classes: labels; None: unconditional.
        channels: of the latents.
    """

    def __init__(
        self,
        latent_size: int,
        num_frames: int,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        num_classes: int | None = None,
        channels: int = 4,
    ) -> None:
        super().__init__()
        self.patch, grid = patch, latent_size // patch
        self.x_embedder = nn.ModuleDict({"proj": nn.Conv2d(channels, width, patch, stride=patch)})
        mlp = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.t_embedder = nn.ModuleDict({"mlp": mlp})
        self.y_embedder = None
        if num_classes is not None:
            labels = nn.Embedding(num_classes + 1, width)
            self.y_embedder = nn.ModuleDict({"embedding_table": labels})
        columns = table(torch.arange(grid).repeat(grid), width // 2)
        rows = table(torch.arange(grid).repeat_interleave(grid), width // 2)
        self.register_buffer("pos_embed", torch.cat([columns, rows], dim=-1)[None])
        self.register_buffer("temp_embed", table(torch.arange(num_frames), width)[None])
        self.blocks = nn.ModuleList(ReferenceBlock(width, heads) for _ in range(depth))
        self.final_layer = nn.ModuleDict(
            {
                "norm_final": nn.LayerNorm(width, elementwise_affine=False, eps=1e-6),
                "linear": nn.Linear(width, patch * patch * 2 * channels),
                "adaLN_modulation": nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width)),
            }
        )

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """(b, f, c, h, w) -> (b, f, 2c, h, w)."""
        b, f = x.shape[:2]
        tokens = self.x_embedder["proj"](rearrange(x, "b f c h w -> (b f) c h w"))
        tokens = rearrange(tokens, "n d h w -> n (h w) d") + self.pos_embed
        s = tokens.shape[1]
        c = self.t_embedder["mlp"](timestep_table(t))
        if self.y_embedder is not None:
            c = c + self.y_embedder["embedding_table"](y)
        in_space = repeat(c, "b d -> (b f) s d", f=f, s=s)
        in_time = repeat(c, "b d -> (b s) f d", f=f, s=s)
        for number in range(0, len(self.blocks), 2):
            tokens = self.blocks[number](tokens, in_space)
            tokens = rearrange(tokens, "(b f) s d -> (b s) f d", b=b)
            if number == 0:
                tokens = tokens + self.temp_embed
            tokens = self.blocks[number + 1](tokens, in_time)
            tokens = rearrange(tokens, "(b s) f d -> (b f) s d", b=b)
        shift, scale = self.final_layer["adaLN_modulation"](in_space).chunk(2, dim=-1)
        tokens = self.final_layer["norm_final"](tokens) * (1 + scale) + shift
        out = self.final_layer["linear"](tokens).reshape(
            b * f, *[x.shape[3] // self.patch] * 2, self.patch, self.patch, -1
        )
        out = torch.einsum("nhwpqc->nchpwq", out)
        return out.reshape(b, f, -1, *x.shape[3:])
