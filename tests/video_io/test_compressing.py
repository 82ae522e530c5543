"""The mp4 of the published samples: in memory, in files, and as it is recognized in files."""

import json

import av
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from latte_cli.sources.shapes import render_clip
from latte_cli.video_io import read_video, write_clip, write_video
from latte_cli.video_io.compressing import through_mp4
from latte_cli.video_io.encoders import UNKNOWN, encoder_of


def clip_of(kind, size, frames=4):
    """Small objects, noise, or smooth colors that move."""
    if kind == "shapes":
        return render_clip(1, size=size, num_frames=frames)
    if kind == "noise":
        shape = (frames, size, size, 3)
        return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    y, x = np.mgrid[:size, :size]
    angles = [(x / 9 + t / 3, y / 7 + t / 5, (x + y) / 11 + t / 4) for t in range(frames)]
    waves = np.stack([np.stack([127 + 100 * np.sin(a) for a in each], -1) for each in angles])
    return waves.astype(np.uint8)


def published(path, clip, **settings):
    """As `imageio.mimwrite(path, clip, fps=8, quality=9)` does, on one thread."""
    options = {"fps": 8, "quality": 9, "codec": "libx264", "output_params": ["-threads", "1"]}
    height, width = clip.shape[1:3]
    writer = imageio_ffmpeg.write_frames(
        str(path), (width, height), ffmpeg_log_level="fatal", **{**options, **settings}
    )
    writer.send(None)
    for frame in clip:
        writer.send(np.ascontiguousarray(frame))
    writer.close()
    return path


@pytest.mark.parametrize(
    ("kind", "size"),
    [(kind, size) for kind in ("shapes", "waves") for size in (64, 96, 256)] + [("noise", 64)],
)
def test_frames_are_those_of_the_published_writer(tmp_path, kind, size):
    clip = clip_of(kind, size)
    expected = read_video(published(tmp_path / "published.mp4", clip))
    assert np.array_equal(through_mp4(clip, 5), expected)
    write_clip(tmp_path / "ours.mp4", clip, 8, {})
    assert np.array_equal(read_video(tmp_path / "ours.mp4"), expected)


def test_a_clip_of_one_frame_and_of_odd_multiples_goes_through():
    clip = clip_of("waves", 64)[:1, :34, :50]
    assert through_mp4(clip, 5).shape == clip.shape
    backwards = clip_of("waves", 64)[::-1, :, ::-1]  # not contiguous
    assert np.array_equal(through_mp4(backwards, 5), through_mp4(backwards.copy(), 5))


def test_a_written_mp4_says_how_it_was_made(tmp_path):
    write_clip(tmp_path / "a.mp4", clip_of("shapes", 32), 8, {"seed": 3})
    with av.open(tmp_path / "a.mp4") as container:
        about = json.loads(container.metadata["comment"])
    assert about == {"seed": 3, "codec": "libx264 yuv420p", "crf": 5}
    assert encoder_of(tmp_path / "a.mp4") == "x264 crf 5"
    assert encoder_of(published(tmp_path / "p.mp4", clip_of("shapes", 64))) == "x264 crf 5"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"quality": 5}, "x264 crf 25"),
        ({"fps": 25}, "x264 crf 5 at 25 fps"),
        ({"output_params": ["-preset", "slower"]}, r"x264 crf 5 with .*subme=9.*"),
        ({"output_params": ["-tune", "animation", "-g", "7"]}, "x264 crf 5 with .*"),
        ({"pix_fmt_out": "yuv444p"}, "x264 crf 5 with .*yuv444p.*"),
        ({"quality": None, "bitrate": "300k"}, "x264 abr 300"),
        ({"quality": None, "output_params": ["-qp", "9"]}, "x264 qp 9.*"),
        ({"codec": "mpeg4"}, UNKNOWN.format("mpeg4").replace("(", r"\(").replace(")", r"\)")),
        ({"output_params": ["-bsf:v", "filter_units=remove_types=6"]}, "unknown encoder .h264."),
    ],
)
def test_the_encoder_is_read_from_the_stream(tmp_path, settings, expected):
    import re

    path = published(tmp_path / "a.mp4", clip_of("shapes", 64), **settings)
    assert re.fullmatch(expected, encoder_of(path)), encoder_of(path)


def test_a_comment_that_outlived_another_encoder_is_not_believed(tmp_path):
    """ffmpeg copies a file's metadata when it encodes it again."""
    import subprocess

    write_clip(tmp_path / "a.mp4", clip_of("shapes", 64), 8, {})
    again = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", tmp_path / "a.mp4", "-crf", "30"]
    subprocess.run([*again, tmp_path / "b.mp4"], check=True)
    assert encoder_of(tmp_path / "b.mp4") == "x264 crf 30"
    with av.open(tmp_path / "b.mp4") as container:
        assert json.loads(container.metadata["comment"])["crf"] == 5


@pytest.mark.parametrize(
    ("suffix", "options", "expected"),
    [
        ("png", {}, ""),
        ("bmp", {}, ""),
        ("jpg", {}, "JPEG 75"),
        ("jpg", {"quality": 95}, "JPEG 95"),
        ("jpeg", {"quality": 75, "subsampling": 0}, "JPEG 75 4:4:4"),
        ("webp", {"quality": 80}, "lossy WebP"),
        ("webp", {"lossless": True}, ""),
    ],
)
def test_the_encoder_of_frame_folders(tmp_path, suffix, options, expected):
    (tmp_path / "f").mkdir()
    for number, frame in enumerate(clip_of("waves", 32)):
        Image.fromarray(frame).save(tmp_path / "f" / f"{number}.{suffix}", **options)
    assert encoder_of(tmp_path / "f") == expected


def test_frames_of_several_kinds_are_said_to_be(tmp_path):
    (tmp_path / "f").mkdir()
    frame = Image.fromarray(clip_of("waves", 32)[0])
    frame.save(tmp_path / "f" / "0.png")
    frame.save(tmp_path / "f" / "1.jpg")
    assert encoder_of(tmp_path / "f") == "frames of several kinds (jpg, png)"


def test_other_writers_keep_their_quality(tmp_path):
    """Data sets and previews are as they were."""
    write_video(tmp_path / "a.mp4", clip_of("shapes", 64), 8)
    assert encoder_of(tmp_path / "a.mp4") == "x264 crf 17"
