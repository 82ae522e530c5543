"""The text-to-video network of Latte-1: Variant 1 with text cross-attention and adaLN-single.

Parameter names and shapes are those of diffusers' `LatteTransformer3DModel`.
"""

# Axes: b clips, f frames, i images, c latent channels, h w latent size, s tokens a frame, d width,
# l tokens of text.

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latte_cli.models.attention import Images
from latte_cli.models.embeddings import (
    PatchEmbedding,
    spatial_table,
    temporal_table,
    unpatchify,
)
from latte_cli.models.inputs import check_latents, check_text
from latte_cli.models.kernels.gelu import TanhGelu
from latte_cli.models.kernels.norms import Modulation, autocast_disabled
from latte_cli.models.layers import run_block
from latte_cli.models.sequence.clips import ClipShare
from latte_cli.models.sequence.groups import SequenceGroup
from latte_cli.models.shapes import TextShape
from latte_cli.models.text_layers import AdaLNSingle, Projection, Text, TextBlock

_T5_XXL_WIDTH = 4096


class LatteT2V(nn.Module):
    """Predicts noise and covariance of noisy video latents, conditioned on text.

    Attributes:
        shape: sizes and design.
        joint: how temporal blocks treat images; may be changed at any time.
        checkpointing: in training, recompute each block in the backward pass to save memory.
        position_scale: of the frames' positions; 0 for a network that begins as an image model,
            which is not used to them. It is 1 in any other use.
        sequence_group: the processes that share each clip; None: this one has it alone.
    """

    sequence_group: SequenceGroup | None = None

    def __init__(self, shape: TextShape) -> None:
        super().__init__()
        self.shape = shape
        self.joint = shape.joint
        self.checkpointing = False
        self.position_scale = 1.0
        width, heads, pairs = shape.width, shape.heads, shape.depth // 2
        self.pos_embed = PatchEmbedding(shape.in_channels, width, shape.patch)
        self.adaln_single = AdaLNSingle(width)
        self.caption_projection = Projection(shape.text_width, width, TanhGelu())
        self.transformer_blocks = nn.ModuleList(
            TextBlock(width, heads, "space", shape.norm_eps) for _ in range(pairs)
        )
        self.temporal_transformer_blocks = nn.ModuleList(
            TextBlock(width, heads, "time", shape.norm_eps) for _ in range(pairs)
        )
        self.norm_out = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.scale_shift_table = nn.Parameter(torch.empty(2, width))
        self.proj_out = nn.Linear(width, shape.patch**2 * 2 * shape.in_channels)
        self._initialize()

    @property
    def blocks(self) -> list[TextBlock]:
        """Spatial and temporal blocks in turn."""
        pairs = zip(self.transformer_blocks, self.temporal_transformer_blocks, strict=True)
        return [cast(TextBlock, block) for pair in pairs for block in pair]

    def _initialize(self) -> None:
        """As PixArt-alpha, but text is heard from the first step; temporal blocks are identity."""
        for name, value in self.named_parameters():
            if name.endswith("scale_shift_table"):
                nn.init.normal_(value, std=self.shape.width**-0.5)
            elif name.endswith("bias") or name.startswith("proj_out."):
                nn.init.zeros_(value)
            elif name.startswith("adaln_single."):
                nn.init.normal_(value, std=0.02)
            elif name.startswith("caption_projection."):
                # PixArt-alpha's 0.02 is for T5-XXL: a narrow text would begin almost unheard.
                nn.init.normal_(value, std=0.02 * (_T5_XXL_WIDTH / value.shape[1]) ** 0.5)
            else:
                nn.init.xavier_uniform_(value.view(len(value), -1))
        self.init_temporal_as_identity()

    def init_temporal_as_identity(self) -> None:
        """Zero temporal blocks' last layers: their gates are shared with spatial blocks."""
        for name, value in self.temporal_transformer_blocks.named_parameters():
            if ".to_out." in name or ".ff.net.2." in name:
                nn.init.zeros_(value)

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        *,
        text: Tensor | None = None,
        text_mask: Tensor | None = None,
        num_images: int = 0,
        text_image: Tensor | None = None,
        text_image_mask: Tensor | None = None,
    ) -> Tensor:
        """Predict noise, then the covariance's interpolation coefficient, for each latent.

        Args:
            x: noisy latents, (b, f + i, c, h, w) float: a clip's frames, then images of joint
                training; any f, h and w that the patch divides.
            t: timesteps, (b,) integer or float, in [0, 1000), of a clip and its images; or one per
                frame, (b, f + i).
            text: embeddings of each clip's text, (b, l, text_width) float.
            text_mask: which of its tokens count, (b, l) bool, at least one per text; None for all.
            num_images: how many of the frames are images.
            text_image: embeddings of each image's own text, (b, i, l, text_width) float.
            text_image_mask: which of its tokens count, (b, i, l) bool; None for all.

        Returns:
            (b, f + i, 2c, h, w) in the dtype of the last layer's output.

        Raises:
            ShapeError: if x or a text does not fit the network, or a text is missing.
        """
        grid = check_latents(self.shape, x, num_images)
        check_text(self.shape.text_width, text, text_mask, (len(x),), "text")
        if num_images:
            size = (len(x), num_images)
            check_text(self.shape.text_width, text_image, text_image_mask, size, "text_image")
        assert text is not None
        images = Images(num_images, self.joint)
        clip_text = Text(self.caption_projection(text), text_mask)
        image_text = None
        if num_images:
            assert text_image is not None
            image_text = Text(self.caption_projection(text_image), text_image_mask)
        share = ClipShare(x.shape[1], self.sequence_group)
        own_image_text = _own_images(share, image_text)
        with autocast_disabled(x):
            embedded, c = self.adaln_single(t if t.ndim == 2 else t[:, None])
        table = spatial_table(
            *grid, self.shape.width, self.shape.grid, self.shape.interpolation_scale
        )
        tokens = self.pos_embed(share.take(x)) + table[:, None].to(x.device)
        count, own = tokens.shape[2], share.conditioning(c, "space")

        pairs = zip(self.transformer_blocks, self.temporal_transformer_blocks, strict=True)
        for number, (spatial, temporal) in enumerate(pairs):
            recompute = self.checkpointing
            tokens = run_block(
                spatial, tokens, own, images, clip_text, own_image_text, recompute=recompute
            )
            tokens = share.exchange(tokens, count, "space", "time")
            if number == 0:
                # Added once, before the first temporal block: the residual stream carries it on.
                tokens = tokens + self._frame_positions(x.shape[1], num_images).to(x.device)
            tokens = run_block(temporal, tokens, c, images, recompute=recompute)
            tokens = share.exchange(tokens, count, "time", "space")
        patches = share.gather(self._decode(tokens, share.conditioning(embedded, "space")))
        return unpatchify(patches, grid, self.shape.patch)

    def _decode(self, tokens: Tensor, embedded: Tensor) -> Tensor:
        """Tokens (b, f, s, d), timestep embedding (b, 1 or f, d) -> patches (b, f, s, p p 2c)."""
        with autocast_disabled(embedded):
            both = self.scale_shift_table + embedded[:, :, None]
            shift, scale = both[:, :, None].unbind(dim=3)
        out: Tensor = self.proj_out(Modulation(shift, scale).modulate(self.norm_out(tokens)))
        return out

    def _frame_positions(self, frames: int, num_images: int) -> Tensor:
        """(1, f + i, 1, d); zero for images, and for a clip of one frame."""
        video = frames - num_images
        table = self.position_scale * temporal_table(video, self.shape.width)
        if video == 1:
            table = torch.zeros_like(table)
        return F.pad(table, (0, 0, 0, num_images))[:, :, None]


def _own_images(share: ClipShare, text: Text | None) -> Text | None:
    """The text of the images among a process's frames; padding attends to tokens of zeros."""
    if text is None:
        return None
    mask = None if text.mask is None else share.take_images(text.mask, fill=1)
    return Text(share.take_images(text.tokens), mask)
