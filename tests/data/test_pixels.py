"""Clips straight from videos: the same clips as from latents, decoded no further than needed."""

import pytest
import torch
from conftest import fail, succeed, tiny
from PIL import Image

from latte_cli.config import load_config
from latte_cli.data import frames as frames_module
from latte_cli.data.clips import ClipSampler
from latte_cli.data.frames import prepare_frame
from latte_cli.data.latents.reading import LatentSet
from latte_cli.data.pixels import PixelStore
from latte_cli.runtime.errors import DataError, VideoError
from latte_cli.vae import LatentCodec
from latte_cli.video_io import reading


@pytest.fixture
def codec() -> LatentCodec:
    return LatentCodec.load("embedded")


def config(**values: object):
    words = tiny(data__interval=3, train__batch_size=5, **values)
    return load_config("shapes", words[1::2])


def test_clips_from_pixels_equal_those_from_latents(world, codec):
    latents = LatentSet.open(world.latents)
    encoded = ClipSampler(latents, config(), codec.scaling_factor).batch(3)
    pixels = PixelStore(world.root / "data" / "shapes", codec, config())
    fresh = ClipSampler(pixels, config(), codec.scaling_factor).batch(3)
    for name in ("noise", "t", "y"):
        assert torch.equal(getattr(encoded, name), getattr(fresh, name))
    # Latents are stored in float16.
    torch.testing.assert_close(encoded.x_start, fresh.x_start, atol=5e-3, rtol=5e-3)


def test_mirrored_clips_are_mirrored_before_they_are_encoded(world, codec):
    store = PixelStore(world.root / "data" / "shapes", codec, config())
    there, mirrored = (store.clip(0, range(2), flip=flip).mean for flip in (False, True))
    assert (there - mirrored).abs().max() > 0.1
    # An autoencoder does not commute with a flip, but comes near.
    assert (there.flip(-1) - mirrored).abs().mean() < (there - mirrored).abs().mean()


def test_only_needed_frames_are_decoded_and_resized(world, codec, monkeypatch):
    decoded, resized = [], []

    def counted(function, calls):
        def counting(*words):
            for frame in function(*words):
                calls.append(words)
                yield frame

        return counting

    def prepare(frame, *words):
        resized.append(words)
        return prepare_frame(frame, *words)

    monkeypatch.setattr(reading, "decord", None)
    monkeypatch.setattr(reading, "decoded", counted(reading.decoded, decoded))
    monkeypatch.setattr(frames_module, "prepare_frame", prepare)
    store = PixelStore(world.root / "data" / "shapes", codec, config())
    assert store.clip(0, range(4, 11, 3)).mean.shape[0] == 3
    assert (len(decoded), len(resized)) == (11, 3)


def test_of_a_folder_of_frames_only_the_clips_frames_are_opened(tmp_path, codec, monkeypatch):
    frames = tmp_path / "videos" / "a"
    frames.mkdir(parents=True)
    for number in range(12):
        Image.new("RGB", (32, 32), (20 * number, 0, 0)).save(frames / f"{number}.png")
    succeed("prepare", "folder", f"--source={tmp_path / 'videos'}", f"--out={tmp_path / 'out'}")
    store = PixelStore(tmp_path / "out", codec, config())
    opened = []
    original = Image.open
    monkeypatch.setattr(Image, "open", lambda path: (opened.append(path.stem), original(path))[1])
    store.clip(0, range(4, 11, 3))
    assert opened == ["4", "7", "10"]


def test_a_video_that_became_shorter_raises_an_error(world, codec):
    store = PixelStore(world.root / "data" / "shapes", codec, config())
    last = int(store.table.frames[0])
    with pytest.raises(VideoError, match=f"ends before frame {last + 1}, the manifest says {last}"):
        store.clip(0, range(last - 1, last + 2))


def test_a_run_trains_from_pixels(world, tmp_path):
    words = [*tiny(train__steps=2), "-o", "data.source=pixels", world.roots[0]]
    result = succeed("train", "--preset=shapes", *words, f"--runs-root={tmp_path}")
    assert "encode" not in result.stderr
    assert (tmp_path / "shapes" / "checkpoints" / "step-00000002").is_dir()


def test_a_missing_data_set_raises_an_error(world, codec, tmp_path):
    with pytest.raises(DataError, match="no prepared data set"):
        PixelStore(tmp_path, codec, config())
    words = [*tiny(), "-o", "data.source=pixels"]
    assert "no prepared data set" in fail("train", "--preset=shapes", *words)
