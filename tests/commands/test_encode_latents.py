"""`latte encode-latents` through the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import fail, succeed
from diffusers import AutoencoderTiny
from helpers.small_data import BYTES_A_VIDEO, COUNT, contents, copy_data, encode, videos_of, words
from safetensors.torch import load_file

from latte_cli.data.frames import prepare_frame
from latte_cli.data.latents import plan as latent_plan
from latte_cli.data.latents.reading import LatentSet
from latte_cli.data.latents.shards import shard_files
from latte_cli.data.manifest import read_dataset
from latte_cli.vae import LatentCodec, to_signal
from latte_cli.video_io import read_video, write_video


@pytest.fixture
def data(world, tmp_path) -> Path:
    return copy_data(world, tmp_path)


@pytest.fixture
def two_a_shard(monkeypatch) -> None:
    monkeypatch.setattr(latent_plan, "SHARD_BYTES", 2 * BYTES_A_VIDEO)


def test_latents_are_the_posterior_of_every_frame_of_both_views(data):
    """A mirrored view is encoded, not mirrored: an autoencoder does not commute with a flip."""
    shown = encode(data, "--flip")
    assert (shown["videos"], shown["encoded_now"], shown["frames"]) == (COUNT, COUNT, COUNT * 32)
    dataset, latents = read_dataset(data), LatentSet.open(Path("l"))
    assert latents.meta.classes == dataset.classes
    assert [video.sha256 for video in latents.videos] == [video.sha256 for video in dataset.videos]
    codec = LatentCodec.load("embedded")
    video = latents.videos[3]
    for flip in (False, True):
        frames = torch.from_numpy(read_video(video.path))
        expected = codec.encode(to_signal(frames.flip(2) if flip else frames)[None])
        stored = latents.moments(video, 0, 32, flip=flip)
        torch.testing.assert_close(stored.mean, expected.mean[0], atol=2e-3, rtol=2e-3)
        torch.testing.assert_close(stored.std, expected.std[0], atol=1e-3, rtol=2e-3)
    mirrored = latents.moments(video, 0, 32).mean.flip(-1)
    assert (mirrored - latents.moments(video, 0, 32, flip=True).mean).abs().max() > 0.1


def test_the_folder_holds_shards_index_and_metadata_and_nothing_else(data, two_a_shard):
    encode(data)
    shards = [path.name for path in shard_files(Path("l"))]
    assert len(shards) == COUNT // 2
    assert set(contents(Path("l"))) == {*shards, "index.jsonl", "meta.json"}
    rows = [json.loads(line) for line in Path("l/index.jsonl").read_text().splitlines()]
    assert [row["position"] for row in rows] == [0, 1] * (COUNT // 2)
    assert {row["shard"] for row in rows} == set(shards)
    assert len(load_file(Path("l") / rows[0]["shard"])) == 4


@pytest.mark.parametrize("crop", ["crop-resize", "resize-crop"])
def test_both_crops_are_taken_and_recorded(tmp_path, crop):
    generator = np.random.default_rng(0)
    frames = np.kron(generator.integers(0, 256, (4, 9, 12, 3)), np.ones((1, 5, 5, 1))).astype("u1")
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in" / "x.mp4", frames[:, :44, :58], 8)
    succeed("prepare", "folder", "--source=in", "--out=data")
    encode(Path("data"), f"--crop={crop}")
    latents = LatentSet.open(Path("l"))
    assert latents.meta.crop == crop
    shown = [prepare_frame(frame, 32, crop) for frame in read_video(tmp_path / "in" / "x.mp4")]
    signal = to_signal(torch.from_numpy(np.stack(shown)))
    expected = LatentCodec.load("embedded").encode(signal[None]).mean[0]
    stored = latents.moments(latents.videos[0], 0, 4).mean
    torch.testing.assert_close(stored, expected, atol=2e-3, rtol=2e-3)


def test_tiny_autoencoders_have_no_deviation_and_any_number_of_channels(data, tmp_path):
    vae = AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8),
        decoder_block_out_channels=(8, 8, 8),
        num_encoder_blocks=(1, 1, 1),
        num_decoder_blocks=(1, 1, 1),
        latent_channels=5,
        scaling_factor=0.7,
    )
    vae.save_pretrained(tmp_path / "tiny")
    given = ["-o", "vae.latent_channels=5", "-o", "vae.downsample=4", f"--vae={tmp_path / 'tiny'}"]
    shown = encode(data, *given, "--preview=1")
    assert shown["videos"] == COUNT
    latents = LatentSet.open(Path("l"))
    assert (latents.meta.latent_channels, latents.meta.scaling_factor) == (5, 0.7)
    stored = latents.moments(latents.videos[0], 0, 3)
    assert stored.mean.shape == (3, 5, 8, 8)
    assert (stored.std == 0).all()
    frames = to_signal(torch.from_numpy(read_video(latents.videos[0].path, range(3))))
    torch.testing.assert_close(stored.mean, vae.encode(frames).latents, atol=2e-3, rtol=2e-3)


def test_unreadable_videos_are_reported_and_left_out(data, two_a_shard):
    first, second, third, *_ = videos_of(data)
    first.unlink()
    second.write_bytes(second.read_bytes()[:200])
    third.write_bytes(b"")
    result = succeed("--json", *words(data))
    shown = json.loads(result.stdout)
    assert (shown["videos"], shown["unreadable"]) == (COUNT - 3, 3)
    said = " ".join(result.stderr.split())
    for path, reason in ((first, "no such file"), (second, "changed"), (third, "empty")):
        assert f"{path}: " in said
        assert reason in said
    assert len(LatentSet.open(Path("l")).videos) == COUNT - 3
    assert not Path("l/.encoding").exists()
    manifest = data / "manifest.jsonl"
    manifest.write_text(manifest.read_text().splitlines(keepends=True)[0])
    assert "no video could be encoded" in fail(*words(data, "--out=none"))


def test_previews_show_original_and_reconstruction_with_their_psnr(data):
    result = succeed("--json", *words(data, "--preview=2"))
    psnr = json.loads(result.stdout)["preview_psnr_db"]
    assert 20 < psnr < 40
    previews = sorted(Path("l/previews").iterdir())
    assert len(previews) == 2
    values = [float(line.split()[-2]) for line in result.stderr.splitlines() if " dB" in line]
    assert sum(values) / 2 == pytest.approx(psnr, abs=0.06)
    shown = read_video(previews[0])
    assert shown.shape == (32, 36, 70, 3)
    original = read_video(videos_of(data)[0]).astype(float)
    left, right = (shown[:, 2:34, x : x + 32] for x in (2, 36))
    assert np.abs(left - original).mean() < np.abs(right - original).mean() < 20
    videos_of(data)[1].unlink()
    result = succeed("--json", *words(data, "--preview=2"))
    assert "no preview: " in result.stderr


def test_a_previews_name_is_shortened(tmp_path):
    """A name has at most 255 bytes; an emoji takes four."""
    name = "x" + 62 * "\N{CAT FACE}"
    write_video(tmp_path / "in" / "x.mp4", np.zeros((2, 32, 32, 3), np.uint8), 8)
    (tmp_path / "in" / "x.mp4").rename(tmp_path / "in" / f"{name}.mp4")
    succeed("prepare", "folder", "--source=in", "--out=data")
    assert encode(Path("data"), "--preview=1")["preview_psnr_db"] > 20
    (preview,) = Path("l/previews").iterdir()
    shown = preview.stem.removeprefix("000-")
    assert len(shown) > 20
    assert name.startswith(shown), "no character is split"


def test_info_counts_what_is_there(data):
    encode(data)
    shown = json.loads(succeed("--json", *words(data, "--info")).stdout)
    rates = {video.fps for video in read_dataset(data).videos}
    assert rates == {8.0}
    size = sum(path.stat().st_size for path in shard_files(Path("l")))
    expected = {
        "vae": "embedded",
        "size": 32,
        "crop": "crop-resize",
        "flip": False,
        "videos": COUNT,
        "missing": 0,
        "frames": COUNT * 32,
        "bytes": size,
        "hours": COUNT * 32 / 8 / 3600,
        "clips": COUNT * (32 - 15 + 1),  # 8 frames, every second: 15 source frames
        "too_short": 0,
    }
    assert {name: shown[name] for name in expected} == expected
    longer = json.loads(succeed("--json", *words(data, "--info", "-o", "data.frames=17")).stdout)
    assert (longer["clips"], longer["too_short"]) == (0, COUNT)
    assert "no latents here" in fail(*words(data, "--info", "--out=none"))


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage", [Path.unlink, cut_in_half, lambda path: path.write_bytes(b"")])
def test_info_counts_the_videos_of_lost_shards_as_missing(data, two_a_shard, damage):
    encode(data)
    damage(shard_files(Path("l"))[1])
    result = succeed("--json", *words(data, "--info"))
    shown = json.loads(result.stdout)
    assert (shown["videos"], shown["missing"]) == (COUNT - 2, 2)
    assert shown["frames"] == (COUNT - 2) * 32
    assert "1 shards are missing or damaged" in result.stderr
    assert encode(data)["encoded_now"] == 2
    assert json.loads(succeed("--json", *words(data, "--info")).stdout)["missing"] == 0


def test_info_counts_what_a_killed_run_has_finished(data, two_a_shard):
    """Its index is that of the start: empty."""
    encode(data)
    Path("l/index.jsonl").write_text("")
    Path("l/.encoding").mkdir()
    shard_files(Path("l"))[1].unlink()
    shown = json.loads(succeed("--json", *words(data, "--info")).stdout)
    assert (shown["videos"], shown["missing"]) == (COUNT - 2, 2)


def test_latents_that_are_not_finite_are_not_stored(data, monkeypatch):
    original = LatentCodec.encode

    def rubbish(codec, signal):
        moments = original(codec, signal)
        moments.mean[0, 0, 0, 0, 0] = float("nan")
        return moments

    monkeypatch.setattr(LatentCodec, "encode", rubbish)
    assert "numbers that are not finite" in fail(*words(data))
    assert shard_files(Path("l")) == []


def test_a_preset_is_not_required(data):
    given = (f"--data={data}", "--vae=embedded", "--size=16", "--no-flip", "--out=l")
    shown = json.loads(succeed("--json", "encode-latents", *given).stdout)
    assert shown["videos"] == COUNT


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "nothing to encode"),
        (["--preset=shapes"], "no prepared data set"),
        (["--preset=shaps"], "did you mean `shapes`"),
        (["--data=nowhere", "--vae=embedded"], "no prepared data set"),
        (["--preset=shapes", "--size=30"], "multiple of 16"),
        (["--preset=shapes", "--crop=none"], "crop"),
        (["--preset=shapes", "--verify", "--info"], "exclude each other"),
    ],
)
def test_wrong_arguments_raise_an_error(given, message):
    assert message in fail("encode-latents", *given)


def test_a_missing_autoencoder_raises_an_error(data):
    said = fail("encode-latents", "--preset=ucf101", f"--data={data}")
    assert "stabilityai/sd-vae-ft-ema: not found on this machine" in said
    assert "vae.path=FOLDER" in said
    assert "no such folder" in fail(*words(data, "--vae=./none"))
