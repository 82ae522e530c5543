"""PSNR and SSIM, against their definitions written out pixel by pixel."""

import math

import numpy as np
import pytest
import torch
from helpers.pseudo import noise, squares

from latte_cli.metrics import psnr, ssim
from latte_cli.runtime.errors import ShapeError


def frames():
    a = squares(2, 3, 20, 1)
    b = (a.int() + torch.randint(-20, 21, a.shape)).clamp(0, 255).byte()
    return a, b


def test_psnr_is_the_mean_square_in_decibels():
    a = torch.full((2, 4, 5, 3), 100, dtype=torch.uint8)
    b = a.clone()
    b[1, :, :, 0] = 110  # 100 of a third of all values
    assert psnr(a, b).tolist() == [math.inf, pytest.approx(10 * math.log10(255**2 * 3 / 100))]


def test_ssim_equals_the_explicit_mean_over_windows():
    a, b = (clip[0, 0] for clip in frames())
    places = np.arange(11) - 5
    window = np.exp(-(places[:, None] ** 2 + places**2) / (2 * 1.5**2))
    window /= window.sum()
    values = []
    for channel in range(3):
        x, y = (clip[..., channel].numpy().astype(float) for clip in (a, b))
        for top in range(10):
            for left in range(10):
                u, v = (z[top : top + 11, left : left + 11] for z in (x, y))
                mean_u, mean_v = (window * u).sum(), (window * v).sum()
                var_u, var_v = (
                    (window * (u - mean_u) ** 2).sum(),
                    (window * (v - mean_v) ** 2).sum(),
                )
                both = (window * (u - mean_u) * (v - mean_v)).sum()
                c1, c2 = 2.55**2, 7.65**2
                values.append(
                    (2 * mean_u * mean_v + c1) * (2 * both + c2)
                    / ((mean_u**2 + mean_v**2 + c1) * (var_u + var_v + c2))
                )  # fmt: skip
    assert ssim(a, b).item() == pytest.approx(np.mean(values), rel=1e-9)


def test_ssim_of_constant_frames_compares_brightness():
    a = torch.full((1, 12, 12, 3), 50, dtype=torch.uint8)
    b = torch.full((1, 12, 12, 3), 80, dtype=torch.uint8)
    c1 = 2.55**2
    assert ssim(a, b).item() == pytest.approx((2 * 50 * 80 + c1) / (50**2 + 80**2 + c1))


def test_psnr_and_ssim_are_symmetric_with_one_number_per_frame():
    a, b = frames()
    for measure in (psnr, ssim):
        assert measure(a, b).shape == (2, 3)
        assert measure(a, b).dtype == torch.float64
        torch.testing.assert_close(measure(a, b), measure(b, a))
        torch.testing.assert_close(measure(a, b)[1, 2], measure(a[1, 2], b[1, 2]))
    torch.testing.assert_close(ssim(a, a), torch.ones(2, 3, dtype=torch.float64))


def test_mismatched_frames_are_an_error():
    clips = noise(1, 2, 12, 0)
    for measure in (psnr, ssim):
        with pytest.raises(ShapeError, match="must be the same"):
            measure(clips, clips[:, :1])
        with pytest.raises(ShapeError, match="must be the same"):
            measure(clips[..., :2], clips[..., :2])
    with pytest.raises(ShapeError, match=r"frames of 12 x 10 pixels, .*at least 11 x 11") as error:
        ssim(clips[..., :10, :, :], clips[..., :10, :, :])
    assert "leave SSIM out" in error.value.hint
