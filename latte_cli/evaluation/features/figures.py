"""Does a clip of `shapes` hold one figure, of one kind and one color, in every frame?

The ground of such a clip stands still and varies little, and the figure has one color that clearly
differs from it. So the pixels of a whole clip fall into two groups by color. The figure of a frame
is the pixels far from the ground; each kind of shape is placed where it covers them best.
"""

# Axes: f frames, h w height and width, n pixels or candidates, c color channels.

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from math import atan2, pi
from typing import Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from latte_cli.sources.shapes import KINDS, signed_distance

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Flaw = Literal["none", "no figure", "several figures", "several colors", "unclear shape"]
FLAWS: tuple[Flaw, ...] = get_args(Flaw)
"""What can be wrong with a clip, in the order in which it is looked for."""

_SIZE = 64
LEAST_CONTRAST = 0.35  # between figure and ground, as a distance of RGB in [0, 1]; data: > 0.6
_LEAST_AREA = 0.01  # of the frame: less is a speck, which costs overlap but is no second figure
_MOST_SPECKS = 30
_MOST_COLOR_ERROR = 0.15  # of the contrast: root mean square, inside the figure of a frame
_LEAST_OVERLAP = 0.85  # a circle covers the best square by 0.83, other pairs of kinds by less
_RADII = np.arange(8.0, 28.0, 1.0)  # pixels at 64; the data's are 14 to 20.5
_COARSE_ERROR = 0.06  # of an overlap, before positions are refined below a pixel
_COLOR_ROUNDS = 12


@dataclass(frozen=True)
class Figure:
    """The shape that fits one frame best.

    Attributes:
        overlap: intersection over union of the shape and the figure's pixels.
        x: of its center, in pixels at 64, from the left.
        y: from the top.
        radius: as `sources.shapes.Shape` has it, pixels at 64.
    """

    overlap: float
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class ClipFigures:
    """What a clip of `shapes` shows.

    Attributes:
        flaw: `none` if every frame holds exactly one figure, of the clip's kind and color.
        kind: that fits the frames best on average; empty without a figure.
        overlap: mean over frames of the intersection over union; 0 without a figure.
        figures: of each frame; empty without a figure.
    """

    flaw: Flaw
    kind: str = ""
    overlap: float = 0.0
    figures: tuple[Figure, ...] = ()

    @property
    def angle(self) -> float | None:
        """The direction of motion in radians, clockwise from right; None without a motion.

        It is that of the sum of the center's steps from frame to frame, each taken the short way
        round, as figures leave on one side and enter on the other.
        """
        centers = np.array([(figure.x, figure.y) for figure in self.figures])
        if len(centers) < 2:
            return None
        steps = (np.diff(centers, axis=0) + _SIZE / 2) % _SIZE - _SIZE / 2
        x, y = steps.sum(axis=0)
        return None if x == y == 0 else atan2(y, x) % (2 * pi)


def find_figures(frames: NDArray[np.uint8]) -> ClipFigures:
    """Find the ground and the figure of a clip, and fit each kind of shape to every frame.

    Args:
        frames: (f, h, w, 3) uint8 RGB, f >= 1; resized to 64 x 64 (bilinear, antialiased).
    """
    pixels = resized(frames)
    ground, figure = two_colors(pixels)
    contrast = float(np.linalg.norm(figure - ground))
    masks = np.linalg.norm(pixels - ground, axis=-1) > contrast / 2
    if contrast < LEAST_CONTRAST or masks.mean(axis=(1, 2)).min() < _LEAST_AREA:
        return ClipFigures("no figure")
    kind, figures = _fit_clip(masks)
    overlaps = [each.overlap for each in figures]
    flaw: Flaw = "none"
    if any(_count_parts(mask) != 1 for mask in masks):
        flaw = "several figures"
    elif _color_error(pixels, masks, figure) > _MOST_COLOR_ERROR * contrast:
        flaw = "several colors"
    elif min(overlaps) < _LEAST_OVERLAP:
        flaw = "unclear shape"
    return ClipFigures(flaw, kind, float(np.mean(overlaps)), figures)


def resized(frames: NDArray[np.uint8]) -> Floats:
    """(f, 64, 64, 3) in [0, 1]."""
    x = torch.from_numpy(frames).movedim(-1, 1).double() / 255
    if x.shape[-2:] != (_SIZE, _SIZE):
        x = F.interpolate(x, (_SIZE, _SIZE), mode="bilinear", antialias=True)
    pixels: Floats = x.movedim(1, -1).numpy()
    return pixels


def two_colors(pixels: Floats) -> tuple[Floats, Floats]:
    """The colors of ground and figure, (c,) each: 2-means over pixels; the ground has more."""
    points = pixels[:, ::2, ::2].reshape(-1, 3)  # enough for a color
    first = np.median(points, axis=0)
    centers = np.stack([first, points[np.linalg.norm(points - first, axis=1).argmax()]])
    for _ in range(_COLOR_ROUNDS):
        distances = np.linalg.norm(points[:, None] - centers, axis=-1)
        nearer = distances.argmin(axis=1).astype(bool)
        if nearer.all() or not nearer.any():
            break
        centers = np.stack([np.median(points[~nearer], axis=0), np.median(points[nearer], axis=0)])
    return (centers[1], centers[0]) if nearer.mean() > 0.5 else (centers[0], centers[1])


