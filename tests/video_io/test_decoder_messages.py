"""Damage that ffmpeg reports, and decodes nevertheless, is no intact video."""

import contextlib
import random
import subprocess
from types import SimpleNamespace

import av
import av.logging
import imageio_ffmpeg
import pytest
from helpers.clips import copied, moving

from latte_cli.runtime.errors import VideoError
from latte_cli.video_io import inspect_video, read_video
from latte_cli.video_io.decoder_messages import Reports
from latte_cli.video_io.pyav import open_container, video_stream

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


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi"])
@pytest.mark.parametrize("gop", ["open-gop=1:scenecut=0:bframes=3", "intra-refresh=1"])
def test_references_before_a_cut_without_encoding_are_not_missed(tmp_path, suffix, gop):
    """ffmpeg reports them, since the video begins in the middle, and decodes every frame."""
    words = ["-c:v", "libx264", "-x264-params", f"{gop}:keyint=20:min-keyint=20"]
    long = moving(tmp_path / f"long.{suffix}", *words, frames=80)
    reported = ""
    for begin_s in (1.0, 1.7, 2.3):
        part = copied(long, tmp_path / f"{begin_s}.{suffix}", before=("-ss", begin_s))
        reported += reported_by_ffmpeg(part)
        assert inspect_video(part).frames >= 7
    assert "mmco: unref short failure" in reported


@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_references_are_missed_where_a_video_begins_with_an_idr_picture(tmp_path, suffix):
    words = ["-c:v", "libx264", "-x264-params", "open-gop=1:scenecut=0:keyint=20:min-keyint=20"]
    whole = moving(tmp_path / f"whole.{suffix}", *words, "-bf", 3, frames=60)
    part = copied(whole, tmp_path / f"part.{suffix}", before=("-ss", 1.0))
    for path, error in (whole, "h264: mmco: unref short failure"), (part, ""):
        reports = Reports()
        reports.messages.append((16, "h264", "mmco: unref short failure"))
        with open_container(path) as container:
            reports.begin(next(container.demux(video_stream(container))))
        assert reports.error() == error


def test_a_lost_packet_of_the_video_is_damage_and_one_of_the_sound_is_not():
    """The demuxer only warns, and such a packet may never arrive."""
    reports = Reports()
    stream = SimpleNamespace(index=0, codec_context=SimpleNamespace(name="mpeg2video"))
    reports.begin(SimpleNamespace(stream=stream))
    sound = (av.logging.WARNING, "mpegts", "Packet corrupt (stream = 1, dts = 131110).\n")
    other = (av.logging.WARNING, "mpegts", "PES packet size mismatch\n")
    reports.messages += [sound, other]
    assert not reports.error()
    reports.messages.append((*sound[:2], sound[2].replace("1,", "0,")))
    assert "Packet corrupt (stream = 0" in reports.error()
