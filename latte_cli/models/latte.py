"""The Latte network, Variant 1: spatial and temporal blocks in turn (Latte, section 3.1)."""

# Axes: b clips, f frames, c latent channels, h w latent size, s tokens a frame, d width, p patch.

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from latte_cli.errors import ConfigError, ShapeError
from latte_cli.models.layers import (
    Block,
    FinalLayer,
    LabelEmbedding,
    PatchEmbedding,
    TimestepEmbedding,
    in_float32,
)
from latte_cli.models.positions import spatial_table, temporal_table


@dataclass(frozen=True)
class LatteShape:
    """Everything that fixes the shapes of a network's parameters."""

    latent_size: int
    num_frames: int
    patch: int
    width: int
    depth: int
    heads: int
    in_channels: int = 4
    num_classes: int | None = None  # None: unconditional

    def __post_init__(self) -> None:
        if self.depth % 2:
            raise ConfigError(
                f"model.depth must be even, got {self.depth}",
                hint="spatial and temporal blocks come in pairs",
            )
        if self.width % self.heads or self.width % 4:
            raise ConfigError(
                f"model.width {self.width} does not divide into {self.heads} heads "
                "and into four quarters of positions",
                hint="choose a width that is a multiple of model.heads and of 4",
            )
        if self.latent_size % self.patch:
            raise ConfigError(
                f"model.patch {self.patch} does not divide the {self.latent_size} x "
                f"{self.latent_size} latents",
                hint="choose another model.patch or data.size",
            )


class Latte(nn.Module):
    """Predicts noise and covariance of noisy video latents.

    Blocks 0, 2, … attend within a frame, blocks 1, 3, … over the frames at one location.
    """

    def __init__(self, shape: LatteShape) -> None:
        super().__init__()
        self.shape = shape
        width, grid = shape.width, shape.latent_size // shape.patch
        self.x_embedder = PatchEmbedding(shape.in_channels, width, shape.patch)
        self.t_embedder = TimestepEmbedding(width)
        self.y_embedder = LabelEmbedding(shape.num_classes, width) if shape.num_classes else None
        self.register_buffer("pos_embed", spatial_table(grid, width))
        self.register_buffer("temp_embed", temporal_table(shape.num_frames, width))
        self.blocks = nn.ModuleList(
            Block(width, shape.heads, "time" if number % 2 else "space")
            for number in range(shape.depth)
        )
        self.final_layer = FinalLayer(width, shape.patch, 2 * shape.in_channels)
        self._initialize()

    @property
    def null_label(self) -> int | None:
        """The label that stands for no class, or None for an unconditional network."""
        return self.shape.num_classes

    def _initialize(self) -> None:
        """Initialise as DiT, but for labels: zero gates, so that blocks begin as identity."""
        for name, value in self.named_parameters():
            if name.endswith("bias") or name.startswith("final_layer.") or "adaLN" in name:
                nn.init.zeros_(value)
            elif name.startswith("t_embedder."):
                nn.init.normal_(value, std=0.02)
            elif name.startswith("y_embedder."):
                # Not DiT's 0.02: beside the timestep's embedding, which grows fast, so small a one
                # stayed without effect for thousands of steps; at unit variance it took hundreds.
                nn.init.normal_(value)
            else:
                nn.init.xavier_uniform_(value.view(len(value), -1))

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        """Predict noise, then the covariance's interpolation coefficient, for each latent.

        Args:
            x: noisy latents, (b, f, c, h, w) float; any f, trained for `shape.num_frames`.
            t: timesteps, (b,) integer or float, in [0, 1000).
            y: class labels, (b,) long in [0, num_classes], the last being the null label; None for
                an unconditional network.

        Returns:
            (b, f, 2c, h, w) in the type of the last layer's product.

        Raises:
            ShapeError: if x is not of the network's channels and size, or labels are missing or
                given to an unconditional network.
        """
        self._check(x, y)
        with in_float32(x):
            c = self.t_embedder(t)
            if self.y_embedder is not None:
                c = c + self.y_embedder(y)
        c = c[:, None, None, :]  # computed once a clip, broadcast over frames and tokens

        tokens = self.x_embedder(x) + self.pos_embed
        for number, block in enumerate(self.blocks):
            if number == 1:
                # Added once, before the first temporal block: the residual stream carries it on.
                tokens = tokens + self._frame_positions(x.shape[1])[:, :, None]
            tokens = block(tokens, c)
        grid, patch = self.shape.latent_size // self.shape.patch, self.shape.patch
        out: Tensor = rearrange(
            self.final_layer(tokens, c),
            "b f (h w) (p q c) -> b f c (h p) (w q)",
            h=grid,
            p=patch,
            q=patch,
        )
        return out

    def _frame_positions(self, num_frames: int) -> Tensor:
        """(1, f, d): the table where it reaches, computed anew for longer clips."""
        table = torch.as_tensor(self.temp_embed)
        if num_frames <= table.shape[1]:
            return table[:, :num_frames]
        return temporal_table(num_frames, self.shape.width).to(table)

    def _check(self, x: Tensor, y: Tensor | None) -> None:
        side = self.shape.latent_size
        expected = (self.shape.in_channels, side, side)
        if x.ndim != 5 or tuple(x.shape[2:]) != expected:
            raise ShapeError(
                f"latents are {tuple(x.shape)}, the network takes (b, f, *{expected})",
                hint="encode the videos at the size that the model was made for",
            )
        if (y is None) != (self.y_embedder is None):
            raise ShapeError(
                "labels are missing" if y is None else "labels given to an unconditional network",
                hint="model.condition says whether a network takes labels",
            )
