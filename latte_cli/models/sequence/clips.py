"""Clips shared among processes: by frames in spatial blocks, by positions in temporal ones.

Dynamic sequence parallelism (DSP, arXiv 2403.10266): a block attends along one axis, so each
process computes it for its part of the other axis, and one all-to-all changes the part that it
holds. No process ever holds the tokens of a whole clip. Axes that do not divide are padded; since
no block attends along the axis that is shared out, padding changes nothing and is cut off again.
"""

# Axes: b clips, f frames (of a clip, then its images), s tokens of a frame, d width, n processes.

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from latte_cli.models.attention import Axis
from latte_cli.models.sequence.groups import SequenceGroup, all_to_all, gather_frames
from latte_cli.models.shapes import LatteShape, TextShape


@dataclass(frozen=True)
class ClipShare:
    """A process's part of a clip's tokens; all of them without a group.

    Attributes:
        frames: of the clip and its images.
        group: the processes that share it.
    """

    frames: int
    group: SequenceGroup | None = None

    @property
    def own_frames(self) -> range:
        """The frames whose spatial blocks this process computes; may be fewer than the others'."""
        if self.group is None:
            return range(self.frames)
        each, first = self._each(self.frames), self.group.rank * self._each(self.frames)
        return range(min(first, self.frames), min(first + each, self.frames))

    def take(self, x: Tensor) -> Tensor:
        """The frames of this process: (b, f, …) -> (b, f / n, …), zero where there are none.

        What is the same for all frames, (b, 1, …), stays as it is.
        """
        if self.group is None or x.shape[1] != self.frames or self.frames == 1:
            return x
        own = self.own_frames
        return _pad(x[:, own.start : own.stop], 1, self._each(self.frames))

    def conditioning(self, c: Tensor, axis: Axis) -> Tensor:
        """What a block that attends along an axis needs of (b, 1 or f, …)."""
        return self.take(c) if axis == "space" else c

    def take_images(self, x: Tensor, fill: float = 0) -> Tensor:
        """What belongs to the images among this process's frames: (b, i, …) -> (b, …, …).

        Frames of padding count as images, and get `fill`.
        """
        if self.group is None:
            return x
        video = self.frames - x.shape[1]
        own = self.own_frames
        of_images = slice(max(own.start, video) - video, max(own.stop, video) - video)
        count = self._each(self.frames) - len(range(own.start, min(own.stop, video)))
        return _pad(x[:, of_images], 1, count, fill)

    def exchange(self, tokens: Tensor, count: int, before: Axis, after: Axis) -> Tensor:
        """Tokens for a block that attends along an axis, from those of the block before it.

        Args:
            tokens: (b, f / n, s, d) where `before` is "space", (b, f, s / n, d) where it is "time".
            count: s, of a whole frame.
            before: the axis of the block before.
            after: the axis of the next block.
        """
        if self.group is None or before == after:
            return tokens
        n = self.group.size
        if after == "time":
            parts = _pad(tokens, 2, n * self._each(count)).chunk(n, dim=2)
            received = all_to_all(torch.stack(parts), self.group)
            return received.transpose(0, 1).flatten(1, 2)[:, : self.frames]
        parts = _pad(tokens, 1, n * self._each(self.frames)).chunk(n, dim=1)
        received = all_to_all(torch.stack(parts), self.group)
        return received.permute(1, 2, 0, 3, 4).flatten(2, 3)[:, :, :count]

    def gather(self, x: Tensor) -> Tensor:
        """All frames on every process, see `gather_frames`: (b, f / n, …) -> (b, f, …)."""
        return x if self.group is None else gather_frames(x, self.group)[:, : self.frames]

    def _each(self, count: int) -> int:
        """The largest part of an axis."""
        assert self.group is not None
        return -(-count // self.group.size)


def bytes_per_step(
    shape: LatteShape | TextShape, frames: int, clips: int, itemsize: int, processes: int
) -> int:
    """What one process sends in a training step: its tokens at each change of the axis, and back.

    Args:
        shape: of the network.
        frames: of a clip, and its images.
        clips: that the processes share.
        itemsize: bytes of a value of the residual stream.
        processes: that share them.
    """
    axes = [first[0] for first, *_ in shape.attentions]
    changes = sum(here != after for here, after in zip(axes, [*axes[1:], "space"], strict=True))
    frames, places = (-(-count // processes) for count in (frames, shape.grid**2))
    tokens = clips * frames * places * (processes - 1)
    return 2 * changes * tokens * shape.width * itemsize


def _pad(x: Tensor, axis: int, length: int, fill: float = 0) -> Tensor:
    """The same value behind an axis, up to a length."""
    missing = length - x.shape[axis]
    return F.pad(x, (0, 0) * (x.ndim - 1 - axis) + (0, missing), value=fill) if missing else x