def _color_error(pixels: Floats, masks: Mask, color: Floats) -> float:
    """The largest over frames of the root mean square distance from a color, inside the masks.

    Outlines are left out, since they mix both colors.
    """
    inside = masks.copy()
    for axis in (1, 2):
        for shift in (-2, -1, 1, 2):
            inside &= np.roll(masks, shift, axis)
    squares = np.square(pixels - color).sum(axis=-1)
    return max(
        (
            float(np.sqrt(frame[mask].mean()))
            for frame, mask in zip(squares, inside, strict=True)
            if mask.any()
        ),
        default=0.0,
    )


def _count_parts(mask: Mask) -> int:
    """The number of connected parts, without specks; opposite sides of the frame touch.

    A second part ends the count, and so do very many specks, which are no figure either.
    """
    parts, left = 0, mask.copy()
    for _ in range(_MOST_SPECKS):
        if parts > 1 or left.sum() < _LEAST_AREA * left.size:
            return parts
        part = np.zeros_like(left)
        part.flat[left.argmax()] = True
        while True:
            grown = part.copy()
            for axis in (0, 1):
                grown |= np.roll(part, 1, axis) | np.roll(part, -1, axis)
            grown &= left
            if (grown == part).all():
                break
            part = grown
        parts += part.sum() >= _LEAST_AREA * left.size
        left &= ~part
    return 2


def _fit_clip(masks: Mask) -> tuple[str, tuple[Figure, ...]]:
    """The kind that fits all frames best, and its place and size in each.

    First over all whole pixels and radii, by correlation; then by ever smaller steps, for the kinds
    that may still be the best. What is no shape at all is not looked at more closely.
    """
    coarse = {kind: tuple(_fit_coarsely(mask, kind) for mask in masks) for kind in KINDS}
    nearest = max(KINDS, key=lambda name: _mean_overlap(coarse[name]))
    best = _mean_overlap(coarse[nearest])
    if best < _LEAST_OVERLAP - 2 * _COARSE_ERROR:
        return nearest, coarse[nearest]
    fine = {
        kind: tuple(_refine(mask, kind, each) for mask, each in zip(masks, figures, strict=True))
        for kind, figures in coarse.items()
        if _mean_overlap(figures) > best - _COARSE_ERROR
    }
    kind = max(fine, key=lambda name: _mean_overlap(fine[name]))
    return kind, fine[kind]


def _mean_overlap(figures: Sequence[Figure]) -> float:
    return float(np.mean([each.overlap for each in figures]))


def _fit_coarsely(mask: Mask, kind: str) -> Figure:
    """The whole pixels and radius at which a kind of shape overlaps the mask most."""
    spectra, areas = _templates(kind)
    spectrum = np.fft.rfft2(mask.astype(np.float64))
    shared = np.fft.irfft2(spectrum * spectra.conj(), mask.shape)  # (n, h, w)
    overlaps = shared / (areas[:, None, None] + mask.sum() - shared)
    number, y, x = np.unravel_index(overlaps.argmax(), overlaps.shape)
    return _figure(float(overlaps.max()), np.array([x, y, _RADII[number]], np.float64))


def _refine(mask: Mask, kind: str, best: Figure) -> Figure:
    """The best of ever smaller steps in place and radius."""
    step = 0.5
    while step >= 1 / 16:
        places = np.array([best.x, best.y, best.radius]) + step * _NEIGHBORS
        overlaps = _overlaps(mask, kind, places)
        number = int(overlaps.argmax())
        if overlaps[number] > best.overlap:
            best = _figure(overlaps[number], places[number])
        else:
            step /= 2
    return best


_NEIGHBORS = np.array([way for way in product((-1, 0, 1), repeat=3) if any(way)])


def _figure(overlap: float, place: Floats) -> Figure:
    x, y, radius = place.tolist()
    return Figure(float(overlap), x % _SIZE, y % _SIZE, radius)


def _overlaps(mask: Mask, kind: str, places: Floats) -> Floats:
    """Intersection over union of the mask with a kind of shape at each place, (n,)."""
    shapes = _covered(kind, places)
    shared = (shapes & mask).sum(axis=(1, 2))
    overlaps: Floats = shared / (shapes.sum(axis=(1, 2)) + mask.sum() - shared)
    return overlaps


def _covered(kind: str, places: Floats) -> Mask:
    """The pixels whose center lies inside a shape, (n, h, w).

    Args:
        kind: of the shape.
        places: x, y and radius, (n, 3).
    """
    pixels: Floats = np.arange(_SIZE, dtype=np.float64) + 0.5
    x, y, radius = (column[:, None, None] for column in places.T)
    dx: Floats = (pixels - x + _SIZE / 2) % _SIZE - _SIZE / 2
    dy: Floats = (pixels[:, None] - y + _SIZE / 2) % _SIZE - _SIZE / 2
    return signed_distance(kind, radius, dx, dy) < 0


@cache
def _templates(kind: str) -> tuple[NDArray[np.complex128], Floats]:
    """A kind at each of `_RADII`, around the origin: spectra (n, h, w // 2 + 1) and areas (n,)."""
    places = np.stack([np.zeros_like(_RADII), np.zeros_like(_RADII), _RADII], axis=1)
    masks = _covered(kind, places)
    return np.fft.rfft2(masks.astype(np.float64)), masks.sum(axis=(1, 2)).astype(np.float64)
