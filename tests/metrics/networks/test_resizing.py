"""The resizes of the networks, against reference pixels and their definitions."""

import numpy as np
import pytest
import torch
from helpers.pseudo import golden, noise, squares

from latte_cli.metrics.networks.i3d import as_signal
from latte_cli.metrics.networks.resizing import (
    bilinear,
    bilinear_between_corners,
    bilinear_from_first,
)

CLIPS = {
    "noise_2x16x64x64_seed0": lambda: noise(2, 16, 64, 0),
    "squares_2x16x64x64_seed1": lambda: squares(2, 16, 64, 1),
    "squares_2x16x256x256_seed1": lambda: squares(2, 16, 256, 1),
}


@pytest.mark.parametrize("name", CLIPS)
def test_i3d_sees_what_the_reference_sees(name):
    clips, known = CLIPS[name](), golden("preprocess.json")[name]
    assert clips.long().sum().item() == known["clip_check"]["sum"]
    seen = as_signal(clips)
    assert list(seen.shape) == known["i3d_input"]["shape"]
    assert seen.double().sum().item() == pytest.approx(known["i3d_input"]["sum"], abs=20)
    first, inside = seen[0, 0, 0, 0, :8], seen[1, 2, 15, 111, 100:108]
    assert first.tolist() == pytest.approx(known["i3d_input"]["at_0_0_0_0_0_8"], abs=5e-5)
    assert inside.tolist() == pytest.approx(known["i3d_input"]["at_1_2_15_111_100_108"], abs=5e-5)


def along(row, places):
    """Values of a row at places between its pixels."""
    return np.interp(np.clip(places, 0, len(row) - 1), np.arange(len(row)), row)


@pytest.mark.parametrize(("length", "size"), [(10, 7), (7, 10), (5, 5)])
def test_each_resize_takes_its_own_grid(length, size):
    row = torch.randn(length, dtype=torch.float64)
    plane = row.expand(1, 1, length, length)
    number = np.arange(size)
    grids = {
        bilinear: (number + 0.5) * length / size - 0.5,
        bilinear_from_first: number * length / size,
        bilinear_between_corners: number * (length - 1) / (size - 1),
    }
    for resize, places in grids.items():
        expected = along(row.numpy(), places)
        for found in (resize(plane, size)[0, 0], resize(plane.mT, size)[0, 0].mT):
            np.testing.assert_allclose(found, np.tile(expected, (size, 1)), atol=1e-6)
