"""The codec: the embedded autoencoder, and diffusers folders by the same path."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderKLTemporalDecoder, AutoencoderTiny
from safetensors.torch import load_file, save_file

from latte_cli.config import load_config
from latte_cli.config.locations import asset
from latte_cli.data.frames import prepare_frame
from latte_cli.runtime.errors import CheckpointError, ShapeError
from latte_cli.sources import shapes
from latte_cli.vae import LatentCodec, decode_pieces, load_codec, psnr, to_pixels, to_signal
from latte_cli.video_io import iter_frames


@pytest.fixture(scope="module")
def codec() -> LatentCodec:
    return LatentCodec.load("embedded")


@pytest.fixture
def folder(tmp_path):
    """A tiny random autoencoder saved in diffusers' own layout."""
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=3,
        norm_num_groups=4,
        scaling_factor=0.5,
    )
    vae.save_pretrained(tmp_path / "vae")
    return tmp_path / "vae"


def test_the_embedded_autoencoder_reconstructs_held_out_shapes(codec):
    """Seeds that its training never saw; the promise is 28 dB."""
    clips = np.concatenate([shapes.render_clip(i, seed=123)[::8] for i in range(24)])
    x = to_signal(torch.from_numpy(clips))[None]
    decoded = to_pixels(codec.decode(codec.encode(x).mean))[0]
    each = [psnr(a, b) for a, b in zip(torch.from_numpy(clips), decoded, strict=True)]
    assert sum(each) / len(each) >= 28


def test_the_embedded_autoencoder_reconstructs_real_video(codec, real_clips):
    """No promise, but a figure that the guide `inside` quotes: see there."""
    values = []
    for path in sorted((real_clips / "videos").glob("v_*.avi")):
        frame = prepare_frame(next(iter_frames(path)), 256)
        x = torch.from_numpy(frame.copy())[None, None]
        decoded = to_pixels(codec.decode(codec.encode(to_signal(x)).mean))
        values.append(psnr(x, decoded))
    assert min(values) > 18


def test_latents_of_shapes_have_unit_variance_once_scaled(codec):
    clips = np.stack([shapes.render_clip(i, seed=9)[:4] for i in range(8)])
    moments = codec.encode(to_signal(torch.from_numpy(clips)))
    assert moments.mean.shape == moments.std.shape == (8, 4, 4, 8, 8)
    assert 0.85 < float(moments.mean.std() * codec.scaling_factor) < 1.15
    assert (moments.std > 0).all()


def test_the_embedded_weights_are_small_and_in_diffusers_layout():
    weights = asset("autoencoder") / "diffusion_pytorch_model.safetensors"
    assert weights.stat().st_size <= 1_500_000
    assert json.loads((asset("autoencoder") / "config.json").read_text())["latent_channels"] == 4


def test_any_diffusers_folder_loads_by_the_same_path(folder):
    codec = LatentCodec.load(str(folder))
    assert (codec.latent_channels, codec.downsample, codec.scaling_factor) == (3, 2, 0.5)
    moments = codec.encode(torch.zeros(2, 1, 3, 8, 8))
    assert moments.mean.shape == (2, 1, 3, 4, 4)
    vae = AutoencoderKL.from_pretrained(folder)
    theirs = vae.encode(torch.zeros(1, 3, 8, 8)).latent_dist
    torch.testing.assert_close(moments.mean[0, 0], theirs.mean[0])
    torch.testing.assert_close(moments.std[1, 0], theirs.std[0])
    torch.testing.assert_close(
        codec.decode(moments.mean)[0, 0], vae.decode(theirs.mean).sample[0].clamp(-1, 1)
    )


