"""How the networks resize their input, against reference pixels and the definitions."""

import numpy as np
import pytest
import torch
from helpers.pseudo import golden, noise, squares

from latte_cli.metrics.networks.c3d import C3D
from latte_cli.metrics.networks.i3d import preprocess
from latte_cli.metrics.networks.inception import resize_tensorflow1

CLIPS = {
    "noise_2x16x64x64_seed0": lambda: noise(2, 16, 64, 0),
    "squares_2x16x64x64_seed1": lambda: squares(2, 16, 64, 1),
    "squares_2x16x256x256_seed1": lambda: squares(2, 16, 256, 1),
}


@pytest.mark.parametrize("name", CLIPS)
def test_i3d_preprocesses_clips_like_the_reference(name):
    clips, known = CLIPS[name](), golden("preprocess.json")[name]
    assert clips.long().sum().item() == known["clip_check"]["sum"]
    seen = preprocess(clips)
    assert list(seen.shape) == known["i3d_input"]["shape"]
    assert seen.double().sum().item() == pytest.approx(known["i3d_input"]["sum"], abs=20)
    first, inside = seen[0, 0, 0, 0, :8], seen[1, 2, 15, 111, 100:108]
    assert first.tolist() == pytest.approx(known["i3d_input"]["at_0_0_0_0_0_8"], abs=5e-5)
    assert inside.tolist() == pytest.approx(known["i3d_input"]["at_1_2_15_111_100_108"], abs=5e-5)


def interpolated(row, positions):
    """Values of a row at positions between its pixels."""
    return np.interp(np.clip(positions, 0, len(row) - 1), np.arange(len(row)), row)


@pytest.mark.parametrize(("length", "size"), [(10, 7), (7, 10), (5, 5)])
def test_inception_resizes_like_tensorflow_1(length, size):
    row = torch.randn(length, dtype=torch.float64)
    plane = row.expand(1, 1, length, length)
    expected = np.tile(interpolated(row.numpy(), np.arange(size) * length / size), (size, 1))
    for found in (
        resize_tensorflow1(plane, size)[0, 0],
        resize_tensorflow1(plane.mT, size)[0, 0].mT,
    ):
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("length", [60, 300])
def test_i3d_aligns_pixel_centers_and_c3d_aligns_corners(length):
    row = torch.randint(0, 256, (length,), dtype=torch.uint8)
    clips = row[:, None].expand(1, 16, length, length, 3)
    number = np.arange(224)
    expected = interpolated(row.numpy(), (number + 0.5) * length / 224 - 0.5) / 127.5 - 1
    np.testing.assert_allclose(preprocess(clips)[0, 1, 3, 50], expected, atol=2e-4)
    expected = interpolated(row.numpy(), np.arange(112) * (length - 1) / 111)
    np.testing.assert_allclose(C3D().preprocess(clips)[0, 1, 3, 50], expected, atol=2e-2)
