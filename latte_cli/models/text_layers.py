"""The parts of the text-to-video network, under the names of diffusers' checkpoints."""

# Axes: b clips, f frames, i images, s tokens of a frame, d width, l tokens of text, m heads,
# e width of a head.

from collections.abc import Callable
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from latte_cli.models.attention import (
    NO_IMAGES,
    Axis,
    Images,
    attend,
    attend_along,
    attend_in_time,
)
from latte_cli.models.embeddings import timestep_features
from latte_cli.models.kernels.gelu import TanhGelu
from latte_cli.models.kernels.norms import (
    Modulation,
    autocast_disabled,
    modulated_norm,
    to_autocast_dtype,
)
from latte_cli.models.layers import chunked


class Text(NamedTuple):
    """Projected text embeddings, (…, l, d), and which of their tokens count, (…, l) bool."""

    tokens: Tensor
    mask: Tensor | None


class Projection(nn.Module):
    """Two linear layers: text embeddings or timestep features to the network's width."""

    def __init__(self, in_width: int, width: int, activation: nn.Module) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(in_width, width)
        self.act = activation
        self.linear_2 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(…, in_width) -> (…, d)."""
        projected: Tensor = self.linear_2(self.act(self.linear_1(x)))
        return projected


class AdaLNSingle(nn.Module):
    """One modulation for all blocks, computed from the timestep (PixArt-alpha, section 2.3)."""

    def __init__(self, width: int, features: int = 256) -> None:
        super().__init__()
        self.features = features
        self.emb = nn.ModuleDict({"timestep_embedder": Projection(features, width, nn.SiLU())})
        self.silu = nn.SiLU()
        self.linear = nn.Linear(width, 6 * width)

    def forward(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(b, f) -> timestep embedding (b, f, d), modulation of all blocks (b, f, 6, d)."""
        embedded: Tensor = self.emb["timestep_embedder"](timestep_features(t, self.features))
        return embedded, rearrange(self.linear(self.silu(embedded)), "b f (n d) -> b f n d", n=6)


class TextAttention(nn.Module):
    """Multi-head attention of (b, f, s, d) tokens along one axis, or to text."""

    kernels = False  # see `kernels.choice`

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_q = nn.Linear(width, width)
        self.to_k = nn.Linear(width, width)
        self.to_v = nn.Linear(width, width)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def along(self, axis: Axis, x: Tensor, images: Images) -> Tensor:
        """Attend to the other tokens along an axis: (b, f, s, d) -> (b, f, s, d)."""
        x = to_autocast_dtype(x)
        q, k, v = self.to_q(x), self.to_k(x), self.to_v(x)
        if axis == "time":
            attended = attend_in_time([q, k, v], self.num_heads, images, self.kernels)
        else:
            attended = attend_along(axis, q, k, v, self.num_heads, images)
        out: Tensor = self.to_out[0](attended)
        return out

    def to_text(self, x: Tensor, text: Text, image_text: Text | None) -> Tensor:
        """Attend to text: (b, f, s, d) -> (b, f, s, d).

        Args:
            x: tokens of a clip's frames, then of images.
            text: of the clips, (b, l, d).
            image_text: of each image, (b, i, l, d); None without images.
        """
        q = self.to_q(x)
        images = 0 if image_text is None else image_text.tokens.shape[1]
        video = x.shape[1] - images
        clip = q[:, :video].flatten(1, 2)[:, None]  # f is 0 if others have the clip's frames
        clip_text = Text(text.tokens[:, None], None if text.mask is None else text.mask[:, None])
        attended = self._cross(clip, clip_text)[:, 0].unflatten(1, (video, x.shape[2]))
        if image_text is not None:
            attended = torch.cat([attended, self._cross(q[:, video:], image_text)], dim=1)
        out: Tensor = self.to_out[0](attended)
        return out

    def _cross(self, q: Tensor, text: Text) -> Tensor:
        """Each group of queries (b, g, n, d) attends to its own text (b, g, l, d)."""
        parts = (q, self.to_k(text.tokens), self.to_v(text.tokens))
        q, k, v = (p.unflatten(-1, (self.num_heads, -1)).transpose(2, 3) for p in parts)
        mask = None if text.mask is None else text.mask[:, :, None, None]
        return attend(q, k, v, mask).transpose(2, 3).flatten(-2)


