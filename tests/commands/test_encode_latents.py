"""`latte encode-latents` through the command line."""

import json
import shutil

import pytest
import torch
from conftest import fail, invoke, succeed

from latte_cli.commands import encode_latents as command
from latte_cli.data import latents as latents_module
from latte_cli.data.latents import LatentSet
from latte_cli.data.manifest import read_dataset
from latte_cli.vae import LatentCodec, to_signal
from latte_cli.video_io import read_video, write_video


@pytest.fixture
def data(world, tmp_path):
    """A data set of one's own to harm."""
    shutil.copytree(world.root / "data" / "shapes", tmp_path / "data" / "shapes")
    return tmp_path / "data"


def encode(*words):
    return succeed("--json", "encode-latents", "--preset=shapes", "--size=32", *words)


def test_latents_are_the_posterior_of_every_frame(world):
    dataset, latents = read_dataset(world.root / "data" / "shapes"), LatentSet.open(world.latents)
    assert len(latents.videos) == len(dataset.videos) == 16
    assert latents.meta.classes == dataset.classes
    video = latents.videos[3]
    assert video.frames == 32
    frames = read_video(video.path)
    posterior = LatentCodec.load("embedded").encode(to_signal(torch.from_numpy(frames))[None])
    stored = latents.moments(video, 0, 32)
    torch.testing.assert_close(stored.mean, posterior.mean[0], atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(stored.std, posterior.std[0], atol=1e-3, rtol=2e-3)


def test_mirrored_views_are_encoded_not_mirrored(data, tmp_path):
    encode(f"--data-root={data}", "--flip", f"--out={tmp_path / 'l'}")
    latents = LatentSet.open(tmp_path / "l")
    video = latents.videos[0]
    frames = torch.from_numpy(read_video(video.path, range(4))).flip(2)
    mirrored = LatentCodec.load("embedded").encode(to_signal(frames)[None]).mean[0]
    stored = latents.moments(video, 0, 4, flip=True).mean
    torch.testing.assert_close(stored, mirrored, atol=2e-3, rtol=2e-3)


def test_an_interrupted_encoding_goes_on(data, tmp_path, monkeypatch):
    monkeypatch.setattr(latents_module, "_SHARD_BYTES", 1)
    encoded, original = [], command._encode

    def stop_after_five(codec, frames, *, flip):
        if len(encoded) == 5:
            raise KeyboardInterrupt
        encoded.append(1)
        return original(codec, frames, flip=flip)

    monkeypatch.setattr(command, "_encode", stop_after_five)
    words = ("encode-latents", "--preset=shapes", "--size=32", f"--data-root={data}", "--out=l")
    assert invoke(*words).exit_code == 130
    monkeypatch.setattr(command, "_encode", original)
    result = succeed("--json", *words)
    assert "5 of 16 videos are there" in result.stderr
    assert json.loads(result.stdout)["encoded_now"] == 11
    succeed("encode-latents", "--preset=shapes", "--size=32", f"--data-root={data}", "--out=whole")
    for a, b in zip(
        LatentSet.open(tmp_path / "l").videos,
        LatentSet.open(tmp_path / "whole").videos,
        strict=True,
    ):
        assert a == b
    for path in (tmp_path / "whole").glob("shard-*"):
        assert path.read_bytes() == (tmp_path / "l" / path.name).read_bytes()


def test_latents_follow_the_manifest(data, tmp_path):
    """Videos that left it are left out, labels and splits are as they are now."""
    encode(f"--data-root={data}", "--out=l")
    manifest = data / "shapes" / "manifest.jsonl"
    first, *rest = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows = [{**row, "split": "test"} for row in rest]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = json.loads(encode(f"--data-root={data}", "--out=l").stdout)
    assert (shown["videos"], shown["encoded_now"]) == (15, 0)
    videos = LatentSet.open(tmp_path / "l").videos
    assert not [video for video in videos if video.path.endswith(first["path"])]
    assert {video.split for video in videos} == {"test"}


def test_a_video_that_changed_is_encoded_anew(data, tmp_path):
    words = (f"--data-root={data}", f"--out={tmp_path / 'l'}")
    encode(*words)
    path = sorted((data / "shapes" / "videos").iterdir())[0]
    write_video(path, read_video(path)[::-1], 8)
    succeed("prepare", "shapes", "--count=16", "--size=32", f"--data-root={data}")
    assert json.loads(encode(*words).stdout)["encoded_now"] == 1


def test_previews_show_both_and_tell_their_psnr(data, tmp_path):
    shown = json.loads(encode(f"--data-root={data}", "--out=l", "--preview=2").stdout)
    assert 15 < shown["preview_psnr_db"] < 60
    previews = sorted((tmp_path / "l" / "previews").iterdir())
    assert len(previews) == 2
    assert read_video(previews[0]).shape[1:] == (36, 70, 3)


def test_videos_that_went_bad_are_named_and_left_out(data, tmp_path):
    first, second, *_ = sorted((data / "shapes" / "videos").iterdir())
    first.unlink()
    second.write_bytes(second.read_bytes()[:200])
    result = encode(f"--data-root={data}", "--out=l")
    shown = json.loads(result.stdout)
    assert (shown["videos"], shown["unreadable"]) == (14, 2)
    assert first.name in result.stderr
    assert second.name in result.stderr


def test_other_latents_are_never_mixed_in(data):
    encode(f"--data-root={data}", "--out=l")
    words = ("encode-latents", "--preset=shapes", f"--data-root={data}", "--out=l")
    said = fail(*words, "--size=48")
    assert "size 32 instead of 48" in said
    assert "flip False instead of True" in fail(*words, "--size=32", "--flip")


def test_without_a_preset_the_flags_say_all(data):
    words = (f"--data={data / 'shapes'}", "--vae=embedded", "--size=16", "--no-flip", "--out=l")
    assert json.loads(succeed("--json", "encode-latents", *words).stdout)["videos"] == 16


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "nothing to encode"),
        (["--preset=shapes"], "no prepared data set"),
        (["--preset=shaps"], "did you mean `shapes`"),
        (["--data=nowhere", "--vae=embedded"], "no prepared data set"),
        (["--preset=shapes", "--size=30"], "multiple of 16"),
    ],
)
def test_wrong_words_are_told(words, told):
    assert told in fail("encode-latents", *words)


def test_an_autoencoder_that_is_not_here_is_told(data):
    said = fail("encode-latents", "--preset=ucf101", f"--data={data / 'shapes'}")
    assert "stabilityai/sd-vae-ft-ema: not found on this machine" in said
    assert "vae.path=FOLDER" in said
    assert "no such folder" in fail(
        "encode-latents", "--preset=shapes", f"--data-root={data}", "--vae=./none"
    )
