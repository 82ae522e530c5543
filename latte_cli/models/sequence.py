"""Clips shared among processes: by frames in spatial blocks, by positions in temporal ones.

Dynamic sequence parallelism (DSP, arXiv 2403.10266): a block attends along one axis, so each process
computes it for its part of the other axis, and one all-to-all changes the part that it holds. No
process ever holds the tokens of a whole clip. Axes that do not divide are padded; since no block
attends along the axis that is shared out, padding changes nothing and is cut off again.
"""

# Axes: b clips, f frames (of a clip, then its images), s tokens of a frame, d width, n processes.

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from latte_cli.models.attention import Axis
from latte_cli.runtime.distributed import is_distributed, rank, world_size


@dataclass(frozen=True)
class SequenceGroup:
    """The processes that share a clip.

    Attributes:
        group: of torch.distributed.
        size: how many they are.
        rank: of this process among them.
    """

    group: Any
    size: int
    rank: int


def sequence_group(size: int) -> SequenceGroup | None:
    """The processes, `size` in a row, of which this one is; None if it has clips alone.

    Every process must call this at the same time; their number must be a multiple of the size.
    """
    if size == 1 or not is_distributed():
        return None
    firsts = range(0, world_size(), size)
    groups = [dist.new_group([*range(first, first + size)]) for first in firsts]
    return SequenceGroup(groups[rank() // size], size, rank() % size)


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
            received = _all_to_all(torch.stack(parts), self.group)
            return received.transpose(0, 1).flatten(1, 2)[:, : self.frames]
        parts = _pad(tokens, 1, n * self._each(self.frames)).chunk(n, dim=1)
        received = _all_to_all(torch.stack(parts), self.group)
        return received.permute(1, 2, 0, 3, 4).flatten(2, 3)[:, :, :count]

    def gather(self, x: Tensor) -> Tensor:
        """All frames on every process: (b, f / n, …) -> (b, f, …).

        Every process computes the same loss of them, and gradients are averaged over processes:
        so the gradient of a process's own frames counts n times.
        """
        if self.group is None:
            return x
        gathered = cast(Tensor, _Gather.apply(x.contiguous(), self.group))  # type: ignore[no-untyped-call]  # torch
        return gathered[:, : self.frames]

    def _each(self, count: int) -> int:
        """The largest part of an axis."""
        assert self.group is not None
        return -(-count // self.group.size)


def bytes_per_exchange(
    clips: int, frames: int, locations: int, width: int, itemsize: int, processes: int
) -> int:
    """What one process sends in one `exchange`: all of its tokens but those that it keeps."""
    frames, locations = (-(-count // processes) for count in (frames, locations))
    return clips * frames * locations * (processes - 1) * width * itemsize


def _pad(x: Tensor, axis: int, length: int, fill: float = 0) -> Tensor:
    """The same value behind an axis, up to a length."""
    missing = length - x.shape[axis]
    return F.pad(x, (0, 0) * (x.ndim - 1 - axis) + (0, missing), value=fill) if missing else x


def _all_to_all(parts: Tensor, group: SequenceGroup) -> Tensor:
    """Part i of each process goes to process i: (n, …) -> (n, …), by sender."""
    return cast(Tensor, _AllToAll.apply(parts, group))  # type: ignore[no-untyped-call]  # torch's


class _AllToAll(torch.autograd.Function):
    """`all_to_all_single`, whose gradients go the way back."""

    @staticmethod
    def forward(ctx: Any, parts: Tensor, group: SequenceGroup) -> Tensor:
        ctx.group = group
        parts = parts.contiguous()
        received = torch.empty_like(parts)
        dist.all_to_all_single(received, parts, group=group.group)
        return received

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _AllToAll.forward(ctx, gradient, ctx.group), None


class _Gather(torch.autograd.Function):
    """`all_gather` along frames, see `ClipShare.gather`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: SequenceGroup) -> Tensor:
        ctx.group, ctx.each = group, x.shape[1]
        parts = [torch.empty_like(x) for _ in range(group.size)]
        dist.all_gather(parts, x, group=group.group)
        return torch.cat(parts, dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        first = ctx.group.rank * ctx.each
        return ctx.group.size * gradient[:, first : first + ctx.each], None
