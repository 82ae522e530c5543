"""The figure of a `shapes` clip: found in real clips, and its flaws in spoiled ones."""

import numpy as np
import pytest
from helpers.spoiled_shapes import SPOILED, real_clips

from latte_cli.evaluation.features.figures import find_figures
from latte_cli.evaluation.features.motion import Columns, direction_of, motion_of
from latte_cli.sources import shapes
from latte_cli.sources.shapes import render_clip


@pytest.fixture(scope="module")
def clips():
    return real_clips(24, seed=3)


def test_real_clips_hold_one_figure_of_the_right_kind_and_place(clips):
    for index, clip in enumerate(clips):
        found = find_figures(clip)
        kind, start, radius = truth(index, seed=3)
        assert (found.flaw, found.kind) == ("none", kind)
        assert found.overlap > 0.95
        first = found.figures[0]
        assert first.radius == pytest.approx(radius, abs=0.6)
        for ours, theirs in ((first.x, start[0]), (first.y, start[1])):
            assert abs((ours - theirs + 32) % 64 - 32) < 0.6


def truth(index: int, seed: int):
    """Kind, place and radius of a clip's shape, from the generator itself."""
    rng = np.random.default_rng([seed, index])
    shape = shapes._shape(rng, shapes._background(rng, 64), 64, index % 8)
    return shape.kind, shape.start, shape.radius


def test_larger_frames_are_judged_alike():
    found = find_figures(render_clip(3, size=128, num_frames=4))
    assert found.flaw == "none"
    assert found.overlap > 0.95


@pytest.mark.parametrize(
    ("how", "flaw"),
    [
        ("two figures", "several figures"),
        ("changing color", "several colors"),
        ("changing kind", "unclear shape"),
        ("empty", "no figure"),
    ],
)
def test_spoiled_clips_are_found(clips, how, flaw):
    flaws = [find_figures(clip).flaw for clip in SPOILED[how](clips, seed=3)]
    assert "none" not in flaws
    assert flaws.count(flaw) >= len(flaws) // 2


def test_both_estimates_of_the_direction_are_right_and_independent(clips):
    for index, clip in enumerate(clips):
        row = motion_of(clip)
        assert row[Columns.CORRELATED] == row[Columns.TRACKED] == index % 8
    shuffled = SPOILED["shuffled"](clips, seed=3)
    rows = np.array([motion_of(clip) for clip in shuffled])
    assert (rows[:, Columns.CORRELATED] != rows[:, Columns.TRACKED]).any()
    empty = motion_of(SPOILED["empty"](clips, seed=3)[0])
    assert empty[Columns.TRACKED] == -1
    assert direction_of(clips[5]) == 5


def test_a_figure_that_leaves_and_enters_is_one():
    """It crosses an edge in some frame of each of these clips, as most do."""
    clips = [render_clip(index, num_frames=16)[::2] for index in range(8)]
    crossing = [
        clip
        for clip in clips
        if any(x < 8 or x > 56 or y < 8 or y > 56
               for x, y in ((f.x, f.y) for f in find_figures(clip).figures))
    ]  # fmt: skip
    assert len(crossing) >= 4
    assert all(find_figures(clip).flaw == "none" for clip in crossing)
