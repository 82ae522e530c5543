"""The Latte network, in all designs that the paper compares (sections 3.2, 3.3), and FrameDiT's."""

# Axes: b clips, f frames (of tubes, where tokens are tubes), i images, c latent channels,
# h w latent size, s tokens a frame, d width.

from collections.abc import Container

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latte_cli.models.attention import Images
from latte_cli.models.embeddings import (
    LabelEmbedding,
    PatchEmbedding,
    TimestepEmbedding,
    TimeWeight,
    TubeUpsampling,
    spatial_table,
    temporal_table,
    unpatchify,
)
from latte_cli.models.inputs import Route, check_end, check_labels, check_latents
from latte_cli.models.kernels.norms import autocast_disabled
from latte_cli.models.layers import (
    Block,
    FinalLayer,
    FrameQueries,
    run_block,
)
from latte_cli.models.sequence.clips import ClipShare
from latte_cli.models.sequence.groups import SequenceGroup
from latte_cli.models.shapes import LatteShape


def _copied(table: Tensor) -> Tensor:
    """A copy for a buffer, on the device that the network is built on."""
    return table.to(torch.get_default_device(), copy=True)


class Latte(nn.Module):
    """Predicts noise, and the covariance if it is learned, of noisy video latents.

    Attributes:
        shape: sizes and design.
        joint: how temporal modules treat images; may be changed at any time.
        checkpointing: in training, recompute each block in the backward pass to save memory.
        sequence_group: the processes that share each clip; None: this one has it alone.
    """

    sequence_group: SequenceGroup | None = None

    def __init__(self, shape: LatteShape) -> None:
        super().__init__()
        self.shape = shape
        self.joint = shape.joint
        self.checkpointing = False
        width, channels = shape.width, shape.out_channels
        modulated, rotary = shape.injection == "s-adaln", shape.temporal_position == "rope"
        self.x_embedder = PatchEmbedding(shape.in_channels, width, shape.patch, shape.tube)
        self.t_embedder = TimestepEmbedding(width)
        self.y_embedder = LabelEmbedding(shape.num_classes, width) if shape.num_classes else None
        self.register_buffer("pos_embed", _copied(spatial_table(shape.grid, shape.grid, width)))
        if not rotary:
            table = temporal_table(shape.num_frames // (shape.tube or 1), width)
            self.register_buffer("temp_embed", _copied(table))
        frame = FrameQueries(shape.grid, shape.frame_queries) if shape.frame_queries else None
        self.blocks = nn.ModuleList(
            Block(width, shape.heads, attentions, modulated, rotary, frame)
            for attentions in shape.attentions
        )
        self.final_layer = FinalLayer(width, shape.patch, channels, modulated)
        self.time_weight = TimeWeight() if shape.flow_map else None
        self.upsample = TubeUpsampling(channels, shape.tube) if shape.tube else None
        self._initialize()

    @property
    def null_label(self) -> int | None:
        """The label that stands for no class, or None for an unconditional network."""
        return self.shape.num_classes

    def _initialize(self) -> None:
        """As DiT except for labels: gates are zero, so that blocks begin as identity."""
        for name, value in self.named_parameters():
            zero = name.startswith(("final_layer.", "time_weight."))
            if zero or name.endswith("bias") or "adaLN" in name:
                nn.init.zeros_(value)
            elif name.startswith("t_embedder."):
                nn.init.normal_(value, std=0.02)
            elif name.startswith("y_embedder."):
                # Not DiT's 0.02: beside the timestep's embedding, which grows fast, so small a
                # label embedding had no effect for thousands of steps; this one takes hundreds.
                nn.init.normal_(value)
            elif name.endswith("qk_logits"):
                nn.init.normal_(value)  # else all queries of a frame would be the same for ever
            else:
                nn.init.xavier_uniform_(value.view(len(value), -1))
        if self.upsample is not None:
            self.upsample.init_as_copies()

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        y: Tensor | None = None,
        *,
        num_images: int = 0,
        y_image: Tensor | None = None,
        end: Tensor | None = None,
        route: Route | None = None,
        skip: Container[int] = (),
    ) -> Tensor:
        """Predict noise, then the covariance's interpolation coefficient, for each latent.

        Args:
            x: noisy latents, (b, f + i, c, h, w) float: a clip's frames, then images of joint
                training; any f, h and w that patch and tube divide.
            t: timesteps, (b,) integer or float, in [0, 1000), of a clip and its images; or one per
                frame, (b, f + i), without tubes.
            y: class labels, (b,) long in [0, num_classes], the last being the null label; None for
                an unconditional network.
            num_images: how many of the frames are images.
            y_image: a label for each image, (b, i) long, as y.
            end: for a flow map, the timesteps that its steps lead to, shaped as t; -1 is the clean
                clip. The last third of the blocks and the final layer then see it instead of t
                (Lee et al. 2025, "Decoupled MeanFlow", arXiv 2510.24474, section 3.1). With end
                equal to t, and with None, the output is the same.
            skip: numbers of blocks that are left out, for guidance by a weaker network.
            route: tokens that skip some blocks, in training; not with tubes, nor with attention
                over whole frames.

        Returns:
            (b, f + i, 2c, h, w) in the dtype of the last layer's output; c without covariance.

        Raises:
            ShapeError: if x does not fit the network, labels are missing, out of range, or given to
                an unconditional network, or a step does not end at less noise.
        """
        grid = check_latents(self.shape, x, num_images, self.shape.tube)
        check_labels(self.shape.num_classes, y, y_image, x, num_images)
        check_end(end, t)
        images = Images(num_images, self.joint)
        share = ClipShare(x.shape[1], self.sequence_group)
        tokens = self.x_embedder(share.take(x)) + self._spatial_positions(grid)
        location_count = tokens.shape[2]
        with autocast_disabled(x):
            frames = x.shape[1] // (self.shape.tube or 1)
            conditioning = self._embed_conditioning(t, y, y_image, frames)
            after = None if end is None else self._embed_conditioning(end, y, y_image, frames)
        # (b, 1 or f + i, 1, d): broadcast over frames and tokens
        c = sum(conditioning[1:], conditioning[0])
        if self.shape.injection == "tokens":
            own = [share.conditioning(vector, "space") for vector in conditioning]
            extra = [vector.expand(-1, tokens.shape[1], -1, -1) for vector in own]
            tokens = torch.cat([tokens, *extra], dim=2)

        count, axes = tokens.shape[2], self.shape.whole_axes
        axis = axes[0]
        waiting: Tensor | None = None
        for number, block in enumerate(self.blocks):
            if route is not None and number == route.blocks.start:
                waiting, tokens = tokens, route.take(tokens, location_count)
            if after is not None and number == self.shape.first_of_end:
                c = sum(after[1:], after[0])
            tokens, axis = share.exchange(tokens, count, axis, axes[number]), axes[number]
            if number == self.shape.first_temporal and self.shape.temporal_position == "absolute":
                # Added once, before the first temporal block: the residual stream carries it on.
                positions = self._frame_positions(tokens.shape[1], num_images)
                tokens = tokens + positions
                waiting = None if waiting is None else waiting + positions
            if number not in skip:
                inputs = [tokens, share.conditioning(c, axis), images]
                inputs += [grid] if self.shape.frame_queries else []
                tokens = run_block(block, *inputs, recompute=self.checkpointing)
            if route is not None and waiting is not None and number == route.blocks[-1]:
                tokens = route.put_back(tokens, waiting, location_count)
                waiting = None
        tokens = share.exchange(tokens, count, axis, "space")[:, :, :location_count]
        patches = share.gather(self.final_layer(tokens, share.conditioning(c, "space")))
        out = unpatchify(patches, grid, self.shape.patch)
        return out if self.upsample is None else self.upsample(out)

    def _embed_conditioning(
        self, t: Tensor, y: Tensor | None, y_image: Tensor | None, frames: int
    ) -> list[Tensor]:
        """Timestep and label, each (b, 1, 1, d), or (b, f + i, 1, d) where frames differ."""
        embedded = [self.t_embedder(t if t.ndim == 2 else t[:, None])[:, :, None]]
        if self.y_embedder is not None and y is not None:
            labels = self.y_embedder(y)[:, None, None]
            if y_image is not None:
                video = labels.expand(-1, frames - y_image.shape[1], -1, -1)
                labels = torch.cat([video, self.y_embedder(y_image)[:, :, None]], dim=1)
            embedded.append(labels)
        return embedded

    def _spatial_positions(self, grid: tuple[int, int]) -> Tensor:
        """(1, 1, s, d): the table of the trained grid, interpolated for any other."""
        table = torch.as_tensor(self.pos_embed)
        if grid != (self.shape.grid, self.shape.grid):
            table = spatial_table(*grid, self.shape.width, self.shape.grid).to(table)
        return table[:, None]

    def _frame_positions(self, frames: int, num_images: int) -> Tensor:
        """(1, f + i, 1, d): the table, extended for longer clips; zero for images."""
        table = torch.as_tensor(self.temp_embed)
        if frames - num_images > table.shape[1]:
            table = temporal_table(frames - num_images, self.shape.width).to(table)
        table = F.pad(table[:, : frames - num_images], (0, 0, 0, num_images))
        return table[:, :, None]