@pytest.fixture
def tiny_folder(tmp_path):
    """An autoencoder without a posterior, with halves of its own and a shift."""
    vae = AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(4, 4, 4, 4),
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 1),
        latent_channels=6,
        scaling_factor=0.7,
        shift_factor=0.25,
    )
    vae.save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def temporal_folder(tmp_path):
    """An autoencoder whose decoder looks at several frames at once, as Latte-1's other one."""
    vae = AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=4,
        scaling_factor=0.3,
    )
    vae.save_pretrained(tmp_path / "temporal")
    return tmp_path / "temporal"


def test_tiny_autoencoders_have_latents_without_deviation(tiny_folder):
    codec = LatentCodec.load(str(tiny_folder))
    assert (codec.latent_channels, codec.downsample, codec.scaling_factor) == (6, 8, 0.7)
    frames = torch.rand(2, 3, 3, 16, 24) * 2 - 1
    moments = codec.encode(frames)
    assert moments.mean.shape == moments.std.shape == (2, 3, 6, 2, 3)
    assert (moments.std == 0).all()
    vae = AutoencoderTiny.from_pretrained(tiny_folder)
    theirs = vae.encode(frames[1]).latents
    torch.testing.assert_close(moments.mean[1], theirs - 0.25)
    torch.testing.assert_close(
        codec.decode(moments.mean)[1], vae.decode(theirs).sample.clamp(-1, 1), atol=1e-5, rtol=1e-4
    )


def test_a_shift_is_part_of_the_fingerprint(tiny_folder):
    first = LatentCodec.load(str(tiny_folder)).fingerprint
    config = json.loads((tiny_folder / "config.json").read_text())
    (tiny_folder / "config.json").write_text(json.dumps(config | {"shift_factor": 0.0}))
    assert LatentCodec.load(str(tiny_folder)).fingerprint != first


def test_temporal_decoders_see_the_frames_of_one_clip_together(temporal_folder):
    """Encoded a frame at a time; decoded 14 at once, as it was trained, and never across clips."""
    codec = LatentCodec.load(str(temporal_folder))
    assert (codec.latent_channels, codec.downsample, codec.scaling_factor) == (4, 2, 0.3)
    frames = torch.rand(2, 16, 3, 4, 4) * 2 - 1
    moments = codec.encode(frames)
    vae = AutoencoderKLTemporalDecoder.from_pretrained(temporal_folder)
    theirs = vae.encode(frames[1]).latent_dist
    torch.testing.assert_close(moments.mean[1], theirs.mean)
    torch.testing.assert_close(moments.std[1], theirs.std)
    decoded = codec.decode(moments.mean)
    for frames_together in (slice(0, 14), slice(14, 16)):
        latents = theirs.mean[frames_together]
        alone = vae.decode(latents, num_frames=len(latents)).sample.clamp(-1, 1)
        torch.testing.assert_close(decoded[1, frames_together], alone, atol=5e-5, rtol=1e-4)
    whole = vae.decode(theirs.mean, num_frames=16).sample.clamp(-1, 1)
    assert (decoded[1] - whole).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("sizes", "together", "held"),
    [([1] * 16, [14, 2], 14), ([16, 8, 8], [16, 8, 8], 16), ([3, 9, 8, 1], [12, 9], 20)],
)
def test_small_pieces_are_joined_for_temporal_decoders(temporal_folder, sizes, together, held):
    """As a queue hands them on: so many that no more than 14 are put together."""
    codec = LatentCodec.load(str(temporal_folder))
    latents = torch.randn(1, sum(sizes), 4, 2, 2)
    taken = []
    pieces = (taken.append(piece) or piece for piece in latents.split(sizes, dim=1))
    drawn = decode_pieces(codec, pieces, "a clip")
    found = [next(drawn)]
    assert sum(piece.shape[1] for piece in taken) == held, "the others are not waited for"
    parts = (latents / codec.scaling_factor).split(together, dim=1)
    expected = torch.cat([to_pixels(codec.decode(part))[0] for part in parts])
    assert np.array_equal(np.stack([*found, *drawn]), expected)


