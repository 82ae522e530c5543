"""Every frame of every real clip is the one that ffmpeg decodes from the first packet on."""

import random
import subprocess
from contextlib import contextmanager
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from conftest import REAL_CLIPS

from latte_cli.runtime.errors import VideoError
from latte_cli.video_io import inspect_video, iter_frames, read_video, reading

SOUND_ODD = [
    "-video-with-dash-.mp4",
    "no_duration.webm",
    "small_robot_3_frame.mp4",
    "unordered.mov",
    "video_0.mov",
    "video_90.mov",
    "video_180.mov",
    "video_270.mov",
    "webm.webm",
]
BY_DECORD = [
    "Tiny Sample - OLD.mp4",
    "count-video.mp4",
    "d18.mp4",
    "d19.mp4",
    "fire2.mp4",
    "flipping_a_pancake.mkv",
    "h265_video.mp4",
    "small_robot_3_frame.mp4",
    "unordered.mov",
    "video_0.mov",
    "video_90.mov",
    "video_180.mov",
    "video_270.mov",
]
CLIPS = [
    f"{folder}/{path.name}"
    for folder in ("videos", "faces", "odd")
    for path in sorted((REAL_CLIPS / folder).glob("*"))
    if folder != "odd" or path.name in SOUND_ODD
]
MIN_PSNR_DB = 40.0
WINDOW = 16

SYNTHETIC = {
    "full range": ["-pix_fmt", "yuvj420p"],
    "BT.709": ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"],
    "4:2:2": ["-pix_fmt", "yuv422p"],
    "4:4:4": ["-pix_fmt", "yuv444p"],
    "grey": ["-pix_fmt", "gray"],
    "10 bit": ["-pix_fmt", "yuv420p10le"],
    "interlaced": ["-flags", "+ilme+ildct"],
    "odd sizes": ["-c:v", "mpeg4", "-q:v", "3", "-vf", "scale=63:47"],
}


@contextmanager
def reference(path, height, width, scale=()):
    """ffmpeg's own sequential decode of the first video stream, upright, frame by frame."""
    words = [
        "-v",
        "quiet",
        "-i",
        path.absolute(),
        "-map",
        "0:v:0",
        "-fps_mode",
        "passthrough",
        *scale,
    ]
    words += ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    size = height * width * 3
    with subprocess.Popen(
        [imageio_ffmpeg.get_ffmpeg_exe(), *words], stdout=subprocess.PIPE, bufsize=size
    ) as process:

        def frames():
            while content := process.stdout.read(size):
                yield np.frombuffer(content, np.uint8).reshape(height, width, 3)

        yield frames()
        process.stdout.read()


def psnr_db(ours, theirs):
    error = np.square(ours.astype(np.int32) - theirs).mean()
    return np.inf if error == 0 else 10 * np.log10(255**2 / error)


def compare(path, *, equal):
    """Compare all frames, and a window as training takes it; how many frames there were."""
    facts = inspect_video(path)
    count = facts.frames
    chance = random.Random(path.name)
    interval = chance.randint(1, max(1, min(3, (count - 1) // WINDOW)))
    start = chance.randint(0, max(0, count - 1 - WINDOW * interval))
    window = range(start, min(count, start + WINDOW * interval), interval)
    taken = dict(zip(window, read_video(path, window), strict=True))
    streamed = dict(zip(window, iter_frames(path, window), strict=True))
    height, width, _ = taken[start].shape
    number = -1
    stretched = ["-vf", f"scale={width}:{height}"] if facts.pixel_aspect != 1 else []
    with reference(path, height, width, stretched) as expected:
        for number, (ours, theirs) in enumerate(zip(iter_frames(path), expected, strict=True)):
            assert ours.dtype == np.uint8
            if equal:
                assert np.array_equal(ours, theirs), f"frame {number}"
            else:
                assert psnr_db(ours, theirs) >= MIN_PSNR_DB, f"frame {number}"
            if number in taken:
                assert np.array_equal(taken[number], ours)
                assert np.array_equal(streamed[number], ours)
    return number + 1, count


@pytest.mark.parametrize("name", CLIPS)
def test_pyav_frames_equal_those_of_ffmpeg(real_clips, name, monkeypatch):
    monkeypatch.setattr(reading, "decord", None)
    seen, counted = compare(real_clips / name, equal=True)
    assert seen == counted


@pytest.mark.skipif(reading.decord is None, reason="decord has no wheel for this machine")
@pytest.mark.parametrize("name", CLIPS)
def test_decord_frames_equal_those_of_ffmpeg(real_clips, name, monkeypatch):
    pyav_frames = reading.av_frames

    def gives_up(path, wanted, *words):
        if not wanted.start:
            raise VideoError("made to fail")
        yield from pyav_frames(path, wanted, *words)  # where a video ends with equal frames

    monkeypatch.setattr(reading, "av_frames", gives_up)
    if Path(name).name not in BY_DECORD:
        with pytest.raises(VideoError, match="made to fail"):
            next(iter_frames(real_clips / name))
        return
    # It converts colors by an ffmpeg of its own, which is years older.
    seen, counted = compare(real_clips / name, equal=False)
    assert seen == counted


@pytest.mark.parametrize("kind", SYNTHETIC)
def test_all_color_formats_are_converted_like_ffmpeg(tmp_path, kind):
    path = tmp_path / f"clip.{'avi' if kind == 'odd sizes' else 'mp4'}"
    source = ["-f", "lavfi", "-i", "testsrc2=size=96x64:rate=8:duration=1"]
    words = ["-v", "error", *source, *SYNTHETIC[kind], path]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), *words], check=True)
    assert compare(path, equal=False) == (8, 8)
