"""`shapes`: a procedural data set of colored shapes that drift over a still, textured background.

The eight classes are eight directions of motion, so whether a model follows its label can be
measured from pixels alone. A clip is a pure function of (seed, index). Captions name color, kind
and direction; some sentences describe test videos only, see `held_out_sentences`.
"""

# Axes: f frames, h height, w width, c color channels; x points right, y down.

import re
from collections.abc import Iterable, Iterator
from colorsys import rgb_to_hsv
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from math import cos, pi, radians, sin, sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latte_cli.data.manifest import SourceVideo
from latte_cli.video_io import write_video

DIRECTIONS_DEG = (0, 45, 90, 135, 180, 225, 270, 315)
CLASSES = tuple(f"{angle:03d}deg" for angle in DIRECTIONS_DEG)
FRAMES_PER_VIDEO = 32
FPS = 8.0

# Lengths are fractions of the frame size, so that every size shows the same scene.
_RADIUS = (0.22, 0.32)
_SPEED = (0.035, 0.06)
_MIN_CONTRAST = 0.6
_TEXTURE_WAVES = 4
_TEXTURE_DEPTH = 0.03
_HELD_OUT_EVERY = 10
_WRITERS = 4
KINDS = ("circle", "square", "diamond", "triangle")
COLORS = ("red", "yellow", "green", "cyan", "blue", "purple")
"""Names of hues, 60 degrees apart."""
GRAY = "gray"
DIRECTIONS = (
    *("right", "down and right", "down", "down and left"),
    *("left", "up and left", "up", "up and right"),
)
"""Words for the classes, in their order."""
_LEAST_SATURATION = 0.3  # of a color that has a hue to the eye
WORDINGS = (
    "a {color} {kind} moving {direction}",
    "a {color} {kind} moves {direction}",
    "a {kind} that is {color} moves {direction}",
    "{color} {kind}, moving {direction}",
)