def test_encoding_in_chunks_equals_encoding_at_once(codec):
    x = torch.rand(2, 40, 3, 16, 16) * 2 - 1
    whole = codec.encode(x).mean
    torch.testing.assert_close(whole[1:, 35:], codec.encode(x[1:, 35:]).mean, atol=1e-5, rtol=1e-4)


def test_the_fingerprint_depends_on_weights_and_scale(folder):
    first = LatentCodec.load(str(folder)).fingerprint
    assert first == LatentCodec.load(str(folder)).fingerprint
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"scaling_factor": 0.6}))
    assert LatentCodec.load(str(folder)).fingerprint != first


def test_wrong_sizes_and_folders_raise_an_error(codec, tmp_path):
    with pytest.raises(ShapeError, match=r"20x16 .* multiples of 8"):
        codec.encode(torch.zeros(1, 1, 3, 16, 20))
    with pytest.raises(CheckpointError, match="holds no autoencoder"):
        LatentCodec.load(str(tmp_path))
    with pytest.raises(CheckpointError, match="no such folder"):
        LatentCodec.load("./nowhere")
    with pytest.raises(CheckpointError, match="hub cannot be reached"):
        LatentCodec.load("nobody/nothing")


def test_damaged_folders_raise_an_error(folder):
    """diffusers would go on with random weights in place of those that are missing."""
    path = folder / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    name = next(iter(weights))
    save_file({key: value for key, value in weights.items() if key != name}, path)
    with pytest.raises(CheckpointError, match=f"1 weights of the AutoencoderKL .* {name}"):
        LatentCodec.load(str(folder))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="holds no autoencoder"):
        LatentCodec.load(str(folder))
    config = json.loads((folder / "config.json").read_text())
    for damaged in (json.dumps(config | {"_class_name": "UNet2DModel"}), "[]", "{"):
        (folder / "config.json").write_text(damaged)
        with pytest.raises(
            CheckpointError, match=r"holds (a UNet2DModel, which is not an|no) autoencoder"
        ):
            LatentCodec.load(str(folder))


@pytest.mark.parametrize(
    ("name", "value"),
    [("scaling_factor", []), ("scaling_factor", 0), ("scaling_factor", "1"), ("shift_factor", [1])],
)
def test_a_scale_that_is_no_number_raises_an_error(folder, tmp_path, name, value):
    copy = shutil.copytree(folder, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {name: value}))
    with pytest.raises(CheckpointError, match=name):
        LatentCodec.load(str(copy))


def test_for_a_pipelines_folder_the_hint_names_its_autoencoder(folder):
    with pytest.raises(CheckpointError) as caught:
        LatentCodec.load(str(folder.parent))
    assert str(folder) in caught.value.hint


def test_an_autoencoder_that_differs_from_the_configuration_raises_an_error(folder):
    with pytest.raises(CheckpointError, match="3 latent channels and downsamples by 2") as caught:
        load_codec(load_config("shapes", [f"vae.path={folder}"]))
    assert "-o vae.latent_channels=3 -o vae.downsample=2" in caught.value.hint


def test_pixels_and_signal_are_inverse():
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).expand(1, 16, 16, 3)
    assert torch.equal(to_pixels(to_signal(pixels)), pixels)
    assert psnr(pixels, pixels) == float("inf")
    assert psnr(torch.zeros(4), torch.full((4,), 255)) == 0


def test_frames_are_cropped_to_the_center_and_resized():
    frame = np.zeros((20, 40, 3), np.uint8)
    frame[:, 10:30] = 200
    assert (prepare_frame(frame, 20) == 200).all(), "the sides are cut off"
    assert prepare_frame(frame, 8).shape == (8, 8, 3)
    assert (prepare_frame(frame, 8) == 200).all()
    ramp = np.repeat(np.arange(0, 240, 10, dtype=np.uint8)[None, :, None], 24, 0).repeat(3, 2)
    assert np.abs(np.diff(prepare_frame(ramp, 12)[6, 2:-2, 0].astype(int)) - 20).max() <= 1
