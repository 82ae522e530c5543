"""Clips of `shapes` as a bad network might generate them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from latte_cli.sources import shapes
from latte_cli.sources.shapes import KINDS, render_clip

Clips = NDArray[np.uint8]
_FRAMES = range(0, 16, 2)


def real_clips(count: int, seed: int, size: int = 64) -> Clips:
    """(n, 8, h, w, 3), every second frame as the preset `shapes` takes them."""
    clips = [render_clip(i, seed=seed, size=size, num_frames=16) for i in range(count)]
    return np.stack(clips)[:, ::2]


def blurred(clips: Clips, seed: int) -> Clips:
    """Outlines as by a camera out of focus: a Gaussian of 3 pixels."""
    offsets = torch.arange(-9, 10).float()
    kernel = torch.exp(-offsets.square() / 18)
    kernel = kernel / kernel.sum()
    x = torch.from_numpy(clips).float().movedim(-1, 2).flatten(0, 2)[:, None]
    x = F.conv2d(F.pad(x, (9, 9, 9, 9), mode="circular"), kernel[None, None, :, None])
    x = F.conv2d(x, kernel[None, None, None])
    count, frames, height, width, _ = clips.shape
    out = x.reshape(count, frames, 3, height, width).movedim(2, -1).round()
    return out.to(torch.uint8).numpy()


def two_figures(clips: Clips, seed: int) -> Clips:
    """A second, smaller figure of another color, which moves along opposite to the first."""
    return _rendered(len(clips), seed, _with_second)


def changing_color(clips: Clips, seed: int) -> Clips:
    """From the middle on the figure has another color."""
    return _rendered(
        len(clips),
        seed,
        lambda ground, shape, n: _painted(
            ground, _recolored(ground, shape) if n >= _FRAMES.stop // 2 else shape, n
        ),
    )


def changing_kind(clips: Clips, seed: int) -> Clips:
    """Circle, square, diamond, triangle from frame to frame."""
    return _rendered(
        len(clips),
        seed,
        lambda ground, shape, n: _painted(
            ground, replace(shape, kind=KINDS[(KINDS.index(shape.kind) + n // 2) % 4]), n
        ),
    )


def shuffled(clips: Clips, seed: int) -> Clips:
    """Frames in random order."""
    random = np.random.default_rng(seed)
    return np.stack([clip[random.permutation(len(clip))] for clip in clips])


def empty(clips: Clips, seed: int) -> Clips:
    """The ground alone."""
    return _rendered(len(clips), seed, lambda ground, shape, n: ground)


SPOILED: Mapping[str, Callable[[Clips, int], Clips]] = {
    "blurred": blurred,
    "two figures": two_figures,
    "changing color": changing_color,
    "changing kind": changing_kind,
    "shuffled": shuffled,
    "empty": empty,
}


def _rendered(count: int, seed: int, frame: Callable) -> Clips:
    """The clips of `real_clips`, each frame made by frame(ground, shape, number)."""
    made = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        ground = shapes._background(rng, 64)
        shape = shapes._shape(rng, ground, 64, index % 8)
        made.append(np.stack([frame(ground, shape, number) for number in _FRAMES]))
    return (np.stack(made).clip(0, 1) * 255).round().astype(np.uint8)


def _painted(ground: NDArray[np.float64], shape: shapes.Shape, number: int) -> NDArray[np.float64]:
    mask = shapes._coverage(shape, number, 64)[..., None]
    return ground * (1 - mask) + shape.color * mask


def _recolored(ground: NDArray[np.float64], shape: shapes.Shape) -> shapes.Shape:
    """In the corner of the color cube that is farthest from ground and shape."""
    corners = np.array(list(product((0.1, 0.9), repeat=3)))
    others = np.stack([shape.color, ground.mean(axis=(0, 1))])
    distances = np.linalg.norm(corners[:, None] - others, axis=-1).min(axis=1)
    return replace(shape, color=corners[distances.argmax()])


def _with_second(
    ground: NDArray[np.float64], shape: shapes.Shape, number: int
) -> NDArray[np.float64]:
    """Half a frame away at first, so that they touch at most later."""
    second = replace(
        _recolored(ground, shape),
        radius=shape.radius * 0.6,
        start=(shape.start[0] + 32, shape.start[1] + 32),
        velocity=(-shape.velocity[0], -shape.velocity[1]),
    )
    return _painted(_painted(ground, second, number), shape, number)
