"""Frames as players show them: turned, mirrored, with square pixels, of the right stream."""

import json

import numpy as np
import pytest
from conftest import succeed
from helpers.clips import SIZE, by_ffmpeg, copied, ffmpeg, moving
from PIL import Image

from latte_cli.data.frames import prepared_frames
from latte_cli.data.manifest import read_dataset
from latte_cli.video_io import inspect_video, iter_frames, read_video, reading

MIRRORS = {"": [], "h": ["-display_hflip"], "v": ["-display_vflip"]}


@pytest.fixture
def base(tmp_path):
    return moving(tmp_path / "base.mp4", "-c:v", "libx264", "-bf", 0, frames=3)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_all_orientations_are_shown_as_by_ffmpeg(base, suffix, monkeypatch):
    seen = set()
    stored = read_video(base)
    for angle in (0, 90, 180, 270):
        for name, mirror in MIRRORS.items():
            turn = ("-display_rotation", angle, *mirror)
            path = copied(base, base.with_name(f"{angle}{name}.{suffix}"), before=turn)
            facts = inspect_video(path)
            shape = (facts.height, facts.width, 3)
            expected = by_ffmpeg(path, shape)
            assert np.array_equal(read_video(path), expected), (angle, name)
            with monkeypatch.context() as patch:
                patch.setattr(reading, "decord", None)
                assert np.array_equal(read_video(path), expected), (angle, name)
            as_recorded = stored[:, :, ::-1] if facts.mirrored else stored
            as_recorded = np.rot90(as_recorded, -facts.rotation // 90, axes=(1, 2))
            assert np.array_equal(as_recorded, expected), (angle, name)
            seen.add((facts.rotation, facts.mirrored))
    assert len(seen) == 8


@pytest.mark.parametrize("suffix", ["jpeg", "png", "webp"])
def test_pictures_are_turned_as_by_ffmpeg(tmp_path, suffix):
    colors = np.zeros((32, 48, 3), np.uint8)
    colors[:16, :24, 0] = colors[16:, :, 1] = colors[:, 24:, 2] = 255
    for number in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = number
        path = tmp_path / f"{number}" / f"0.{suffix}"
        path.parent.mkdir()
        Image.fromarray(colors).save(path, exif=exif.tobytes(), lossless=True, subsampling=0)
        shown = read_video(path.parent)
        assert np.array_equal(shown, by_ffmpeg(path, shown.shape[1:])), number


@pytest.mark.parametrize(
    ("aspect", "size"), [("4/3", (128, 80)), ("8/9", (96, 90)), ("1001/1000", SIZE)]
)
def test_pixels_become_square(tmp_path, aspect, size):
    path = moving(tmp_path / "a.mp4", "-vf", f"setsar={aspect}", frames=3)
    facts = inspect_video(path)
    assert (facts.width, facts.height) == size
    expected = by_ffmpeg(path, (size[1], size[0], 3), "-vf", "scale={}:{}".format(*size))
    assert np.array_equal(read_video(path), expected)
    kept = np.stack([*iter_frames(path, pixel_aspect=1)])
    assert np.array_equal(kept, by_ffmpeg(path, (80, 96, 3)))


def test_turned_pixels_are_stretched_before_they_are_turned(tmp_path):
    wide = moving(tmp_path / "a.mp4", "-vf", "setsar=4/3", frames=3)
    path = copied(wide, tmp_path / "turned.mp4", before=("-display_rotation", 90))
    assert read_video(path).shape == (3, 128, 80, 3)
    assert np.array_equal(np.rot90(read_video(path), -1, axes=(1, 2)), read_video(wide))


def test_keep_pixels(tmp_path):
    (tmp_path / "in").mkdir()
    moving(tmp_path / "in" / "a.mp4", "-vf", "setsar=4/3", frames=20)
    turned = copied(tmp_path / "in" / "a.mp4", tmp_path / "in" / "b.mp4")
    copied(turned, tmp_path / "in" / "c.mp4", before=("-display_rotation", 90))
    turned.unlink()
    words = ("prepare", "folder", "--source", tmp_path / "in", "--out", tmp_path / "d")
    for option, aspect, sizes, shown in [
        ([], 1.333333, [(128, 80), (80, 128)], 80),
        (["--keep-pixels"], 1.0, [(96, 80), (80, 96)], 80),
        ([], 1.333333, [(128, 80), (80, 128)], 80),
    ]:
        succeed(*words, *option)
        dataset = read_dataset(tmp_path / "d")
        assert [(video.width, video.height) for video in dataset.videos] == sizes
        for video in dataset.videos:
            assert video.pixel_aspect == aspect
            assert (video.rotation, video.mirrored, video.end) == (
                270 if "c.mp4" in video.path else 0,
                False,
                "known",
            )
            frame = next(prepared_frames(dataset, video, shown, "crop-resize"))
            whole = next(iter_frames(dataset.path_of(video), pixel_aspect=aspect))
            assert whole.shape[:2] == (video.height, video.width)
            assert frame.shape == (shown, shown, 3)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "avi"])
def test_a_thumbnail_before_the_video_is_not_the_video(tmp_path, base, suffix):
    picture = tmp_path / "t.jpg"
    ffmpeg("-f", "lavfi", "-i", "testsrc=size=320x240", "-frames:v", 1, picture)
    order = ["-i", picture, "-map", 1, "-map", 0, "-c", "copy", "-disposition:v:0", 0]
    path = tmp_path / f"a.{suffix}"
    ffmpeg("-i", base, *order, path)
    facts = inspect_video(path)
    assert (facts.frames, facts.width, facts.height) == (3, *SIZE)
    assert np.array_equal(read_video(path), by_ffmpeg(path, (80, 96, 3), stream=1))


def test_a_video_of_pictures_before_another_stream_is_the_video(tmp_path, base):
    pictures = moving(tmp_path / "p.mkv", "-c:v", "mjpeg", frames=5, size=(64, 48))
    for suffix in ("mkv", "mov", "avi"):
        path = tmp_path / f"two.{suffix}"
        ffmpeg("-i", pictures, "-i", base, "-map", 0, "-map", 1, "-c", "copy", path)
        assert read_video(path).shape == (5, 48, 64, 3)


def test_a_cover_before_the_video_is_not_the_video(tmp_path, base):
    ffmpeg("-f", "lavfi", "-i", "testsrc=size=320x240", "-frames:v", 1, tmp_path / "t.jpg")
    order = ["-map", 1, "-map", 0, "-c", "copy", "-disposition:v:0", "attached_pic"]
    ffmpeg("-i", base, "-i", tmp_path / "t.jpg", *order, tmp_path / "a.mp4")
    assert read_video(tmp_path / "a.mp4").shape == (3, 80, 96, 3)


def test_what_a_file_cannot_tell_is_in_the_manifest(tmp_path):
    (tmp_path / "in").mkdir()
    moving(tmp_path / "in" / "a.ts", "-c:v", "mpeg2video")
    moving(tmp_path / "in" / "b.mp4")
    succeed("prepare", "folder", "--source", tmp_path / "in", "--out", tmp_path / "d")
    with (tmp_path / "d" / "manifest.jsonl").open() as lines:
        assert [json.loads(line)["end"] for line in lines] == ["unknown", "known"]
