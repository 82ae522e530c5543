"""The whole road on real video: a folder, and a tree shaped like UCF101."""

import json

import pytest
from conftest import REAL_CLIPS, fail, succeed, tiny

from latte_cli.data.latents.reading import LatentSet
from latte_cli.video_io import read_video

CLIPS = {
    "folder": ["carphone_pristine.mp4", "RATRACE_wave_f_nm_np1_fr_goo_37.avi", "h265_video.mp4"],
    "ucf101": ["v_ApplyEyeMakeup_g01_c01.avi", "v_BaseballPitch_g01_c01.avi"],
}


@pytest.fixture
def source(request, tmp_path, real_clips):
    kind = request.param
    for name in CLIPS[kind]:
        folder = tmp_path / "in" / (name.split("_")[1] if kind == "ucf101" else "")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(real_clips / "videos" / name)
    return kind, tmp_path / "in"


@pytest.mark.skipif(not REAL_CLIPS.is_dir(), reason="no real clips on this machine")
@pytest.mark.parametrize("source", ["folder", "ucf101"], indirect=True)
def test_prepare_encode_train_and_sample_on_64_pixel_crops(source, tmp_path):
    kind, folder = source
    succeed("prepare", kind, "--source", folder, "--out", "data/mine")
    where = ["-o", "data.root=data/mine"]
    succeed("encode-latents", "--preset=folder", "--no-flip", *where)
    latents = LatentSet.open(tmp_path / "latents" / "mine-64-embedded")
    assert len(latents.videos) == len(CLIPS[kind])
    values = {"data__size": 64, "data__frames": 16, "train__steps": 2, "data__flip": "false"}
    if kind == "ucf101":
        values |= {"model__condition": "class", "model__num_classes": 2}
    result = succeed("train", "--preset=folder", *tiny(**values), *where)
    if kind == "folder":
        assert "left out, shorter than a clip: 1 of the videos" in result.stderr
    label = ["--label=BaseballPitch"] if kind == "ucf101" else []
    words = ("-n", 2, "--steps=2", "--json", *label, "--out=s")
    shown = json.loads(succeed("sample", "--preset=folder", *words).stdout)
    assert shown["clips"] == 2
    for path in (tmp_path / "s").glob("*.mp4"):
        assert read_video(path).shape == (16, 64, 64, 3)


@pytest.mark.parametrize("source", ["folder"], indirect=True)
def test_videos_that_are_all_too_short_raise_an_error(source, tmp_path):
    _, folder = source
    (folder / "carphone_pristine.mp4").unlink()
    (folder / "RATRACE_wave_f_nm_np1_fr_goo_37.avi").unlink()
    succeed("prepare", "folder", "--source", folder)
    succeed("encode-latents", "--preset=folder", "--no-flip")
    said = fail("train", "--preset=folder", "-o", "data.flip=false")
    assert "no video is as long as a clip (16 frames, every 1: 16 source frames)" in said
    assert "the longest has 10" in said