class _Projected(nn.Module):
    """A linear layer and GELU, nested as in diffusers."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, inner)
        self.act = TanhGelu()

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.act(self.proj(x))
        return projected


class FeedForward(nn.Module):
    """The block's MLP."""

    def __init__(self, width: int, ratio: int = 4) -> None:
        super().__init__()
        inner = ratio * width
        # The identity is where diffusers has dropout, so that parameter names agree.
        self.net = nn.ModuleList([_Projected(width, inner), nn.Identity(), nn.Linear(inner, width)])

    def forward(self, x: Tensor) -> Tensor:
        """(b, f, s, d) -> (b, f, s, d)."""
        for layer in self.net:
            x = layer(x)
        return x


class TextBlock(nn.Module):
    """Attention along an axis, cross-attention to text in spatial blocks, MLP (as Latte-1).

    Attributes:
        halves: what is done before and after attention to text; both may be compiled, as text,
            which has many lengths, is in neither.
    """

    kernels = False  # see `kernels.choice`

    def __init__(self, width: int, num_heads: int, axis: Axis, eps: float = 1e-6) -> None:
        super().__init__()
        self.axis = axis
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=eps)
        self.attn1 = TextAttention(width, num_heads)
        self.attn2 = TextAttention(width, num_heads) if axis == "space" else None
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=eps)
        self.ff = FeedForward(width)
        self.scale_shift_table = nn.Parameter(torch.empty(6, width))
        self.halves = PLAIN_HALVES

    def forward(
        self,
        x: Tensor,
        c: Tensor,
        images: Images = NO_IMAGES,
        text: Text | None = None,
        image_text: Text | None = None,
    ) -> Tensor:
        """Tokens (b, f, s, d), adaLN-single's (b, 1 or f, 6, d) -> tokens; see `TextAttention`."""
        if images.skipped and self.axis == "time":
            video = x.shape[1] - images.skipped
            return torch.cat([self.forward(x[:, :video], c[:, :video]), x[:, video:]], dim=1)
        x = self.halves.attend(self, x, c, images)
        if self.attn2 is not None and text is not None:
            x = x + self.attn2.to_text(x, text, image_text)  # not normalized, as in PixArt-alpha
        return self.halves.feed_forward(self, x, c)

    def modulations(self, c: Tensor) -> tuple[Modulation, Modulation]:
        """Those of attention and MLP, from adaLN-single's (b, 1 or f, 6, d)."""
        with autocast_disabled(c):
            parts = (self.scale_shift_table + c)[:, :, None].unbind(dim=3)
        return Modulation(*parts[:3]), Modulation(*parts[3:])


class Halves(NamedTuple):
    """Attention along an axis, and the MLP, of any block; each maps tokens to tokens."""

    attend: Callable[[TextBlock, Tensor, Tensor, Images], Tensor]
    feed_forward: Callable[[TextBlock, Tensor, Tensor], Tensor]


def _attend(block: TextBlock, x: Tensor, c: Tensor, images: Images) -> Tensor:
    modulation, _ = block.modulations(c)
    y = modulated_norm(block.norm1, x, modulation, block.kernels)
    return modulation.add_gated(x, block.attn1.along(block.axis, y, images))


def _feed_forward(block: TextBlock, x: Tensor, c: Tensor) -> Tensor:
    _, modulation = block.modulations(c)

    def mlp(x: Tensor, modulation: Modulation) -> Tensor:
        return modulation.add_gated(x, block.ff(modulation.modulate(block.norm2(x))))

    return chunked(mlp, x, modulation)


PLAIN_HALVES = Halves(_attend, _feed_forward)
