"""A picture as the first frame: bit depths, color modes, transparency."""

import numpy as np
import pytest
import torch
from PIL import Image

from latte_cli.runtime.errors import DataError
from latte_cli.sampling.pictures.first_frame import first_frame_latents
from latte_cli.vae import LatentCodec, Moments

SIDE = 16
RAMP = np.arange(SIDE * SIDE, dtype=np.uint8).reshape(SIDE, SIDE)
RGB = np.stack([RAMP, RAMP.T, RAMP[::-1]], axis=2)


@pytest.fixture
def codec(monkeypatch):
    """An identity autoencoder, so that latents are pixels."""

    def identity(self, signal):
        return Moments(signal, torch.zeros_like(signal))

    monkeypatch.setattr(LatentCodec, "encode", identity)
    codec = LatentCodec.load("embedded")
    codec.scaling_factor = 1.0
    return codec


def first_frame(codec, path):
    """The first frame of a picture, (h, w, 3) uint8."""
    latents = first_frame_latents(path, codec, SIDE, SIDE)
    assert latents.shape == (1, 1, 3, SIDE, SIDE)
    return ((latents[0, 0].permute(1, 2, 0) + 1) * 127.5).round().numpy().astype(np.uint8)


def gray(ramp):
    return np.stack([ramp] * 3, axis=2)


def test_8_bit_colors_are_unchanged(codec, tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    assert np.array_equal(first_frame(codec, tmp_path / "a.png"), RGB)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_16_bit_gray_is_rounded_to_8_bits(codec, tmp_path, name):
    """White is 65535 = 255 * 257 (PNG specification, section 13.12)."""
    deep = RAMP.astype(np.uint16) * 257
    deep[RAMP < 255] += 100
    Image.fromarray(deep).save(tmp_path / name)
    assert np.array_equal(first_frame(codec, tmp_path / name), gray(RAMP))


def test_16_bit_gray_is_read_in_either_byte_order(codec, tmp_path):
    picture = Image.fromarray(RAMP.astype(np.uint16) * 257)
    picture.save(tmp_path / "a.tif")
    Image.frombytes("I;16B", picture.size, (RAMP.astype(">u2") * 257).tobytes()).save(
        tmp_path / "b.tif"
    )
    assert (tmp_path / "b.tif").read_bytes()[:2] == b"MM"
    for name in ("a.tif", "b.tif"):
        assert np.array_equal(first_frame(codec, tmp_path / name), gray(RAMP))


@pytest.mark.parametrize(("mode", "message"), [("F", "float"), ("I", "32-bit")])
def test_pixels_without_a_defined_white_raise(codec, tmp_path, mode, message):
    Image.fromarray(RAMP).convert(mode).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=rf"a\.tif: its pixels are {message} numbers") as caught:
        first_frame_latents(tmp_path / "a.tif", codec, SIDE, SIDE)
    assert "8-bit PNG" in caught.value.hint


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK"])
def test_other_color_modes_are_converted_by_pillow(codec, tmp_path, mode):
    picture = Image.fromarray(RGB).convert(mode)
    picture.save(tmp_path / "a.tif")
    assert np.array_equal(first_frame(codec, tmp_path / "a.tif"), np.array(picture.convert("RGB")))


def test_16_bit_gray_is_turned_upright(codec, tmp_path):
    """Orientation 6 of Exif: the first row is the right side."""
    turned = Image.fromarray(RAMP.astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(first_frame(codec, tmp_path / "a.png"), gray(np.rot90(RAMP, -1)))


@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "color"])
def test_transparent_pixels_are_blended_with_white(codec, tmp_path, kind):
    color, alpha = np.full((SIDE, SIDE, 3), 50, np.uint8), np.full((SIDE, SIDE), 255, np.uint8)
    alpha[:, :8] = 0
    expected = np.where(alpha[..., None] == 0, 255, color)
    path, options = tmp_path / "a.png", {}
    if kind == "RGBA":
        alpha[:, 8:12] = 102  # 0.4 of 50 and 0.6 of 255
        expected[:, 8:12] = 173
        picture = Image.fromarray(np.dstack([color, alpha]))
    elif kind == "LA":
        picture = Image.fromarray(np.dstack([color[..., 0], alpha]))
    elif kind == "palette":
        picture = Image.fromarray((alpha > 0).astype(np.uint8)).convert("P")
        picture.putpalette([90, 0, 0, 50, 50, 50])
        options["transparency"] = 0
    else:
        color[:, :8] = (90, 0, 0)
        picture, options["transparency"] = Image.fromarray(color), (90, 0, 0)
    picture.save(path, **options)
    assert np.array_equal(first_frame(codec, path), expected)
