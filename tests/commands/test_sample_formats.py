"""What `latte sample` writes: mp4, GIF, pictures, npz; long clips, and those from a picture."""

import itertools

import numpy as np
import pytest
import torch
from conftest import fail
from helpers.sampling import generator, sample, sampled
from PIL import Image

from latte_cli.evaluation.sources.npz import NpzSource
from latte_cli.sampling.clip_stack import iter_clips, write_frames, write_stack
from latte_cli.sampling.generation import ClipRequest
from latte_cli.sources.shapes import CLASSES
from latte_cli.vae import LatentCodec, to_pixels, to_signal
from latte_cli.video_io import read_video


def test_npz_is_lossless(world, tmp_path):
    result = sampled(world, "-n", 5, "--seed=3", "--format=npz", "--out=s")
    with np.load(tmp_path / "s/clips.npz") as arrays:
        clips, labels, seeds = arrays["clips"], arrays["labels"], arrays["seeds"]
    assert (clips.dtype, clips.shape) == (np.uint8, (5, 4, 32, 32, 3))
    assert (labels.tolist(), seeds.tolist()) == ([0, 1, 2, 3, 4], [3] * 5)
    requests = [ClipRequest(index, 3, index) for index in range(5)]
    expected = list(generator(world, "sample.batch=2").clips(requests))
    assert np.array_equal(clips, np.stack(expected))
    assert result["clips"] == 5
    names = sorted(path.name for path in (tmp_path / "s").iterdir())
    assert names == ["clips.npz", "grid.png", "samples.jsonl", "settings.json"]
    source = NpzSource(tmp_path / "s/clips.npz", None, "crop-resize")
    assert [video.label for video in source.videos] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("fmt", ["gif", "png"])
def test_other_formats_have_the_same_frames(world, tmp_path, fmt):
    sampled(world, "-n", 2, f"--format={fmt}", "--out=s")
    requests = [ClipRequest(index, 0, index) for index in range(2)]
    clips = [clip.astype(int) for clip in generator(world).clips(requests)]
    suffix = ".gif" if fmt == "gif" else ""
    for index, frames in enumerate(clips):
        name = f"0000{index}-seed0-label{index}-{CLASSES[index]}{suffix}"
        got = read_video(tmp_path / "s" / name)
        if fmt == "png":
            assert np.array_equal(got, frames)
        else:  # 256 colours a frame
            far = np.abs(got - clips[1 - index]).mean()
            assert np.abs(got - frames).mean() < far / 5
    with Image.open(tmp_path / "s/grid.png") as grid:
        assert grid.size == (8 * 32 + 4, 2 * (16 + 34) + 2), "a line of text over each row"


@pytest.mark.parametrize("name", ["clip.mp4", "clip.gif", "clip.npz", "clip.png"])
def test_the_suffix_sets_the_format_of_a_single_file(world, tmp_path, name):
    frames = 1 if name == "clip.png" else 4
    number = 3 if name == "clip.npz" else 1
    words = ("-n", 3) if number == 3 else ()
    result = sampled(world, *words, "--frames", frames, "-o", name, "-o", "sample.eta=0")
    assert result["clips"] == number
    assert [path.name for path in tmp_path.iterdir()] == [name]
    if name == "clip.npz":
        assert np.load(name)["clips"].shape == (3, 4, 32, 32, 3)
        assert sampled(world, *words, "--frames", frames, "-o", name)["sampled_now"] == 0
    elif name == "clip.png":
        with Image.open(name) as picture:
            assert picture.size == (32, 32)
    else:
        assert read_video(name).shape == (4, 32, 32, 3)


def test_long_clips_begin_with_the_picture(world, tmp_path):
    picture = np.full((32, 32, 3), (200, 40, 90), np.uint8)
    Image.fromarray(picture).save(tmp_path / "first.png")
    words = ("-n", 1, "--long=11", "--overlap=1", "--format=npz", "--image=first.png", "--out=s")
    sampled(world, *words)
    clip = np.load(tmp_path / "s/clips.npz")["clips"][0]
    assert clip.shape == (11, 32, 32, 3)
    codec = LatentCodec.load("embedded")
    mean = codec.encode(to_signal(torch.from_numpy(picture)[None, None])).mean
    seen = to_pixels(codec.decode(mean))[0, 0].numpy()
    assert np.abs(clip[0].astype(int) - seen).max() <= 1
    assert "long.frames 11 against 12" in fail(*sample(world, *words[:-1], "--long=12", "--out=s"))


def test_a_long_clip_is_yielded_while_it_is_sampled(world):
    from latte_cli.sampling.long_plan import LongClipPlan

    steps = []
    frames = generator(world).long_clip(ClipRequest(0, 0, 1), LongClipPlan(40, 4, 2), steps.append)
    next(frames)
    assert len(steps) == 4, "one window of four steps"
    assert len(list(itertools.islice(frames, 4))) == 4
    assert len(steps) == 8


def test_a_damaged_npz_fails(world, tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s/clips.npz").write_bytes(b"PK but not a zip")
    assert "clips.npz: damaged" in fail(*sample(world, "-n", 1, "--format=npz", "--out=s"))


def test_stacks_are_read_by_numpy(tmp_path):
    clips = np.random.default_rng(0).integers(0, 256, (3, 12, 6, 4, 3), np.uint8)
    for number, clip in enumerate(clips):
        write_frames(tmp_path / f"{number}.npy", iter(clip))
        assert np.array_equal(np.load(tmp_path / f"{number}.npy"), clip)
    abouts = [{"seed": 4, "label": 1}, {"seed": 5}, {"seed": 6, "label": None}]
    write_stack(tmp_path / "a.npz", iter(clips), "abc", abouts, {"steps": 2})
    with np.load(tmp_path / "a.npz") as arrays:
        assert np.array_equal(arrays["clips"], clips)
        assert (arrays["labels"].tolist(), arrays["seeds"].tolist()) == ([1, -1, -1], [4, 5, 6])
    assert all(map(np.array_equal, iter_clips(tmp_path / "a.npz"), clips))
