"""Damage that ffmpeg reports, and decodes nevertheless, is no intact video."""

import contextlib
import random
import subprocess

import imageio_ffmpeg
import pytest
from helpers.clips import moving

from latte_cli.runtime.errors import VideoError
from latte_cli.video_io import inspect_video, read_video

FORMATS = {
    "wmv": ["-c:v", "wmv2"],
    "gif": ["-pix_fmt", "rgb8"],
    "ogv": ["-c:v", "libtheora"],
    "mkv": ["-c:v", "ffv1", "-level", 3],
    "avi": ["-c:v", "mpeg4"],
    "mpg": ["-c:v", "mpeg2video"],
}


def reported_by_ffmpeg(path) -> str:
    words = ["-nostdin", "-v", "error", "-i", path, "-map", "0:v:0", "-f", "null", "-"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), *words]
    return subprocess.run(command, capture_output=True, check=False).stderr.decode()


@pytest.mark.parametrize("suffix", FORMATS)
def test_what_ffmpeg_reports_is_refused_unless_no_frame_differs(tmp_path, suffix):
    whole = moving(tmp_path / f"whole.{suffix}", *FORMATS[suffix], frames=10)
    assert inspect_video(whole).frames == 10
    content, frames = whole.read_bytes(), read_video(whole)
    chance, refused = random.Random(0), 0
    for number in range(12):
        damaged = bytearray(content)
        damaged[chance.randrange(len(content) // 8, len(content))] ^= 1 << number % 8
        path = tmp_path / f"{number}.{suffix}"
        path.write_bytes(damaged)
        try:
            inspect_video(path)
        except VideoError:
            refused += 1
        else:
            same = False
            with contextlib.suppress(ValueError):
                same = bool((read_video(path) == frames).all())
            assert same or not reported_by_ffmpeg(path)
    assert refused


def test_the_same_message_of_a_second_file_counts_too(tmp_path):
    """The libraries' own messages are not repeated."""
    whole = moving(tmp_path / "whole.ogv", "-c:v", "libtheora", frames=10)
    content = bytearray(whole.read_bytes())
    content[len(content) // 2] ^= 1
    for name in "ab":
        path = tmp_path / f"{name}.ogv"
        path.write_bytes(content)
        with pytest.raises(VideoError, match=r"is damaged .*CRC mismatch"):
            inspect_video(path)