HELD_OUT_COLORS = ("red", "green", "blue", "yellow")
"""Colors of the circles in `held_out_sentences`."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """One drifting shape; lengths in pixels, velocity in pixels per frame, color in [0, 1]."""

    kind: str
    radius: float
    color: Floats
    start: tuple[float, float]
    velocity: tuple[float, float]


def render_clip(
    index: int, *, seed: int = 0, size: int = 64, num_frames: int = FRAMES_PER_VIDEO
) -> NDArray[np.uint8]:
    """Render clip `index`; its label is `index % 8`.

    Args:
        index: of the clip in the data set, >= 0.
        seed: seed of the whole data set.
        size: height and width of the frames in pixels.
        num_frames: number of frames; a longer clip continues a shorter one.

    Returns:
        (f, h, w, 3) uint8 RGB. Positions wrap around, so shapes leave on one side and enter on
        the other.
    """
    background, shape = _scene(index, seed, size)
    frames = np.repeat(background[None], num_frames, axis=0)
    for number in range(num_frames):
        mask = _coverage(shape, number, size)[..., None]
        frames[number] = background * (1 - mask) + shape.color * mask
    return (frames.clip(0, 1) * 255).round().astype(np.uint8)


def captions_of(index: int, *, seed: int = 0, size: int = 64) -> tuple[str, ...]:
    """Sentences that say the color, the kind and the direction of clip `index`'s shape.

    Those of `held_out_sentences` are captions of test videos only.
    """
    _, shape = _scene(index, seed, size)
    direction = DIRECTIONS[label_of(index)]
    captions = sentences(color_name(shape.color), shape.kind, direction)
    if not is_test_video(index):
        captions = tuple(text for text in captions if text not in held_out_sentences())
    return captions


def sentences(color: str, kind: str, direction: str) -> tuple[str, ...]:
    """The same in each of the wordings."""
    return tuple(each.format(color=color, kind=kind, direction=direction) for each in WORDINGS)


@cache
def held_out_sentences() -> tuple[str, ...]:
    """Sentences that are the caption of no training video.

    Those of circles in four colors and eight directions, in the first wording. Training videos show
    such circles, and describe them in other words.
    """
    return tuple(
        sentences(color, "circle", direction)[0]
        for color in HELD_OUT_COLORS
        for direction in DIRECTIONS
    )


def direction_in(text: str) -> int | None:
    """The label of the direction that a text names; None unless it names exactly one."""
    found = _only_match(_DIRECTION, text)
    return None if found is None else DIRECTIONS.index(found)


def color_in(text: str) -> str | None:
    """The color that a text names; None unless it names exactly one."""
    return _only_match(_COLOR, text)


def _any_of(words: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(words, key=len, reverse=True)  # `up and left` is not `up`
    return re.compile(rf"\b(?:{'|'.join(longest_first)})\b")


_DIRECTION, _COLOR = _any_of(DIRECTIONS), _any_of((*COLORS, GRAY))


def _only_match(pattern: re.Pattern[str], text: str) -> str | None:
    found = set(pattern.findall(text.lower()))
    return found.pop() if len(found) == 1 else None


def color_name(color: Floats) -> str:
    """The name of an RGB color in [0, 1]: that of the nearest hue, or gray.

    Hue and saturation are those of HSV.
    """
    hue, saturation, _ = rgb_to_hsv(*color.tolist())
    return (
        COLORS[round(hue * len(COLORS)) % len(COLORS)] if saturation >= _LEAST_SATURATION else GRAY
    )


def label_of(index: int) -> int:
    """The class of clip `index`: eight consecutive clips have each direction once."""
    return index % len(DIRECTIONS_DEG)


def is_test_video(index: int) -> bool:
    """Whether clip `index` is in the `test` split: every tenth group of eight clips."""
    return index // len(CLASSES) % _HELD_OUT_EVERY == _HELD_OUT_EVERY - 1


def _scene(index: int, seed: int, size: int) -> tuple[Floats, Shape]:
    """The background and the shape of a clip."""
    rng = np.random.default_rng([seed, index])
    background = _background(rng, size)
    return background, _shape(rng, background, size, label_of(index))


def _background(rng: np.random.Generator, size: int) -> Floats:
    """A still background: one color with a faint periodic texture of a few long waves."""
    y, x = np.mgrid[0:size, 0:size] / size
    picture = np.broadcast_to(rng.uniform(0.25, 0.75, 3), (size, size, 3)).copy()
    for _ in range(_TEXTURE_WAVES):
        wave_x, wave_y = rng.integers(-2, 3, 2)
        wave = np.cos(2 * pi * (wave_x * x + wave_y * y) + rng.uniform(0, 2 * pi))
        picture += wave[..., None] * rng.uniform(-_TEXTURE_DEPTH, _TEXTURE_DEPTH, 3)
    return picture


def _shape(rng: np.random.Generator, background: Floats, size: int, label: int) -> Shape:
    angle, speed = radians(DIRECTIONS_DEG[label]), rng.uniform(*_SPEED) * size
    return Shape(
        kind=KINDS[rng.integers(len(KINDS))],
        radius=rng.uniform(*_RADIUS) * size,
        color=_contrasting_color(rng, background.mean(axis=(0, 1))),
        start=(rng.uniform(0, size), rng.uniform(0, size)),
        velocity=(speed * cos(angle), speed * sin(angle)),
    )


def _contrasting_color(rng: np.random.Generator, background: Floats) -> Floats:
    """A color that clearly differs from the background; some corner of the cube always does."""
    while True:
        color = rng.uniform(0.05, 0.95, 3)
        if np.linalg.norm(color - background) > _MIN_CONTRAST:
            return color


def _coverage(shape: Shape, number: int, size: int) -> Floats:
    """The share of each pixel that the shape covers in frame `number`: (h, w) in [0, 1]."""
    y, x = np.mgrid[0:size, 0:size] + 0.5
    center_x = shape.start[0] + number * shape.velocity[0]
    center_y = shape.start[1] + number * shape.velocity[1]
    dx = (x - center_x + size / 2) % size - size / 2
    dy = (y - center_y + size / 2) % size - size / 2
    return (0.5 - signed_distance(shape.kind, shape.radius, dx, dy)).clip(0, 1)


def signed_distance(kind: str, radius: float | Floats, dx: Floats, dy: Floats) -> Floats:
    """Distance to a shape's outline in pixels, negative inside (exact along edges).

    Args:
        kind: one of `KINDS`.
        radius: of the shape, pixels.
        dx: from its center to each pixel, to the right; any shapes that broadcast together.
        dy: the same, downwards.
    """
    if kind == "circle":
        return np.hypot(dx, dy) - radius
    if kind == "square":
        return np.maximum(abs(dx), abs(dy)) - 0.85 * radius
    if kind == "diamond":
        return (abs(dx) + abs(dy)) / sqrt(2) - 0.8 * radius
    sloped = sqrt(3) / 2 * abs(dx) - dy / 2
    return np.maximum(sloped, dy) - 0.6 * radius


def write_videos(
    folder: Path, count: int, *, seed: int = 0, size: int = 64
) -> Iterator[SourceVideo]:
    """Write clips as mp4 files, except those that exist; yield them all."""

    def write(index: int) -> SourceVideo:
        path = folder / f"{index:05d}-seed{seed}-{CLASSES[label_of(index)]}-{size}px.mp4"
        if not (path.is_file() and path.stat().st_size):  # a system crash may leave an empty file
            write_video(path, render_clip(index, seed=seed, size=size), FPS)
        caption, *others = captions_of(index, seed=seed, size=size)
        return SourceVideo(
            path,
            label=label_of(index),
            split="test" if is_test_video(index) else "train",
            caption=caption,
            more_captions=tuple(others),
        )

    with ThreadPoolExecutor(_WRITERS) as pool:  # ffmpeg does the work, in its own processes
        yield from pool.map(write, range(count))
